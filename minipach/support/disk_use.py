"""The space that files take on disk."""

from __future__ import annotations

import os
from pathlib import Path

_BLOCK = 512  # bytes, of `st_blocks`

Seen = set[tuple[int, int]]


def bytes_on_disk(path: Path, seen: Seen | None = None, *, but: frozenset[Path] = frozenset()) -> int:
    """Return what a file or folder takes on disk. What is gone meanwhile, or may not be read, counts nothing.

    Args:
        path: The file or folder; links are not followed.
        seen: The files that were counted before: one with several links counts once.
        but: Paths below it that do not count.
    """
    seen = set() if seen is None else seen
    total, todo = 0, [path]
    while todo:
        here = todo.pop()
        try:
            info = os.lstat(here)
            if (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                total += info.st_blocks * _BLOCK
            if os.path.isdir(here) and not os.path.islink(here):
                todo += [found for entry in os.scandir(here) if (found := Path(entry.path)) not in but]
        except OSError:
            continue
    return total
