#!/bin/sh
# Install Debian packages, and leave neither lists nor caches nor logs in the image.
#
#   apt.sh PACKAGE...
set -eu
export DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes

apt-get -qq update
apt-get -qq install --yes --no-install-recommends "$@" >/dev/null
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log \
  /usr/share/doc/* /usr/share/man/*
