"""Objects of a repository by their names, from one long-lived process of git."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from minipach.git.child_environment import environment_at
from minipach.git.git_error import GitError
from minipach.git.loose_reader import LooseReader
from minipach.git.ref_files import UnsureError

_CHUNK = 500  # requests written ahead of the answers: 500 lines of 41 bytes fit into a pipe's buffer


class CatFile:
    """The objects of a repository by their names: loose ones are read here, all others by one process.

    The process (`git cat-file --batch`) begins when it is needed for the first time.
    """

    def __init__(self, repo: Path) -> None:
        self._repo = repo
        self._loose = LooseReader(repo)
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = threading.Lock()  # held until all answers to what was asked are read
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether it answers: no process was needed yet, or it still runs."""
        return not self._closed and (self._process is None or self._process.poll() is None)

    def close(self) -> None:
        """End the process, if one was needed."""
        self._closed = True
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                self._in.close()
            self._out.close()
            self._process.wait()

    def read(self, name: str) -> bytes | None:
        """Return the content of one object, named by id or `REV:PATH` (no newline in it); None if missing."""
        if "\n" in name:
            return None
        return next(iter(self.read_many([name])))

    def read_many(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """Yield the contents of many objects, in order."""
        done = 0
        for name in names:
            try:
                found = self._loose.find(name)
            except UnsureError:
                break  # the others are asked for at once
            yield None if found is None else found.data
            done += 1
        for start in range(done, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            with self._asked:
                self._ask(chunk)
                for _ in chunk:
                    answer = self._answer()
                    yield None if answer is None else answer[1]

    def resolve(self, name: str) -> str | None:
        """Return the id of an object; None if it is missing, or if the process is at something else."""
        answer = self._answer_if_free(name)
        return None if answer is None else answer[0]

    def read_if_free(self, name: str) -> bytes | None:
        """Return the content of an object; None if it is missing, or if the process is at something else."""
        answer = self._answer_if_free(name)
        return None if answer is None else answer[1]

    def _answer_if_free(self, name: str) -> tuple[str, bytes] | None:
        with contextlib.suppress(UnsureError):
            found = self._loose.find(name)
            return None if found is None else (found.sha, found.data)
        if "\n" in name or not self._asked.acquire(blocking=False):
            return None
        try:
            self._ask([name])
            return self._answer()
        finally:
            self._asked.release()

    def _ask(self, names: Sequence[str]) -> None:
        if self._process is None:
            self._process = self._begin()
        try:
            self._in.write(b"".join(os.fsencode(n) + b"\n" for n in names))
            self._in.flush()
        except BrokenPipeError:  # as such it would look as if nobody read our own output any more
            raise _reader_ended() from None

    def _begin(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["git", "cat-file", "--batch"],
            cwd=self._repo,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment_at(self._repo),
            start_new_session=True,  # Ctrl-C is for us to handle; it must not end the reader first
        )
        assert process.stdin is not None and process.stdout is not None
        self._in: IO[bytes] = process.stdin
        self._out: IO[bytes] = process.stdout
        return process

    def _answer(self) -> tuple[str, bytes] | None:
        """Return the id and the content of the next object that was asked for; None if it is missing."""
        header = self._out.readline()
        if not header:
            raise _reader_ended()
        if header.endswith((b" missing\n", b" ambiguous\n")):
            return None
        size = int(header.rsplit(b" ", 1)[1])
        data = self._out.read(size + 1)
        if len(data) <= size:
            raise _reader_ended()
        return header.partition(b" ")[0].decode(), data[:-1]


def _reader_ended() -> GitError:
    return GitError(Path(), ["cat-file"], -1, "the object reader ended")
