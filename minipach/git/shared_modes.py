"""Modes of files below `.git/minipach`: they follow `core.sharedRepository`, as git's own files do."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_GROUP = 0o070
_ALL = 0o075
_WORDS = {"group": _GROUP, "true": _GROUP, "1": _GROUP, "all": _ALL, "world": _ALL, "everybody": _ALL, "2": _ALL}


def mask_of(setting: str | None, mask: int) -> int:
    """Return the umask under which new files have the modes that `core.sharedRepository` asks for.

    Args:
        setting: The value of `core.sharedRepository`; None: it is not set.
        mask: The umask of the user.
    """
    word = (setting or "").lower()
    if word in _WORDS:
        return mask & ~_WORDS[word]
    with contextlib.suppress(ValueError):
        mode = int(word, 8) if word.startswith("0") and len(word) > 1 else 0
        return ~(mode | (mode & 0o444) >> 2) & 0o777 if mode else mask
    return mask


def follow(setting: str | None) -> None:
    """Make what this process and its children create as accessible as the repository is."""
    os.umask(mask_of(setting, current_mask()))


def current_mask() -> int:
    """Return the umask of this process."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def touch(path: Path) -> None:
    """Create a file, if there is none, with the modes of all others: SQLite would withhold it from the group."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
