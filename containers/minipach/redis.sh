#!/bin/sh
# Redis for minipach: keeps what it has in /data, lets in only who has the password.
#
#   minipach-redis [REDIS OPTION...]   serve, in the foreground
#   minipach-redis ping                whether it answers (exit code 0)
#
# environment  MINIPACH_REDIS_PASSWORD_FILE  the file with the password; never an argument, which `ps` would show
#              MINIPACH_REDIS_PORT           default 6379
set -eu
file=${MINIPACH_REDIS_PASSWORD_FILE:-}
port=${MINIPACH_REDIS_PORT:-6379}

fail() {
  echo "minipach-redis: $*" >&2
  exit 2
}

[ -n "$file" ] || fail "no password; set MINIPACH_REDIS_PASSWORD_FILE to a file that has one"
password=$(cat "$file") || fail "$file: can't be read; it must be readable for user $(id -u)"
[ -n "$password" ] || fail "$file: is empty; write a password into it"

if [ "${1:-}" = ping ]; then
  [ "$(REDISCLI_AUTH=$password redis-cli -p "$port" ping 2>/dev/null)" = PONG ]
  exit
fi

# On its standard input, a pipe: so the password is in no file of the image and in no process' arguments.
quoted=$(printf '%s' "$password" | sed 's/[\\"]/\\&/g')
exec redis-server - "$@" <<END
port $port
bind * -::*
dir /data
appendonly yes
save ""
maxmemory-policy noeviction
requirepass "$quoted"
END
