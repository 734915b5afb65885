"""A writer for commits: no work tree, no index, and one `git fast-import` for many.

Few objects are stored without a process (`loose_objects`).
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from minipach.git.git_error import GitError
from minipach.git.loose_objects import LooseObjects, NotPlainError, Tree, are_kept, commit_text
from minipach.git.repo import Repo, lacks_objects
from minipach.git.tree_entries import GITLINK

# A pack of so few objects git takes apart at once: to compress it is for nothing (20 ms for a folder of 20,000 files).
_UNPACK_LIMIT = 100
_ONE_BY_ONE = 60  # objects that are stored without a process
_IN_MEMORY = 4 << 20  # bytes of a stream; more are kept in a file
_PACKED = ("-c", "fastimport.unpackLimit=0")
_UNPACKED = ("-c", f"fastimport.unpackLimit={_UNPACK_LIMIT}", "-c", "pack.compression=0")


@dataclass
class _Commit:
    """A commit to be stored. changes: (mode, id or mark, path); the mode is None for a path that is removed."""

    message: str
    author: str | None
    committer: str
    merged: list[str] = field(default_factory=list)
    changes: list[tuple[str | None, str | bytes, str]] = field(default_factory=list)


@dataclass
class Stream:
    """Commits on top of `parent`, one after the other; `run` stores them and returns the last one's id.

    The commits hang on `ref`, a private name that a kill may leave behind and the next run takes over.
    folder: where a long stream is kept in a file without a name. None: it is kept in memory.
    """

    ref: str
    parent: str | None
    committer: str
    folder: Path | None = None
    _parts: list[bytes] = field(default_factory=list)
    _blobs: list[bytes] = field(default_factory=list)
    _commits: list[_Commit] = field(default_factory=list)
    _contents: list[bytes] = field(default_factory=list)
    _objects: int = 0  # that will be stored, at most
    _bytes: int = 0  # of the parts
    _file: IO[bytes] | None = None  # has all that came before the parts

    def commit(self, message: str, author: str | None = None) -> None:
        """Begin a commit; changes follow."""
        text = os.fsencode(message)
        first = not self._commits
        if self._file is not None:
            self._commits.clear()
        self._commits.append(_Commit(message, author, self.committer))
        self._objects += 2
        head = f"commit {self.ref}\n"
        if author:
            head += f"author {author}\n"
        self._send(os.fsencode(f"{head}committer {self.committer}\ndata {len(text)}\n") + text + b"\n")
        if first and self.parent:
            self._send(f"from {self.parent}\n".encode())

    def merge(self, other: str) -> None:
        """Make the commit that was just begun a merge with another one."""
        self._commits[-1].merged.append(other)
        self._send(f"merge {other}\n".encode())

    def delete(self, path: str) -> None:
        """Remove a path."""
        self._note(None, "", path)
        self._change(b"D ", path)

    def put(self, mode: str, sha: str, path: str) -> None:
        """Set a path to an object that is stored already, or to a `blob` of this stream."""
        self._note(mode, sha, path)
        self._change(f"M {mode} {sha} ".encode(), path)

    def write(self, mode: str, data: bytes, path: str) -> None:
        """Set a path to new content."""
        self._note(mode, data, path)
        self._change(f"M {mode} inline ".encode(), path)
        self._send(f"data {len(data)}\n".encode() + data + b"\n")

    def blob(self, data: bytes) -> str:
        """Send content that many paths will have, once, and return what `put` takes as its id.

        Raises:
            ValueError: The stream is kept in a file already: such contents come first.
        """
        if self._file is not None:
            raise ValueError("contents of many paths come before a long stream")
        mark = f":{len(self._blobs) + 1}"
        self._blobs.append(f"blob\nmark {mark}\ndata {len(data)}\n".encode() + data + b"\n")
        self._contents.append(data)
        self._objects += 1
        return mark

    def _change(self, what: bytes, path: str) -> None:
        self._send(what + quote(path) + b"\n")
        self._objects += 1 + path.count("/")

    def _note(self, mode: str | None, what: str | bytes, path: str) -> None:
        """Keep a change, for the case that so few are stored without a process."""
        if self._file is None:
            self._commits[-1].changes.append((mode, what, path))

    def _send(self, part: bytes) -> None:
        self._parts.append(part)
        self._bytes += len(part)
        if self.folder is None or self._blobs or self._bytes < _IN_MEMORY or self._objects < _UNPACK_LIMIT:
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115
            self._file.write(self._start)
            del self._commits[:-1]
            self._commits[-1].changes.clear()
        self._file.writelines(self._parts)
        self._parts.clear()
        self._bytes = 0

    @property
    def _start(self) -> bytes:
        """The begin of the stream: a ref of this name that a kill left must not become the parent."""
        return f"reset {self.ref}\n".encode()

    def run(self, repo: Repo) -> str | None:
        """Store everything, and return the id of the last commit (the parent, if there was none)."""
        if not self._commits:
            return self.parent
        if self._objects < _ONE_BY_ONE:
            with suppress(NotPlainError, GitError, OSError):
                if new := self._store(repo):
                    return new
        options = ("--quiet", "--force", "--date-format=raw")
        if self._file is not None:
            with self._file as file:
                file.writelines(self._parts)
                file.seek(0)
                repo.git(*_PACKED, "fast-import", *options, stdin=file)
            return self._made(repo)
        # blobs first: none can be sent in the midst of a commit
        data = b"".join([*self._blobs, self._start, *self._parts])
        if self._objects < _UNPACK_LIMIT:
            with suppress(GitError):
                repo.git(*_UNPACKED, "fast-import", *options, stdin=data)
                new = self._made(repo)
                # until the ref was there, a `git gc --prune=now` may have taken what was made
                if not lacks_objects(repo, new, *([f"^{self.parent}"] if self.parent else [])):
                    return new
        repo.git(*_PACKED, "fast-import", *options, stdin=data)  # gc keeps its pack until the ref is there
        return self._made(repo)

    def _store(self, repo: Repo) -> str | None:
        """Store everything without a process. Return None if a `git gc --prune=now` took some of it meanwhile."""
        store = LooseObjects.of(repo)
        head = self.parent
        text = repo.objects.read(head) if head else b""
        if head and (text is None or not text.startswith(b"tree ")):
            raise NotPlainError
        tree = Tree(repo, store, text[5:45].decode() if text else None)
        taken: set[str] = set()  # objects that are stored already
        contents = [store.add("blob", data) for data in self._contents]
        for commit in self._commits:
            for mode, what, path in commit.changes:
                if mode is None:
                    tree.remove(path)
                elif isinstance(what, bytes):
                    tree.set(path, mode, store.add("blob", what))
                elif what.startswith(":"):
                    tree.set(path, mode, contents[int(what[1:]) - 1])
                else:
                    taken |= {what} if mode != GITLINK else set()
                    tree.set(path, mode, what)
            parents = [*([head] if head else []), *commit.merged]
            author = commit.author or commit.committer
            head = store.add("commit", commit_text(tree.store(), parents, author, commit.committer, commit.message))
        assert head is not None
        if not store.has_all(taken) and any(repo.objects.resolve(sha) is None for sha in taken):
            raise NotPlainError  # git says what is missing
        store.set_ref(self.ref, head)
        return head if are_kept(repo, store, taken, head, self.parent) else None

    def _made(self, repo: Repo) -> str:
        return repo.resolve(self.ref) or repo.line("rev-parse", self.ref)


def quote(path: str) -> bytes:
    """Return a path as fast-import reads it: C-style, with everything that could end the line escaped."""
    raw = os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + raw + b'"'


def committer(repo: Repo) -> str:
    """Return who commits, now: `Name <mail> seconds zone`."""
    return repo.ident("COMMITTER")
