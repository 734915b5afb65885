"""Objects that git keeps in files of their own, read without a process. All others are git's to find.

Replaced objects do not count: `git.settings` turns them off for git, too.
Sources: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects and https://git-scm.com/docs/gitrevisions
"""

from __future__ import annotations

import contextlib
import re
import zlib
from pathlib import Path
from typing import NamedTuple

from minipach.git.ref_files import UnsureError, git_folder, read_ref
from minipach.support.git_objects import object_id

_NAME = re.compile(r"([0-9a-f]{40}|HEAD|refs/[^:^~@\n]+)(?:\^\{(tree|commit)\}|:([^\n]*))?")
_HEAD = re.compile(rb"(blob|tree|commit|tag) ([0-9]+)\0")
_ID = re.compile(r"[0-9a-f]{40}")
_TREE_LINE = re.compile(rb"tree ([0-9a-f]{40})\n")
_LARGEST = 16 << 20  # bytes of a file; git is faster from there on


class FoundObject(NamedTuple):
    """An object: its id, its kind (`blob`, `tree`, `commit`, `tag`) and its content."""

    sha: str
    kind: str
    data: bytes


class LooseReader:
    """The loose objects of the repository whose main working tree is at `top`."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._folder: Path | None = None

    def find(self, name: str) -> FoundObject | None:
        """Return the object with a name; None if there is no such ref, or if a tree does not have the path.

        name: the id of an object, HEAD, or a full ref, with `^{tree}`, `^{commit}`, or a path after a colon.
        Raises UnsureError for what git must find.
        """
        words = _NAME.fullmatch(name)
        if words is None:
            raise UnsureError
        revision, kind, path = words.groups()
        sha = self._id_of(revision)
        if sha is None:
            return None
        found = self._read(sha)
        if path is not None:
            return self._at(self._peeled(found, "tree"), path)
        return found if kind is None else self._peeled(found, kind)

    def resolve(self, name: str) -> str | None:
        """Return the id of an object; None if it is missing, or if git must find it."""
        with contextlib.suppress(UnsureError):
            found = self.find(name)
            return None if found is None else found.sha
        return None

    def read_if_free(self, name: str) -> bytes | None:
        """Return the content of an object; None if it is missing, or if git must find it."""
        with contextlib.suppress(UnsureError):
            found = self.find(name)
            return None if found is None else found.data
        return None

    def _id_of(self, revision: str) -> str | None:
        return revision if _ID.fullmatch(revision) else read_ref(self._git_folder(), revision)

    def _git_folder(self) -> Path:
        if self._folder is None:
            self._folder = git_folder(self._top)
        return self._folder

    def _read(self, sha: str) -> FoundObject:
        try:
            with open(f"{self._git_folder()}/objects/{sha[:2]}/{sha[2:]}", "rb") as file:
                packed = file.read(_LARGEST + 1)
            data = zlib.decompress(packed) if len(packed) <= _LARGEST else b""
        except (OSError, zlib.error):
            raise UnsureError from None
        head = _HEAD.match(data)
        if head is None or len(data) - head.end() != int(head[2]):
            raise UnsureError
        found = FoundObject(sha, head[1].decode(), data[head.end() :])
        if object_id(found.kind, found.data) != sha:
            raise UnsureError  # damaged: git says so
        return found

    def _peeled(self, found: FoundObject, kind: str) -> FoundObject:
        if found.kind == kind:
            return found
        line = _TREE_LINE.match(found.data) if found.kind == "commit" and kind == "tree" else None
        if line is None:
            raise UnsureError
        return self._read(line[1].decode())

    def _at(self, tree: FoundObject, path: str) -> FoundObject | None:
        if not path:
            return tree
        parts = path.encode("utf-8", "surrogateescape").split(b"/")
        if any(part in (b"", b".", b"..") for part in parts):
            raise UnsureError
        for part in parts:
            if tree.kind != "tree":
                return None
            try:
                entry = _entry(tree.data, part)
            except ValueError:
                raise UnsureError from None  # no tree that git makes
            if entry is None:
                return None
            tree = self._read(entry)
        return tree


def _entry(tree: bytes, wanted: bytes) -> str | None:
    """Return the id of a name in a tree; None if the tree does not have it."""
    at = 0
    while at < len(tree):
        space = tree.index(b" ", at)
        nul = tree.index(b"\0", space)
        if tree[space + 1 : nul] == wanted:
            return tree[nul + 1 : nul + 21].hex()
        at = nul + 21
    return None
