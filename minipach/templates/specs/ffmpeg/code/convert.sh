#!/bin/sh
# Converts one file: FORMAT [OPTION...].
set -eu
format=$1
shift
name=$(basename "$media")
exec ffmpeg -nostdin -hide_banner -loglevel warning -i "$media" -map_metadata -1 -fflags +bitexact "$@" "$PFS/out/${name%.*}.$format"
