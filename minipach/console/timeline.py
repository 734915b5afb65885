"""All tries of a job over time, as columns: what 100,000 of them cost is in loops over lists. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import chain
from operator import eq
from typing import Any

from minipach.records.job_rows import EarlierTry, Run

_CLOSE = 2.0  # seconds between two tries of a critical path, at most
_POINTS = 1000  # of the curve of concurrency
UNKNOWN = "unknown"  # the row of a worker whose name is not known


@dataclass(frozen=True, slots=True)
class Timeline:
    """All tries of a job by their start, as columns. Times are unix seconds; None: not known, or of another try.

    number: of the try, from 1 · start, end: of the command · queued: when it began to wait · staged: when its set
    began, or the datum before it in the set ended · kept: when the result of its set was kept · cpu: seconds, of all
    tries together, also of those without times · memory: the most that one used, in bytes · began: when the first try
    began to wait, where `queued` does not say it.
    """

    datum: Sequence[str]
    host: Sequence[str]
    kind: Sequence[str]
    number: Sequence[int]
    start: Sequence[float]
    end: Sequence[float]
    queued: Sequence[float | None]
    staged: Sequence[float | None]
    kept: Sequence[float | None]
    cpu: float = 0.0
    memory: int | None = None
    began: float | None = None

    def __len__(self) -> int:
        return len(self.start)

    def first(self, most: int) -> Timeline:
        """Return the first tries alone."""
        if most >= len(self):
            return self
        cut = slice(most)
        return replace(
            self,
            datum=self.datum[cut],
            host=self.host[cut],
            kind=self.kind[cut],
            number=self.number[cut],
            start=self.start[cut],
            end=self.end[cut],
            queued=self.queued[cut],
            staged=self.staged[cut],
            kept=self.kept[cut],
        )

    def for_workers(self) -> Timeline:
        """Return the tries as rows of workers show them: none was queued in its row, since it waits for any worker."""
        began = self.extent(None)[0] if len(self) else None  # both charts of a job begin at the same moment
        return replace(self, queued=(None,) * len(self), began=began)

    def extent(self, published: float | None) -> tuple[float, float]:
        """Return when the first of the tries began to wait, and when the last one or the job ended."""
        low = min(chain(self.start, filter(None, self.queued), filter(None, self.staged)))
        low = low if self.began is None else min(low, self.began)
        ended, kept = max(self.end), max(filter(None, self.kept), default=0.0)
        return low, max(ended, kept, published or 0.0, low)

    def last(self) -> float:
        """Return when the last result was kept, or the last try ended."""
        return max(kept or end for kept, end in zip(self.kept, self.end, strict=True))


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a chart: their names from top to bottom, and for each try the number of its row."""

    names: Sequence[str]
    of: Sequence[int]


def timeline_of(passes: Sequence[tuple[float, Sequence[Run], Sequence[EarlierTry]]]) -> Timeline:
    """Return all tries of a job. passes: of each its start, what became of its datums, and their earlier tries."""
    found: list[tuple[Any, ...]] = []
    cpu, memory = 0.0, 0
    for began, runs, earlier in passes:
        before: dict[str, list[EarlierTry]] = {}
        for one in earlier:
            before.setdefault(one[0], []).append(one)
            cpu += one[5]
            memory = max(memory, one[6] or 0)
        for run, staged in zip(runs, _staged(runs), strict=True):
            datum, kind, tries, host, ended, started, start, end, used, most = run
            number = 0
            for _, was, at, until, where, _, _ in before.pop(datum, ()) if before else ():
                number += 1
                if at is not None and until is not None:
                    begin = min(staged, at) if number == 1 and staged is not None else None
                    waits = began if begin is not None else None
                    kept = None if tries else ended or None
                    found.append((at, datum, where, was, number, until, waits, begin, kept))
            if not tries:
                continue
            number += 1
            cpu += used
            memory = max(memory, most or 0)
            at, until = (start, end or None) if start else (started or None, ended or None)
            if at is None or until is None:
                continue
            if number == 1 and staged is not None:
                found.append((at, datum, host, kind, 1, until, began, min(staged, at), ended or None))
            else:
                found.append((at, datum, host, kind, number, until, None, None, ended or None))
    found.sort(key=lambda one: (one[0], one[1]))
    if not found:
        return Timeline((), (), (), (), (), (), (), (), (), cpu, memory or None)
    start_, datum_, host_, kind_, number_, end_, queued, staged_, kept_ = zip(*found, strict=True)
    return Timeline(datum_, host_, kind_, number_, start_, end_, queued, staged_, kept_, cpu, memory or None)


def _staged(runs: Sequence[Run]) -> list[float | None]:
    """Return when each datum began to be staged; None, where it is not known when its command began.

    In a set the datums run one after the other: each is staged when the one before has ended.
    """
    found: list[float | None] = [None] * len(runs)
    begins = [run[6] or 0.0 for run in runs]
    last: dict[tuple[str, float | None], float] = {}
    for place in sorted(range(len(runs)), key=begins.__getitem__):
        start = begins[place]
        if not start:
            continue
        run = runs[place]
        which, begin = (run[3], run[5]), run[5] or start
        before = last.get(which, begin)
        found[place] = min(max(begin, before), start)
        last[which] = max(run[7] or 0.0, before)
    return found


