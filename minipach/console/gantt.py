"""A Gantt chart of a job's tries as SVG: a row for each datum or worker, and above how many ran at once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from minipach.console.rendering import seconds
from minipach.console.timeline import Rows, Timeline, concurrency
from minipach.support.text import xml

_LEFT, _WIDTH, _ROW, _TOP = 210.0, 760.0, 20.0, 64.0  # pixels
_LEAST = 6.0  # pixels: a try that took no time can still be pointed at
_NAME = 30  # characters of a row's name; all of it is in the tooltip
PHASES = ("queued", "staging", "running", "publishing")


@dataclass(frozen=True, slots=True)
class Bar:
    """One try. start, end: of the command, in unix seconds · number: of the try, from 1.

    queued: when it began to wait · staged: when its set began, or the datum before it in the set ended · kept: when
    the result of its set was kept (each None: not known, or of another try).
    """

    datum: str
    kind: str
    start: float
    end: float
    number: int = 1
    queued: float | None = None
    staged: float | None = None
    kept: float | None = None

    @staticmethod
    def of(tries: Timeline, at: int) -> Bar:
        """Return one of the tries."""
        return Bar(
            *(tries.datum[at], tries.kind[at], tries.start[at], tries.end[at], tries.number[at]),
            *(tries.queued[at], tries.staged[at], tries.kept[at]),
        )

    def phases(self) -> list[tuple[str, float, float]]:
        """Return the phases around the command that took any time: name, begin and end."""
        moments = [self.queued, self.staged, self.start, self.end, self.kept]
        spans = zip(PHASES, pairwise(moments), strict=True)
        return [(name, a, b) for name, (a, b) in spans if a is not None and b is not None and b > a]


def as_svg(
    tries: Timeline,
    rows: Rows,
    shown: Sequence[int],
    link: Callable[[Bar], str],
    published: float | None = None,
    critical: Collection[int] = (),
) -> str:
    """Return the chart of the tries in some rows; the curve of concurrency is of all tries.

    shown: the rows, by their numbers · link: the address that a bar leads to · published: when the job ended ·
    critical: the tries of the critical path.
    """
    if not len(tries):
        return ""
    low, high = tries.extent(published)
    span = max(high - low, 0.001)
    height = _TOP + len(shown) * _ROW + 10
    places = {row: number for number, row in enumerate(shown)}

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
    top, curve = concurrency(tries)
    points = " ".join(f"{x(moment):.1f},{44 - 34 * count / top:.1f}" for moment, count in curve)
    parts.append(f'<g><title>at most {top} at once</title><polyline class="busy" points="{points}"/></g>')
    parts.append(f'<text x="4" y="30">at most {top} at once</text>')
    last = tries.last()
    if published is not None and published > last:
        parts.append(
            f'<g><title>publishing: {seconds(published - last)}</title><rect class="publishing" x="{x(last):.1f}" '
            f'y="{_TOP - 6:.1f}" width="{max(1.0, x(published) - x(last)):.1f}" height="{height - _TOP:.1f}"/></g>'
        )
    for row, number in places.items():
        name = rows.names[row]
        short = name if len(name) <= _NAME else name[: _NAME - 1] + "…"
        y = _TOP + number * _ROW
        parts.append(f'<text x="4" y="{y + 14:.1f}"><title>{xml(name)}</title>{xml(short)}</text>')
    outlined = set(critical)
    for one in range(len(tries)):
        if (place := places.get(rows.of[one])) is not None:
            bar = Bar.of(tries, one)
            parts += _drawn(bar, _TOP + place * _ROW, x, link(bar), is_critical=one in outlined)
    parts.append("</svg>")
    return "\n".join(parts)


def _drawn(bar: Bar, y: float, x: Callable[[float], float], link: str, *, is_critical: bool) -> list[str]:
    """Return a bar with its phases; all of it can be pointed at."""
    kind = bar.kind if bar.kind in ("ok", "failed", "lost", "recovered") else "failed"
    spent = ", ".join(f"{name} {seconds(b - a)}" for name, a, b in bar.phases())
    what = f"try {bar.number}, {seconds(max(0.0, bar.end - bar.start))}"
    label = xml(f"{bar.datum}: {bar.kind}, {what}{'; ' + spent if spent else ''}")
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
