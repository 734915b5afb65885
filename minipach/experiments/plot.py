"""Charts of an experiment: bars on a terminal, and an SVG. The points are rows; each metric has a chart. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from minipach.experiments.metrics import MetricRow
from minipach.experiments.points import shown as shown_value
from minipach.support.text import printable, xml

_WIDE = 40  # characters of the longest bar
_BAR, _ROW, _LEFT, _RIGHT = 320, 22, 200, 110  # pixels of an SVG


def charted(rows: Sequence[MetricRow]) -> list[str]:
    """Return the metrics that are numbers in each row that has them."""
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    return [name for name in names if all(isinstance(row.metrics.get(name, 0.0), float | int) for row in rows)]


def _bars(rows: Sequence[MetricRow], metric: str) -> Iterator[tuple[str, float | None, float, float]]:
    """Yield the label, the value, and where its bar begins and ends (0 to 1). One end of each bar is the value 0."""
    values = {row.number: float(v) for row in rows if isinstance(v := row.metrics.get(metric), float | int)}
    least, most = min([0.0, *values.values()]), max([0.0, *values.values()])
    span = most - least
    for row in rows:
        label = ", ".join(f"{name}={shown_value(value)}" for name, value in row.params.items())
        value = values.get(row.number)
        begin, end = (0.0, 0.0) if value is None else (min(value, 0.0) - least, max(value, 0.0) - least)
        yield printable(f"{row.number}: {label}"), value, begin / (span or 1.0), end / (span or 1.0)


def text(rows: Sequence[MetricRow]) -> list[str]:
    """Return the charts as lines of text."""
    found: list[str] = []
    for metric in charted(rows):
        bars = list(_bars(rows, metric))
        wide = min(48, max(len(label) for label, *_ in bars))
        found += ["", printable(metric)] if found else [printable(metric)]
        for label, value, begin, end in bars:
            shown = "-" if value is None else f"{value:.6g}"
            gap, upto = round(begin * _WIDE), round(end * _WIDE)
            bar = " " * gap + "#" * (upto - gap)
            found.append(f"  {label[:wide]:{wide}}  {bar}{' ' if bar else ''}{shown}")
    return found


def svg(rows: Sequence[MetricRow], name: str) -> str:
    """Return the charts as an SVG image."""
    parts: list[str] = []
    y = 30
    for metric in charted(rows):
        y += _ROW
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{xml(metric)}</text>')
        for label, value, begin, end in _bars(rows, metric):
            y += _ROW
            shown = "-" if value is None else f"{value:.6g}"
            left, width = _LEFT + round(begin * _BAR), max(1, round((end - begin) * _BAR))
            parts.append(f'<text x="{_LEFT - 8}" y="{y}" text-anchor="end">{xml(label[:32])}</text>')
            parts.append(f'<rect x="{left}" y="{y - 12}" width="{width}" height="14" fill="#3d6fb6"/>')
            parts.append(f'<text x="{left + width + 6}" y="{y}">{xml(shown)}</text>')
    wide, high = _LEFT + _BAR + _RIGHT, y + 20
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
        'role="img" font-family="sans-serif" font-size="12">'
    )
    title = f"<title>{xml(name)}</title><rect width='100%' height='100%' fill='#fff'/>"
    return "\n".join([head, title, f'<text x="10" y="22" font-size="15">{xml(name)}</text>', *parts, "</svg>"]) + "\n"
