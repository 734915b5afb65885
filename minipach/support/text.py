"""Numbers with their nouns, as people write them, and paths, as a shell reads them."""

from __future__ import annotations

import os
import shlex


def many(number: float, noun: str, plural: str = "") -> str:
    """`1 datum`, `2 datums`, `0.5 CPUs`. plural: where it isn't the noun with an s."""
    shown = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{shown} {noun if number == 1 else plural or noun + 's'}"


def quoted(path: str | os.PathLike[str]) -> str:
    """A path in a command that people copy: one word to the shell, also with a space in it."""
    return shlex.quote(os.fspath(path))
