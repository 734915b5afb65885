"""One stream of the logs of all datums of running jobs, each line with its datum's name before it."""

from __future__ import annotations

import codecs
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from minipach.records.job_logs import SETS, noted_lines, place_in_sent

_BEGINS = re.compile(r"datum: begins (\d{1,6})")
STREAM_MARK = " | "  # between a datum and a line, in what a pod prints
PAUSE = 0.2  # seconds between two looks
_ASK = 1.0  # and between two looks at what is elsewhere
_MOST = 1024 * 1024  # bytes of one log that are read at a time


class Elsewhere(Protocol):
    """Logs of sets that run on machines without our filesystem."""

    def new(self, sets: Iterable[str]) -> Mapping[str, Sequence[tuple[int, bytes]]]:
        """Return what is new of these sets: (place in its log, text), as far as it is still there. Never raises."""
        ...


@dataclass
class _Log:
    """A set's log, read as it grows: from its file, or before that is here, in pieces from elsewhere.

    place: how far it was read, in the log as its worker writes it · shift: from there to the place in the file.
    """

    path: Path
    datums: tuple[str, ...]
    set_id: str = ""
    place: int = 0
    shift: int = 0
    rest: str = ""
    current: int | None = None  # index of the datum that runs, in a set of several
    is_here: bool = False
    inode: int | None = None  # of the file that was read
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    def read(self, *, last: bool) -> Iterator[tuple[str, str]]:
        """Yield (datum, line) for what is new; what has no end yet only if it is the last look."""
        while True:
            data = b""
            with suppress(OSError):  # not begun yet, or elsewhere
                data = self._next()
            yield from self._lines(data)
            if len(data) < _MOST:
                break
        if last and self.rest:
            yield from self._lines_of([self.rest])
            self.rest = ""

    def _next(self) -> bytes:
        if not self.path.is_file():
            raise FileNotFoundError(self.path)  # or a pipe, which would never end
        with self.path.open("rb") as file:
            size, inode = file.seek(0, 2), os.fstat(file.fileno()).st_ino
            if not self.is_here:
                self.is_here = True
                if self.place:  # some of it came before the file did, which may be its end alone
                    file.seek(0)
                    self.shift = place_in_sent(file.read(), self.place) - self.place
            if size < self.place + self.shift or self.inode not in (None, inode):
                # begun again: its worker was lost, and another has the set
                self._begin(0)
                self.shift = 0
            self.inode = inode
            file.seek(self.place + self.shift)
            data = file.read(_MOST)
        self.place += len(data)
        return data

    def take(self, pieces: Iterable[tuple[int, bytes]]) -> Iterator[tuple[str, str]]:
        """Yield (datum, line) for pieces that came from elsewhere."""
        for at, text in pieces:
            if at < self.place:
                self._begin(at)
            elif at > self.place:
                missing = at - self.place
                yield from self._lines_of(
                    [*([self.rest] if self.rest else []), f"minipach: {missing} bytes are left out"]
                )
                current = self.current
                self._begin(at)
                self.current = current
            self.place += len(text)
            yield from self._lines(text)

    def _begin(self, at: int) -> None:
        self.place, self.rest, self.current = at, "", None
        self.decoder.reset()

    def _lines(self, data: bytes) -> Iterator[tuple[str, str]]:
        lines = (self.rest + self.decoder.decode(data)).split("\n")
        self.rest = lines.pop()
        yield from self._lines_of(lines)

    def _lines_of(self, lines: list[str]) -> Iterator[tuple[str, str]]:
        for line in lines:
            begins = _BEGINS.fullmatch(line) if len(self.datums) > 1 else None
            if begins and int(begins[1]) <= len(self.datums):
                self.current = int(begins[1]) - 1 if int(begins[1]) else None
                continue
            yield self._name(), line

    def _name(self) -> str:
        if len(self.datums) < 2:
            return "".join(self.datums)
        return self.datums[self.current] if self.current is not None else f"{self.datums[0]} ... {self.datums[-1]}"


class Following:
    """The logs in a job's folder, from their beginning, as they grow."""

    def __init__(self, folder: Path, elsewhere: Elsewhere | None = None) -> None:
        self._folder = folder
        self._elsewhere = elsewhere
        self._asked = 0.0
        self._place = 0
        self._logs: list[_Log] = []

    def look(self, *, last: bool) -> Iterator[tuple[str, str]]:
        """Yield (datum, line) for what is new; with what has no end yet if it is the last look."""
        new, self._place = _sets(self._folder / SETS, self._place)
        self._logs += [_Log(self._folder / name, datums, set_id) for name, datums, set_id in new]
        if self._elsewhere is not None and time.monotonic() - self._asked > _ASK:
            self._asked = time.monotonic()
            away = {log.set_id: log for log in self._logs if log.set_id and not log.path.exists()}
            if away:
                for set_id, pieces in self._elsewhere.new(away).items():
                    yield from away[set_id].take(pieces)
        for log in self._logs:
            yield from log.read(last=last)


def follow(folder: Path, ended: Callable[[], bool], elsewhere: Elsewhere | None = None) -> Iterator[tuple[str, str]]:
    """Yield (datum, line) from the logs in a job's folder, until it has ended."""
    following = Following(folder, elsewhere)
    while True:
        last = ended()  # asked before the look, so that nothing is missed after it
        yield from following.look(last=last)
        if last:
            return
        time.sleep(PAUSE)


def _sets(path: Path, place: int) -> tuple[list[tuple[str, tuple[str, ...], str]], int]:
    """Return the (log, datums, set) that were noted since, and how far the file is read."""
    try:
        with path.open("rb") as file:
            file.seek(place)
            data = file.read()
    except OSError:
        return [], place
    whole = data[: data.rfind(b"\n") + 1]  # a line may be half written
    return [(r["log"], tuple(r["datums"]), r.get("set", "")) for r in noted_lines(whole)], place + len(whole)
