"""The contents of files in a repository: from git or the annex, as far as they are on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from minipach.git.annex_keys import size_of
from minipach.git.content import classify
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.tree_entries import GITLINK, SYMLINK, TREE, TreeEntry


@dataclass(frozen=True, slots=True)
class Content:
    """The begin of a file's content. data: None: it is not on this machine · size: in bytes; None: not known."""

    id: str
    data: bytes | None
    size: int | None

    @property
    def is_whole(self) -> bool:
        """Whether `data` is all of it."""
        return self.data is not None and self.size == len(self.data)


def entry_at(repo: Repo, commit: str, path: str) -> TreeEntry | None:
    """Return the file at a path of a commit; None: there is none. The path is taken as it stands, never resolved."""
    if not path or path.startswith("/") or "\0" in path:
        return None
    entries = repo.ls_tree(commit, f":(top,literal){path}")
    found = next((entry for entry in entries if entry.path == path), None)
    return None if found is None or found.mode in (TREE, GITLINK) else found


def read_content(repo: Repo, entry: TreeEntry, most: int) -> Content:
    """Return up to `most` bytes of a file."""
    kind, ident, key = classify(repo, [entry])[entry.sha, entry.mode == SYMLINK]
    if key is None:
        data = repo.objects.read(entry.sha) or b""
        if kind == "link":
            return Content(ident, None, None)
        return Content(ident, data[:most], len(data))
    there = object_of(repo, key)
    if there is None:
        return Content(ident, None, size_of(key))
    with there.open("rb") as file:
        return Content(ident, file.read(most), os.fstat(file.fileno()).st_size)


def object_of(repo: Repo, key: str) -> Path | None:
    """Return the annexed content of a key on this machine; None: it is not here."""
    try:
        found = os.fsdecode(repo.git("annex", "contentlocation", key, ok=(0, 1))).rstrip("\n")
    except GitError:
        return None
    there = Path(os.path.normpath(repo.path / found)) if found else None
    return there if there is not None and there.is_file() else None


def blobs(repo: Repo, wanted: Iterable[str], most: int) -> dict[str, bytes]:
    """Return the contents of small blobs of git itself, by their ids; larger ones and missing ones are left out."""
    ids = list(dict.fromkeys(wanted))
    found = zip(ids, repo.objects.read_many(ids), strict=True)
    return {sha: data for sha, data in found if data is not None and len(data) <= most}
