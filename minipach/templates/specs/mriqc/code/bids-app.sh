#!/bin/sh
# Runs a BIDS App on one subject: PROGRAM LABEL [OPTION...].
# The App sees a BIDS dataset with this subject and the files at the top of the dataset.
set -eu
program=$1 label=$2
shift 2
bids=$(mktemp -d)/bids
mkdir "$bids"
for path in "$PFS"/top/* "$PFS"/bids/sub-*; do
  [ -e "$path" ] && ln -s "$path" "$bids/"
done
exec "$program" "$bids" "$PFS/out" participant --participant-label "$label" "$@"
