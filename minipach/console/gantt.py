"""A Gantt chart of a job's tries as SVG: a row for each datum or worker, and above how many ran at once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minipach.support.text import xml

_LEFT, _WIDTH, _ROW, _TOP = 210.0, 760.0, 18.0, 64.0  # pixels
_LEAST = 6.0  # pixels: a try that took no time can still be pointed at
_NAME = 30  # characters of a row's name; all of it is in the tooltip


@dataclass(frozen=True, slots=True)
class Bar:
    """One try. row: the datum or the worker · start, end: unix seconds."""

    row: str
    datum: str
    kind: str
    start: float
    end: float
    what: str


def as_svg(bars: Sequence[Bar], rows: Sequence[str], link: Callable[[Bar], str]) -> str:
    """Return the chart of the bars in these rows; the curve of concurrency is of all bars.

    link: the address that a bar leads to.
    """
    if not bars:
        return ""
    low, high = min(b.start for b in bars), max(b.end for b in bars)
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
        parts.append(f'<text x="{at:.1f}" y="{_TOP - 10}" text-anchor="middle">{span * part / 5:.1f} s</text>')
    top, curve = concurrency(bars)
    points = " ".join(f"{x(moment):.1f},{44 - 34 * count / top:.1f}" for moment, count in curve)
    parts.append(f'<g><title>at most {top} at once</title><polyline class="busy" points="{points}"/></g>')
    parts.append(f'<text x="4" y="30">at most {top} at once</text>')
    for row, number in places.items():
        shown = row if len(row) <= _NAME else row[: _NAME - 1] + "…"
        y = _TOP + number * _ROW
        parts.append(f'<text x="4" y="{y + 13:.1f}"><title>{xml(row)}</title>{xml(shown)}</text>')
    for bar in bars:
        if bar.row not in places:
            continue
        y = _TOP + places[bar.row] * _ROW
        wide = max(_LEAST, x(bar.end) - x(bar.start))
        kind = bar.kind if bar.kind in ("ok", "failed", "lost", "recovered") else "failed"
        label = xml(f"{bar.datum}: {bar.kind}, {bar.what}")
        parts.append(
            f'<a href="{xml(link(bar))}" aria-label="{label}"><title>{label}</title>'
            f'<rect class="{kind}" x="{x(bar.start):.1f}" y="{y + 1:.1f}" width="{wide:.1f}" height="{_ROW - 3:.1f}"/>'
            "</a>"
        )
    parts.append("</svg>")
    return "\n".join(parts)


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
