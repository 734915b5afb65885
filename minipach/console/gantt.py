"""A Gantt chart of a job's tries: a row for each datum or worker, and above how many ran at once. Pure.

As SVG, and as columns, which the page of a large job draws on a canvas.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

from minipach.console.rendering import seconds
from minipach.support.text import xml

_LEFT, _WIDTH, _ROW, _TOP = 210.0, 760.0, 20.0, 64.0  # pixels
_LEAST = 6.0  # pixels: a try that took no time can still be pointed at
_NAME = 30  # characters of a row's name; all of it is in the tooltip
_CLOSE = 2.0  # seconds between two tries of a critical path, at most
PHASES = ("queued", "staging", "running", "publishing")


@dataclass(frozen=True, slots=True)
class Bar:
    """One try. row: the datum or the worker · start, end: of the command, in unix seconds · number: of the try, from 1.

    queued: when it began to wait · staged: when its set began, or the datum before it in the set ended · kept: when
    the result of its set was kept (each None: not known, or of another try).
    """

    row: str
    datum: str
    kind: str
    start: float
    end: float
    what: str
    queued: float | None = None
    staged: float | None = None
    kept: float | None = None
    number: int = 1

    def phases(self) -> list[tuple[str, float, float]]:
        """Return the phases around the command that took any time: name, begin and end."""
        moments = [self.queued, self.staged, self.start, self.end, self.kept]
        spans = zip(PHASES, pairwise(moments), strict=True)
        return [(name, a, b) for name, (a, b) in spans if a is not None and b is not None and b > a]


def as_svg(
    bars: Sequence[Bar],
    rows: Sequence[str],
    link: Callable[[Bar], str],
    published: float | None = None,
    critical: Sequence[Bar] | None = None,
) -> str:
    """Return the chart of the bars in these rows; the curve of concurrency and the critical path are of all bars.

    link: the address that a bar leads to · published: when the job ended · critical: the critical path, if it is known.
    """
    if not bars:
        return ""
    low, high = _extent(bars, published)
    span = max(high - low, 0.001)
    height = _TOP + len(rows) * _ROW + 10
    places = {row: number for number, row in enumerate(rows)}

    def x(moment: float) -> float:
        return _LEFT + _WIDTH * (moment - low) / span

    parts = [
        f'<svg class="gantt" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 20:.0f} {height:.0f}" '
        f'width="{_LEFT + _WIDTH + 20:.0f}" height="{height:.0f}" role="group" aria-label="Tries over time">'
    ]
    for part in range(6):
        at = _LEFT + _WIDTH * part / 5
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 6}" y2="{height - 8:.0f}"/>')
        anchor = "end" if part == 5 else "middle"
        parts.append(f'<text x="{at:.1f}" y="{_TOP - 10}" text-anchor="{anchor}">{seconds(span * part / 5)}</text>')
    top, curve = concurrency(bars)
    points = " ".join(f"{x(moment):.1f},{44 - 34 * count / top:.1f}" for moment, count in curve)
    parts.append(f'<g><title>at most {top} at once</title><polyline class="busy" points="{points}"/></g>')
    parts.append(f'<text x="4" y="30">at most {top} at once</text>')
    last = max(b.kept or b.end for b in bars)
    if published is not None and published > last:
        parts.append(
            f'<g><title>publishing: {seconds(published - last)}</title><rect class="publishing" x="{x(last):.1f}" '
            f'y="{_TOP - 6:.1f}" width="{max(1.0, x(published) - x(last)):.1f}" height="{height - _TOP:.1f}"/></g>'
        )
    for row, number in places.items():
        shown = row if len(row) <= _NAME else row[: _NAME - 1] + "…"
        y = _TOP + number * _ROW
        parts.append(f'<text x="4" y="{y + 14:.1f}"><title>{xml(row)}</title>{xml(shown)}</text>')
    outlined = {id(bar) for bar in (critical_path(bars) if critical is None else critical)}
    for bar in bars:
        if bar.row in places:
            parts += _drawn(bar, _TOP + places[bar.row] * _ROW, x, link(bar), is_critical=id(bar) in outlined)
    parts.append("</svg>")
    return "\n".join(parts)


def _drawn(bar: Bar, y: float, x: Callable[[float], float], link: str, *, is_critical: bool) -> list[str]:
    """Return a bar with its phases; all of it can be pointed at."""
    kind = bar.kind if bar.kind in ("ok", "failed", "lost", "recovered") else "failed"
    spent = ", ".join(f"{name} {seconds(b - a)}" for name, a, b in bar.phases())
    label = xml(f"{bar.datum}: {bar.kind}, {bar.what}{'; ' + spent if spent else ''}")
    parts = [f'<a href="{xml(link)}" aria-label="{label}"><title>{label}</title>']
    for name, a, b in bar.phases():
        if name != "running":
            wide = max(1.0, x(b) - x(a))
            parts.append(
                f'<rect class="{name}" x="{x(a):.1f}" y="{y + 6:.1f}" width="{wide:.1f}" height="{_ROW - 13:.1f}"/>'
            )
    wide = max(_LEAST, x(bar.end) - x(bar.start))
    more = " critical" if is_critical else ""
    parts.append(
        f'<rect class="{kind}{more}" x="{x(bar.start):.1f}" y="{y + 2:.1f}" width="{wide:.1f}" '
        f'height="{_ROW - 5:.1f}"/></a>'
    )
    return parts


def _extent(bars: Sequence[Bar], published: float | None) -> tuple[float, float]:
    """Return when the first of the bars began to wait, and when the last one or the job ended."""
    low = min(min(b.queued or b.start, b.staged or b.start, b.start) for b in bars)
    return low, max(*(max(b.end, b.kept or b.end) for b in bars), published or 0.0, low)


def lanes(bars: Sequence[Bar]) -> list[Bar]:
    """Return the bars, each in a row in which no two run at once: a worker with several slots has several rows.

    None of them waited in its row: a datum is queued for any worker.
    """
    found: list[Bar] = []
    busy: dict[str, list[tuple[float, int]]] = {}  # of each worker: its rows that are in use, and until when
    free: dict[str, list[int]] = {}
    for bar in sorted(bars, key=lambda b: (b.staged or b.start, b.start)):
        used, idle = busy.setdefault(bar.row, []), free.setdefault(bar.row, [])
        begin = bar.staged or bar.start
        while used and used[0][0] <= begin:
            heappush(idle, heappop(used)[1])
        number = heappop(idle) if idle else len(used) + 1
        heappush(used, (bar.end, number))
        found.append(replace(bar, row=bar.row if number == 1 else f"{bar.row} ({number})", queued=None))
    return found


def rows_of(bars: Sequence[Bar], *, by_name: bool = False) -> list[str]:
    """Return the rows of these bars, in the order of the bars, or by name: `host (2)` before `host (10)`."""
    found = list(dict.fromkeys(bar.row for bar in bars))
    if not by_name:
        return found
    return sorted(
        found, key=lambda row: [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"([0-9]{1,9})", row)]
    )


def as_columns(
    bars: Sequence[Bar], order: Sequence[str], published: float | None, critical: Sequence[Bar]
) -> dict[str, Any]:
    """Return all bars as columns, by row and time: JSON that is small, and that a page draws without a search.

    order: the rows from top to bottom. Times are whole milliseconds after `begin`, null where they are not known.
    """
    if not bars:
        return {"bars": 0}
    low, high = _extent(bars, published)
    rows = {row: number for number, row in enumerate(order)}
    shown = sorted(bars, key=lambda b: (rows[b.row], b.start))
    datums = {name: number for number, name in enumerate(dict.fromkeys(bar.datum for bar in shown))}
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys(bar.kind for bar in shown))}
    outlined = {id(bar) for bar in critical}
    top, curve = concurrency(bars)

    def after(moment: float | None) -> int | None:
        return None if moment is None else round((moment - low) * 1000)

    return {
        "bars": len(shown),
        "begin": low,
        "span": after(high),
        "published": after(published),
        "most_at_once": top,
        "curve": [[after(moment) for moment, _ in curve], [count for _, count in curve]],
        "rows": list(rows),
        "datums": list(datums),
        "kinds": list(kinds),
        "row": [rows[b.row] for b in shown],
        "datum": [datums[b.datum] for b in shown],
        "kind": [kinds[b.kind] for b in shown],
        "number": [b.number for b in shown],
        "queued": [after(b.queued) for b in shown],
        "staged": [after(b.staged) for b in shown],
        "start": [after(b.start) for b in shown],
        "end": [after(b.end) for b in shown],
        "kept": [after(b.kept) for b in shown],
        "critical": [number for number, bar in enumerate(shown) if id(bar) in outlined],
    }


def critical_path(bars: Sequence[Bar]) -> list[Bar]:
    """Return the tries that the end of the job waited for, from the first to the last.

    Before each is the one that ended last before it could begin: on the same worker or elsewhere.
    """
    if not bars:
        return []
    found = [max(bars, key=lambda b: b.end)]
    by_end = sorted(bars, key=lambda b: b.end)
    ends = [b.end for b in by_end]
    while True:
        begin = found[-1].staged or found[-1].start
        at = bisect_right(ends, begin + 0.05)
        before = by_end[at - 1] if at else None
        if before is None or before is found[-1] or begin - before.end > _CLOSE or before.end > found[-1].end:
            return found[::-1]
        if before.start >= found[-1].start:
            return found[::-1]
        found.append(before)


def concurrency(bars: Sequence[Bar]) -> tuple[int, list[tuple[float, int]]]:
    """Return how many tries ran at once at most, and the steps of that number over time."""
    changes = sorted([(b.start, 1) for b in bars] + [(b.end, -1) for b in bars])
    now = top = 0
    curve: list[tuple[float, int]] = []
    for moment, change in changes:
        curve.append((moment, now))
        now += change
        top = max(top, now)
        curve.append((moment, now))
    return max(top, 1), curve[:: max(1, len(curve) // 1000)]


def staged(spans: Sequence[tuple[object, float, float, float]]) -> list[float]:
    """Return when each datum began to be staged.

    spans: the set, when the set began, and when the datum's command began and ended. In a set the datums run one after
    the other: each is staged when the one before has ended.
    """
    found = [0.0] * len(spans)
    last: dict[object, float] = {}
    for number in sorted(range(len(spans)), key=lambda n: spans[n][2]):
        which, begin, start, end = spans[number]
        found[number] = min(max(begin, last.get(which, begin)), start)
        last[which] = max(end, last.get(which, end))
    return found
