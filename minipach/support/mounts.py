"""File systems whose changes are not reported to inotify, because another machine or process can make them."""

from __future__ import annotations

import os
import re
from pathlib import Path

_REMOTE = frozenset(
    {
        *("9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf"),
        *("virtiofs", "vmhgfs", "wekafs"),
    }
)
_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")


def silent_file_system(path: Path, mounts: bytes | None = None) -> str | None:
    """Return the kind of the file system of a path if it reports no change that another machine makes, else None.

    Args:
        path: A path; links in it are followed.
        mounts: The text of `/proc/self/mountinfo`. None: read it; where there is none, nothing is known.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_bytes()
        except OSError:
            return None
    real = os.fsencode(os.path.realpath(path))
    best, kind = b"", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(b" - ")
        words, more = before.split(b" "), after.split(b" ")
        if len(words) < 5 or not more[0]:
            continue
        point = _OCTAL.sub(lambda found: bytes([int(found[1], 8) & 255]), words[4])
        inside = point in (b"/", real) or real.startswith(point + b"/")
        if inside and len(point) >= len(best):  # of two at one point, the later one hides the other
            best, kind = point, more[0].decode("ascii", "replace")
    return kind if kind in _REMOTE or kind == "fuse" or kind.startswith("fuse.") else None
