"""The progress of a job: done, running and waiting datums, from the job database, notes and the executor."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minipach.model.job_entries import JobRow
from minipach.model.log_marks import BEGINS
from minipach.model.states import SUCCEEDED
from minipach.model.work_set import Outcome, tried_again
from minipach.records.job_database import Ledger
from minipach.records.job_logs import SETS, noted_lines

_TAIL = 64 * 1024  # bytes of a log that are looked at


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Datums of a job. total: that it is to run · running: those at work, one in each set that runs.

    ran: those whose command has ended in a running set, as far as its log is here; the set reports their states at its
    end · behind: those after them in these sets · since: when the first of its sets began, in unix seconds (None: none
    has).
    """

    total: int
    done: int
    failed: int
    running: int
    ran: int = 0
    behind: int = 0
    since: float | None = None

    @property
    def waiting(self) -> int:
        """The datums that have not begun, including `behind`."""
        return max(0, self.total - self.done - self.failed - self.running - self.ran)


@dataclass(frozen=True, slots=True)
class _Noted:
    """A set that was cut: its datums, and how often each may be tried."""

    datums: tuple[str, ...]
    tries: int
    log: str


class Sheet:
    """The record of one job; each look reads only what is new."""

    def __init__(self, folder: Path, key: int) -> None:
        """folder: of the job's logs · key: of the job database's."""
        self._folder = folder
        self._key = key
        self._place = 0
        self._last = 0
        self._since: float | None = None
        self._sets: dict[str, _Noted] = {}
        self._parts: dict[str, tuple[str, ...]] = {}  # by log: what a worker has cut of a chunk
        self._kinds: dict[str, str] = {}  # by datum: what a pass has recorded

    def read(self, ledger: Ledger) -> None:
        """Read what is new."""
        for key, datum, kind, started in ledger.news(self._key, self._last):
            self._last = key
            self._kinds[datum] = kind
            self._note_start(started)
        self.read_sets()

    def read_sets(self) -> None:
        """Read the sets that are new, and nothing that a pass has recorded."""
        for row in self._new_lines():
            if "set" in row:
                self._sets[row["set"]] = _Noted(tuple(row.get("holds", row["datums"])), int(row["tries"]), row["log"])
            else:
                self._parts[row["log"]] = tuple(row["datums"])

    def _note_start(self, started: float | None) -> None:
        if started:
            self._since = min(started, self._since or started)

    def _new_lines(self) -> Iterator[dict[str, Any]]:
        try:
            with (self._folder / SETS).open("rb") as file:
                file.seek(self._place)
                data = file.read()
        except OSError:
            return
        whole = data[: data.rfind(b"\n") + 1]  # the last line may be half written
        self._place += len(whole)
        yield from noted_lines(whole)

    def open_sets(self) -> dict[str, str]:
        """Return the sets of which something isn't recorded yet, by id, in words."""
        found = {}
        for ident, noted in self._sets.items():
            left = [name for name in noted.datums if name not in self._kinds]
            if left:
                more = f" and {len(noted.datums) - 1} more" if len(noted.datums) > 1 else ""
                found[ident] = noted.datums[0] + more
        return found

    def at_work(self, running: Collection[str]) -> list[str]:
        """Return the names of the datums at work: one in each set that runs."""
        sets = [self._sets[ident] for ident in running if ident in self._sets]
        at = [(noted, self._past(noted, self._kinds.keys())) for noted in sets]
        return sorted(noted.datums[place] for noted, place in at if place < len(noted.datums))

    def progress(self, row: JobRow, running: Collection[str], outcomes: Iterable[Outcome]) -> JobProgress:
        """Return how far it is, with what no pass has recorded yet."""
        kinds = dict(self._kinds)
        for outcome in outcomes:
            for name, kind in self._changes(outcome):
                kinds.setdefault(name, kind)
        done = sum(kind in SUCCEEDED for kind in kinds.values())
        left = {i: [n for n in self._sets[i].datums if n not in kinds] for i in running if i in self._sets}
        ran = {i: min(len(names), self._past(self._sets[i], kinds.keys())) for i, names in left.items()}
        at_work = sum(len(names) > ran[i] for i, names in left.items())
        open_ = sum(map(len, left.values()))
        past = sum(ran.values())
        total = max(row.asked, len(kinds) + open_)
        return JobProgress(total, done, len(kinds) - done, at_work, past, open_ - at_work - past, self._since)

    def _past(self, noted: _Noted, kinds: Set[str]) -> int:
        """Return how many datums a set that runs has come past; of a chunk, the part that is at work."""
        stem = noted.log.removesuffix(".log") + "-"
        parts = {log: names for log, names in self._parts.items() if log.startswith(stem) and not set(names) <= kinds}
        logs = {noted.log: noted.datums, **parts}
        # a set of one has no marks: what looks like one, its command has printed
        return max((_passed(self._folder / log) for log, names in logs.items() if len(names) > 1), default=0)

    def _changes(self, outcome: Outcome) -> Iterator[tuple[str, str]]:
        """Yield the datums that an outcome is the last word on, and what it is."""
        noted = self._sets.get(outcome.set_id)
        if noted is None:
            return
        self._note_start(outcome.started)
        results = outcome.results(len(noted.datums))
        again = tried_again(results, noted.tries)
        for one in results:
            if one.index not in again and 0 <= one.index < len(noted.datums):
                yield noted.datums[one.index], one.state


def _passed(log: Path) -> int:
    """Return how many datums a set has come past, by its log.

    0 where it isn't here, or the last one has printed very much.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL))
            begun = [int(number) for number in BEGINS.findall(file.read())]
    except OSError:
        return 0
    if not begun:
        return 0
    return begun[-1] - 1 if begun[-1] else max(begun)  # 0: it has come to its end
