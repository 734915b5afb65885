"""Outputs: which names and sizes can be kept."""

from __future__ import annotations

import os
import re

from minipach.execution.launcher.core import Fault, shown


def check_name(path):
    """Raises Fault for a name that git or DataLad can't keep."""
    name = path.rpartition("/")[2]
    if re.fullmatch(r"(\.git|git~1)[ .]*(:.*)?", name, re.IGNORECASE):
        why = "a dataset can't hold another's .git" if name == ".git" else "git refuses the name"
        raise Fault("output " + shown(path) + " can't be kept: " + why)
    if name.lower() == ".gitattributes":
        raise Fault("output " + shown(path) + " can't be kept: git would change other outputs by it; rename it")
    for odd, what in (("\n", "a line break"), ("\\", "a backslash")):
        if odd in name:
            raise Fault(
                "output " + shown(path) + ": " + what + " in its name, which `datalad rerun` can't handle; rename it"
            )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Fault("output " + shown(os.fsencode(path)) + ": its name is not UTF-8; rename it") from None


class Room:
    """The size of a whole disk. Outputs with more bytes, holes included, could be neither hashed in time nor kept."""

    def __init__(self, folder):
        found = os.statvfs(folder)
        self.left = found.f_blocks * found.f_frsize or 1 << 63

    def take(self, size, seen):
        """Count a file. Raises Fault if the disk is too small for all so far."""
        self.left -= size
        if self.left < 0:
            raise Fault("output " + shown(seen) + " makes the outputs larger than the whole disk, holes included")
