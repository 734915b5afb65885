"""Few objects, stored as git's loose files without a process. What is not a plain repository is git's to write.

Sources: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects and https://git-scm.com/docs/gitrepository-layout
"""

from __future__ import annotations

import os
import re
import uuid
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from minipach.git.git_error import GitError
from minipach.git.plain_settings import is_plain
from minipach.git.ref_files import UnsureError, git_folder
from minipach.git.repo import Repo, lacks_objects
from minipach.git.tree_entries import TREE, parse_tree
from minipach.support.git_objects import object_id

_ID = re.compile(r"[0-9a-f]{40}")
_PRIVATE_REF = re.compile(r"refs/minipach/[0-9A-Za-z_-]+(/[0-9A-Za-z_-]+)*")  # no reflog, and no hook of ours


class NotPlainError(Exception):
    """The repository, or what is to be stored, has something that git must see to."""


class LooseObjects:
    """The loose objects of one repository. folder: its `.git`."""

    def __init__(self, folder: Path, known: Repo | None = None) -> None:
        self.folder = folder
        self._known = known  # asked what is there already
        self._written: set[str] = set()
        self._unsure = False

    @classmethod
    def of(cls, repo: Repo) -> LooseObjects:
        """Return the store of a repository. Raises NotPlainError."""
        try:
            folder = git_folder(repo.path)
            if not is_plain(repo.settings()):
                raise NotPlainError
        except (UnsureError, GitError):
            raise NotPlainError from None
        return cls(folder, repo)

    def add(self, kind: str, data: bytes) -> str:
        """Store an object, and return its id. kind: `blob`, `tree` or `commit`."""
        sha = object_id(kind, data)
        if sha in self._written:
            return sha
        self._written.add(sha)
        path = self._path(sha)
        try:
            os.utime(path)  # what is young is not pruned
        except FileNotFoundError:
            if self._known is not None and self._has_packs and self._known.objects.resolve(sha) is not None:
                self._unsure = True  # a `git gc` may be about to remove it
            else:
                self._write(path, kind, data)
        return sha

    @cached_property
    def _has_packs(self) -> bool:
        objects = f"{self.folder}/objects"
        return os.path.exists(f"{objects}/info/alternates") or any(
            name.endswith(".pack") for name in os.listdir(f"{objects}/pack")
        )

    def has_all(self, others: Iterable[str]) -> bool:
        """Return whether all that was added, and other objects, are files now."""
        return not self._unsure and all(os.path.exists(self._path(sha)) for sha in (*self._written, *others))

    def set_ref(self, ref: str, value: str) -> None:
        """Set a ref of minipach itself to a commit. Raises NotPlainError, and OSError."""
        if not _PRIVATE_REF.fullmatch(ref) or not _ID.fullmatch(value):
            raise NotPlainError
        self.write_ref(ref, value)

    def write_ref(self, ref: str, value: str) -> None:
        """Write the file of a ref, as git does: by a lock, and a rename."""
        path = self.folder / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock")
        file = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(file, "w") as stream:
                stream.write(f"{value}\n")
            os.replace(lock, path)
        except BaseException:
            lock.unlink(missing_ok=True)
            raise

    def _path(self, sha: str) -> str:
        return f"{self.folder}/objects/{sha[:2]}/{sha[2:]}"

    def _write(self, path: str, kind: str, data: bytes) -> None:
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/tmp_obj_{uuid.uuid4().hex}"  # git removes what a kill leaves under such a name
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)  # less what the umask forbids
        try:
            with os.fdopen(file, "wb") as stream:
                stream.write(zlib.compress(b"%s %d\0" % (kind.encode(), len(data)) + data, 1))
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


_MOST_LOOSE = 200  # objects whose sizes are read one by one
_HEAD_BYTES = 512  # of a file; a table of codes may come before the first byte
_HEAD = re.compile(rb"[a-z]+ ([0-9]+)\0")


