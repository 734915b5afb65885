"""Entries of git trees, read from what git prints and from its objects. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minipach.git.git_error import GitError

GITLINK = "160000"
SYMLINK = "120000"
TREE = "040000"
FILE = "100644"
EXECUTABLE = "100755"


_MODE = re.compile(r"[0-7]{6}")


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One line of a git tree: octal mode, object id, and the path as text (surrogates keep odd bytes)."""

    mode: str
    sha: str
    path: str


def parse_ls_tree(data: bytes) -> Iterator[TreeEntry]:
    """Yield entries of `git ls-tree -z` output."""
    for row in data.split(b"\0"):
        if row:
            meta, _, path = row.partition(b"\t")
            mode, _kind, sha = meta.split()
            yield TreeEntry(mode.decode(), sha.decode(), os.fsdecode(path))


def parse_tree(data: bytes) -> Iterator[TreeEntry]:
    """Yield entries of a raw tree object (SHA-1): `mode SP name NUL 20-bytes`, names without folders.

    Raises GitError for what is no tree, as git does: another clone may have stored it.
    """
    at = 0
    while at < len(data):
        space = data.find(b" ", at)
        nul = data.find(b"\0", space)
        mode = os.fsdecode(data[at:space]).rjust(6, "0")
        if space < 0 or not 0 <= nul <= len(data) - 21 or not _MODE.fullmatch(mode):
            raise GitError(Path(), ["ls-tree"], 128, "fatal: malformed tree")
        yield TreeEntry(mode, data[nul + 1 : nul + 21].hex(), os.fsdecode(data[space + 1 : nul]))
        at = nul + 21
