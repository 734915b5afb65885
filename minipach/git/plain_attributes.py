"""Whether attributes leave files as they are: then git writes them as they are stored.

Source: https://git-scm.com/docs/gitattributes
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from minipach.git.annex_keys import key_of_pointer

_CONVERTING = {"text", "eol", "crlf", "ident", "filter", "working-tree-encoding"}
_OF_ANNEX = {b"", b"* filter=annex", b".* !filter"}  # lines of `.git/info/attributes`
_FILE = "etc/gitattributes"  # of the system, below `/` or where git is installed


def has_usual_attributes(folder: Path) -> bool:
    """Return whether a repository's own file has no attributes but those of git-annex. folder: its `.git`."""
    try:
        lines = (folder / "info/attributes").read_bytes().split(b"\n")
    except FileNotFoundError:
        return True
    return _OF_ANNEX.issuperset(lines)


@functools.lru_cache(maxsize=4)
def system_attributes(path: str) -> tuple[str, ...]:
    """Return the files of attributes that the git on a PATH may read for all users."""
    git = shutil.which("git", path=path)
    places = [] if git is None else [Path(git).parents[1], Path(os.path.realpath(git)).parents[1]]
    return (f"/{_FILE}", *(f"{place}/{_FILE}" for place in places))


def has_pointer(contents: Iterable[bytes]) -> bool:
    """Return whether one of these is the pointer of an unlocked annexed file."""
    return any(key_of_pointer(data) for data in contents)


def convert_nothing(files: Iterable[bytes]) -> bool:
    """Return whether none of these files of attributes makes git convert a file."""
    return not any(_converts(line) for data in files for line in data.split(b"\n"))


def _converts(line: bytes) -> bool:
    words = os.fsdecode(line).split()
    if not words or words[0].startswith("#"):
        return False
    return words[0].startswith("[attr]") or any(word.partition("=")[0] in _CONVERTING for word in words)
