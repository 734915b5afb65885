#!/bin/sh
# Runs recon-all on one subject: SUBJECT [OPTION...].
set -eu
subject=$1
shift
exec recon-all -s "$subject" -sd "$PFS/out" -i "$t1" -T2 "$t2" -T2pial "$@"