def by_datum(tries: Timeline) -> Rows:
    """Return a row for each datum, in the order in which they began."""
    numbers = {datum: number for number, datum in enumerate(dict.fromkeys(tries.datum))}
    return Rows(list(numbers), [numbers[datum] for datum in tries.datum])


def by_worker(tries: Timeline) -> Rows:
    """Return rows in which no two tries are at once: a worker with several slots has several, `host (2)` and so on."""
    begins = [staged or start for staged, start in zip(tries.staged, tries.start, strict=True)]
    busy: dict[str, list[tuple[float, int]]] = {}  # of each worker: its rows that are in use, and until when
    free: dict[str, list[int]] = {}
    lanes: list[tuple[str, int]] = [("", 0)] * len(tries)
    for at in sorted(range(len(tries)), key=begins.__getitem__):
        host, begin = tries.host[at] or UNKNOWN, begins[at]
        used = busy.setdefault(host, [])
        idle = free.setdefault(host, [])
        while used and used[0][0] <= begin:
            heappush(idle, heappop(used)[1])
        number = heappop(idle) if idle else len(used) + 1
        heappush(used, (tries.end[at], number))
        lanes[at] = host, number
    names = {lane: lane[0] if lane[1] == 1 else f"{lane[0]} ({lane[1]})" for lane in set(lanes)}
    order = sorted(names, key=lambda lane: _natural(names[lane]))
    numbers = {lane: number for number, lane in enumerate(order)}
    return Rows([names[lane] for lane in order], [numbers[lane] for lane in lanes])


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts `host (2)` before `host (10)`."""
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"([0-9]{1,9})", name)]


def critical_path(tries: Timeline) -> list[int]:
    """Return the tries that the end of the job waited for, from the first to the last.

    Before each is the one that ended last before it could begin: on the same worker or elsewhere.
    """
    if not len(tries):
        return []
    by_end = sorted(range(len(tries)), key=tries.end.__getitem__)
    ends = [tries.end[at] for at in by_end]
    found = [tries.end.index(ends[-1])]
    while True:
        now = found[-1]
        begin = tries.staged[now] or tries.start[now]
        at = bisect_right(ends, begin + 0.05)
        before = by_end[at - 1] if at else now
        if before == now or begin - ends[at - 1] > _CLOSE or ends[at - 1] > tries.end[now]:
            return found[::-1]
        if tries.start[before] >= tries.start[now]:
            return found[::-1]
        found.append(before)


def concurrency(tries: Timeline) -> tuple[int, list[tuple[float, int]]]:
    """Return how many tries ran at once at most, and the steps of that number over time."""
    ends = sorted(tries.end)
    moments: list[float] = []
    counts = [0]  # before the first moment, and after each
    now = over = 0
    for start in tries.start:
        while over < len(ends) and ends[over] <= start:
            moments.append(ends[over])
            over += 1
            now -= 1
            counts.append(now)
        moments.append(start)
        now += 1
        counts.append(now)
    for end in ends[over:]:
        moments.append(end)
        now -= 1
        counts.append(now)
    every = range(0, 2 * len(moments), max(1, 2 * len(moments) // _POINTS))
    return max(*counts, 1), [(moments[point // 2], counts[(point + 1) // 2]) for point in every]


def as_columns(tries: Timeline, rows: Rows, published: float | None, critical: Sequence[int]) -> dict[str, Any]:
    """Return all tries as columns, by row and time: JSON that is small, and that a page draws without a search.

    published: when the job ended. Rows are null if they are the datums, which have the same columns. Times are whole
    milliseconds after `begin`, null where they are not known.
    """
    if not len(tries):
        return {"bars": 0}
    low, high = tries.extent(published)
    is_by_datum = len(rows.names) == len(set(tries.datum)) and all(
        map(eq, map(rows.names.__getitem__, rows.of), tries.datum)
    )
    order = sorted(range(len(tries)), key=rows.of.__getitem__)
    datums = {name: number for number, name in enumerate(dict.fromkeys(tries.datum[at] for at in order))}
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys(tries.kind))}
    outlined = set(critical)
    top, curve = concurrency(tries)

    def after(times: Sequence[float | None]) -> list[int | None]:
        return [None if (at := times[n]) is None else int((at - low) * 1000 + 0.5) for n in order]

    return {
        "bars": len(order),
        "begin": low,
        "span": round((high - low) * 1000),
        "published": None if published is None else round((published - low) * 1000),
        "most_at_once": top,
        "curve": [[round((moment - low) * 1000) for moment, _ in curve], [count for _, count in curve]],
        "rows": None if is_by_datum else rows.names,
        "datums": list(datums),
        "kinds": list(kinds),
        "row": None if is_by_datum else [rows.of[at] for at in order],
        "datum": [datums[tries.datum[at]] for at in order],
        "kind": [kinds[tries.kind[at]] for at in order],
        "number": [tries.number[at] for at in order],
        "queued": after(tries.queued),
        "staged": after(tries.staged),
        "start": after(tries.start),
        "end": after(tries.end),
        "kept": after(tries.kept),
        "critical": [number for number, at in enumerate(order) if at in outlined],
    }
