"""A plot of points as SVG, which needs no script. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minipach.support.text import xml

_LEFT, _WIDTH, _TOP, _HIGH = 70.0, 560.0, 14.0, 240.0  # pixels
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Point:
    """A point. x: a number as text, or a category · label: in the tooltip."""

    x: str
    y: float
    label: str


def as_svg(points: Sequence[Point], x_name: str, y_name: str) -> str:
    """Return the plot of points; "" if there are none. Numbers have a scale, other values of x are categories."""
    if not points:
        return ""
    numbers = [_number(point.x) for point in points]
    known = [number for number in numbers if number is not None]
    is_scale = len(known) == len(points)
    categories = list(dict.fromkeys(point.x for point in points))
    places = known if is_scale else [float(categories.index(point.x)) for point in points]
    low, high = _span(places)
    bottom, top = _span([point.y for point in points])

    def x(value: float) -> float:
        return _LEFT + 10 + (_WIDTH - 20) * (value - low) / (high - low)

    def y(value: float) -> float:
        return _TOP + _HIGH - 10 - (_HIGH - 20) * (value - bottom) / (top - bottom)

    width, height = _LEFT + _WIDTH + 10, _TOP + _HIGH + 40
    parts = [
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{xml(y_name)} by {xml(x_name)}: {len(points)} points">'
    ]
    for part in range(_TICKS + 1):
        value = bottom + (top - bottom) * part / _TICKS
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.4g}</text>'
        )
    marks = (
        [
            (low + (high - low) * part / _TICKS, f"{low + (high - low) * part / _TICKS:.4g}")
            for part in range(_TICKS + 1)
        ]
        if is_scale
        else [(float(number), name[:16]) for number, name in enumerate(categories[:12])]
    )
    for value, text in marks:
        parts.append(f'<text x="{x(value):.1f}" y="{_TOP + _HIGH + 14:.0f}" text-anchor="middle">{xml(text)}</text>')
    parts.append(f'<text x="{_LEFT + _WIDTH / 2}" y="{height - 6:.0f}" text-anchor="middle">{xml(x_name)}</text>')
    parts.append(f'<text class="axis" x="4" y="12">{xml(y_name)}</text>')
    for place, point in zip(places, points, strict=True):
        label = xml(point.label)
        parts.append(f'<circle cx="{x(place):.1f}" cy="{y(point.y):.1f}" r="5"><title>{label}</title></circle>')
    parts.append("</svg>")
    return "\n".join(parts)


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if abs(found) < 1e300 else None


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high > low:
        return low, high
    margin = abs(low) / 2 or 0.5  # all are equal: a scale of their size, which does not change its sign
    return low - margin, high + margin
