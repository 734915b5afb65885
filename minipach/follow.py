"""One stream of the logs of all datums of a running job, each line with its datum's name before it."""

from __future__ import annotations

import codecs
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from minipach.logs import SETS

_BEGINS = re.compile(r"datum: begins (\d+)")
_PAUSE = 0.2  # seconds between two looks
_MOST = 1024 * 1024  # bytes of one log that are read at a time


@dataclass
class _Log:
    """A set's log, read as it grows."""

    path: Path
    datums: tuple[str, ...]
    place: int = 0
    rest: str = ""
    current: int | None = None  # index of the datum that runs, in a set of several
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    def read(self, *, last: bool) -> Iterator[tuple[str, str]]:
        """(datum, line) for what is new; what has no end yet only if it is the last look."""
        while True:
            try:
                with self.path.open("rb") as file:
                    if file.seek(0, 2) < self.place:  # begun anew: its worker was lost, and another has the set
                        self.place, self.rest, self.current = 0, "", None
                        self.decoder.reset()
                    file.seek(self.place)
                    data = file.read(_MOST)
                    self.place = file.tell()
            except OSError:
                data = b""  # not begun yet
            lines = (self.rest + self.decoder.decode(data)).split("\n")
            self.rest = lines.pop()
            yield from self._told(lines)
            if len(data) < _MOST:
                break
        if last and self.rest:
            yield from self._told([self.rest])
            self.rest = ""

    def _told(self, lines: list[str]) -> Iterator[tuple[str, str]]:
        for line in lines:
            begins = _BEGINS.fullmatch(line) if len(self.datums) > 1 else None
            if begins and 0 < int(begins[1]) <= len(self.datums):
                self.current = int(begins[1]) - 1
                continue
            yield self._name(), line

    def _name(self) -> str:
        if len(self.datums) == 1:
            return self.datums[0]
        return self.datums[self.current] if self.current is not None else f"{self.datums[0]} ... {self.datums[-1]}"


def follow(folder: Path, ended: Callable[[], bool]) -> Iterator[tuple[str, str]]:
    """(datum, line) from the logs in a job's folder, from their beginning, as they grow, until it has ended."""
    logs: list[_Log] = []
    place = 0
    while True:
        last = ended()  # asked before the look, so that nothing is missed after it
        new, place = _sets(folder / SETS, place)
        logs += [_Log(folder / name, datums) for name, datums in new]
        for log in logs:
            yield from log.read(last=last)
        if last:
            return
        time.sleep(_PAUSE)


def _sets(path: Path, place: int) -> tuple[list[tuple[str, tuple[str, ...]]], int]:
    """The (log, datums) that were noted since, and how far the file is read."""
    try:
        with path.open("rb") as file:
            file.seek(place)
            data = file.read()
    except OSError:
        return [], place
    whole = data[: data.rfind(b"\n") + 1]  # a line may be half written
    rows = [json.loads(line) for line in whole.splitlines()]
    return [(str(row["log"]), tuple(row["datums"])) for row in rows], place + len(whole)