def loose_sizes(folder: Path, objects: Sequence[str]) -> dict[str, int]:
    """Return the sizes of those objects that are loose; none of many. folder: the `.git` of the main work tree."""
    found: dict[str, int] = {}
    for sha in objects if len(objects) <= _MOST_LOOSE else ():
        with suppress(OSError, zlib.error):
            with open(f"{folder}/objects/{sha[:2]}/{sha[2:]}", "rb") as file:
                head = _HEAD.match(zlib.decompressobj().decompress(file.read(_HEAD_BYTES), 64))
            if head:
                found[sha] = int(head[1])
    return found


@dataclass
class _Folder:
    """A tree that is being changed. entries: (mode, id) by name, or a folder that is changed, too."""

    entries: dict[bytes, tuple[str, str] | _Folder] = field(default_factory=dict)


class Tree:
    """A tree in a repository, with changes. Only the folders of changed paths are read."""

    def __init__(self, repo: Repo, store: LooseObjects, sha: str | None) -> None:
        self._repo = repo
        self._store = store
        self._top = self._read(sha) if sha else _Folder()

    def set(self, path: str, mode: str, sha: str) -> None:
        """Set a path to an object. Raises NotPlainError for a path that no tree may have."""
        *folders, name = _parts(path)
        here = self._top
        for part in folders:
            found = here.entries.get(part)
            if isinstance(found, tuple):
                found = self._read(found[1]) if found[0] == TREE else None
            if found is None:
                found = _Folder()
            here.entries[part] = found
            here = found
        here.entries[name] = (mode, sha)

    def remove(self, path: str) -> None:
        """Remove a path; one that is not there is none."""
        *folders, name = _parts(path)
        here = self._top
        for part in folders:
            found = here.entries.get(part)
            if isinstance(found, tuple):
                if found[0] != TREE:
                    return
                found = here.entries[part] = self._read(found[1])
            if found is None:
                return
            here = found
        here.entries.pop(name, None)

    def store(self) -> str:
        """Store all changed folders, and return the id of the tree."""
        return self._write(self._top)

    def _read(self, sha: str) -> _Folder:
        data = self._repo.objects.read(sha)
        if data is None:
            raise NotPlainError
        return _Folder({os.fsencode(e.path): (e.mode, e.sha) for e in parse_tree(data)})

    def _write(self, folder: _Folder) -> str:
        rows: list[tuple[bytes, str, str]] = []
        for name, entry in folder.entries.items():
            if isinstance(entry, tuple):
                rows.append((name, *entry))
            elif _is_filled(entry):
                rows.append((name, TREE, self._write(entry)))
        rows.sort(key=lambda row: row[0] + b"/" if row[1] == TREE else row[0])
        return self._store.add("tree", b"".join(_row(*row) for row in rows))


def _row(name: bytes, mode: str, sha: str) -> bytes:
    return mode.lstrip("0").encode() + b" " + name + b"\0" + bytes.fromhex(sha)


def _is_filled(folder: _Folder) -> bool:
    return any(isinstance(entry, tuple) or _is_filled(entry) for entry in folder.entries.values())


def _parts(path: str) -> list[bytes]:
    parts = os.fsencode(path).split(b"/")
    if any(part in (b"", b".", b"..") or part.lower() == b".git" for part in parts):
        raise NotPlainError
    return parts


def commit_text(tree: str, parents: Iterable[str], author: str, committer: str, message: str) -> bytes:
    """Return the content of a commit. author, committer: `Name <mail> seconds zone`."""
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {author}", f"committer {committer}"]
    return os.fsencode("\n".join(lines) + "\n\n" + message)


def are_kept(repo: Repo, store: LooseObjects, others: Iterable[str], new: str, parent: str | None) -> bool:
    """Return whether all objects of a commit are there. others: those that it took as stored."""
    return store.has_all(others) or not lacks_objects(repo, new, *([f"^{parent}"] if parent else []))
