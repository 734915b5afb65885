"""Files that a process has open for writing, as far as /proc shows."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

_PROC = Path("/proc")


def open_for_writing(files: Collection[bytes]) -> set[bytes]:
    """Return those of the files (real paths) that a process writes to. Processes of other users may not be visible."""
    found: set[bytes] = set()
    try:
        processes = [name for name in os.listdir(_PROC) if name.isdecimal()]
    except OSError:
        return found
    for process in processes:
        folder = os.fsencode(_PROC / process / "fd")
        try:
            numbers = os.listdir(folder)
        except OSError:
            continue
        for number in numbers:
            try:
                target = os.readlink(os.path.join(folder, number))
                if target in files and target not in found and _writes(process, os.fsdecode(number)):
                    found.add(target)
            except OSError:
                continue
    return found


def _writes(process: str, number: str) -> bool:
    for line in (_PROC / process / "fdinfo" / number).read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "flags":
            return int(value, 8) & os.O_ACCMODE != os.O_RDONLY
    return False
