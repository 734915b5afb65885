#!/bin/sh
# Converts the DICOM files of one folder: [OPTION...].
set -eu
exec dcm2niix "$@" -o "$PFS/out" "$dicom"
