#!/bin/sh
# Make the user that everything runs as, with a home, a place for Redis' data, and a name for git.
#
#   user.sh UID GID
set -eu
uid=$1
gid=$2

case $uid in
  '' | 0 | *[!0-9]*)
    echo "user.sh: UID $uid: a number above 0; nothing here needs root" >&2
    exit 2
    ;;
esac

# A group of the system may have the number already: macOS' first group is Debian's "dialout".
groupadd --non-unique --gid "$gid" minipach
useradd --non-unique --uid "$uid" --gid "$gid" --create-home --shell /bin/sh minipach
mkdir -p /home/minipach/.cache/minipach /data
chown -R "$uid:$gid" /home/minipach /data
chmod 700 /data

# Who commits, where neither the project nor the environment says it.
git config --system user.name minipach
git config --system user.email minipach@localhost
