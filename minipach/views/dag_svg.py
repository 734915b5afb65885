"""The DAG as SVG: a column per depth, a box per repo and pipeline, readable on light and on dark pages. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from minipach.support.text import printable, xml
from minipach.views.dag import COLOURS, Dag, Edge, Node

# all in pixels
_MARGIN, _COLUMN_GAP, _ROW_GAP, _PAD, _LINE = 16.0, 72.0, 18.0, 12.0, 18.0
_CHARACTER, _BOLD = (
    7.0,
    8.6,
)  # wide at 12 px in a plain sans-serif, and in the bold 13 px of names: most fonts need less
_MOST = 36  # characters of a name or glob; the whole text is in the tooltip
_SWEEPS = 8

STYLE = """
text { font: 12px system-ui, "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #1f2328; }
.name { font-weight: 600; font-size: 13px; }
.dim { fill: #57606a; }
.word { fill: #ffffff; font-size: 11px; font-weight: 600; }
.box { fill: #ffffff; stroke-width: 1.5; }
.edge { fill: none; stroke: #7a8594; stroke-width: 1.5; }
.tip { fill: #7a8594; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .dim { fill: #9da7b3; }
  .word { fill: #ffffff; }
  .box { fill: #161b22; }
}"""


@dataclass(eq=False)
class _Item:
    """An item of a column: a box, or (without a node) an edge that passes through."""

    column: int
    node: Node | None = None
    inputs: list[Edge] = field(default_factory=list)
    left: list[_Item] = field(default_factory=list)
    right: list[_Item] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    order: float = 0.0

    @property
    def height(self) -> float:
        """Return the height of the box; an edge that passes through needs some space, too."""
        if self.node is None:
            return 6.0
        rows = 2 + bool(self.node.summary) + len(self.inputs)
        return rows * _LINE + _PAD + (8.0 if self.inputs else 0.0)

    @property
    def middle(self) -> float:
        """The position where edges leave, from the top of the drawing."""
        return self.y + self.height / 2

    def port(self, edge: Edge) -> float:
        """Return where an edge arrives: at its own line of the box."""
        return self.y + self.height - _PAD / 2 - (len(self.inputs) - self.inputs.index(edge) - 0.5) * _LINE


def as_svg(dag: Dag, link: Callable[[Node], str] | None = None) -> str:
    """Return the drawing as a whole SVG document; with links, as a part of a page that has the styles (`STYLE`).

    Args:
        dag: The graph.
        link: The address that a box leads to, or "".
    """
    columns, routes = _arrange(dag)
    _place(columns)
    items = [item for column in columns for item in column]
    width = max((i.x + i.width for i in items), default=0.0) + _MARGIN
    height = max((i.y + i.height for i in items), default=0.0) + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="{"group" if link else "img"}" aria-label="{xml(_summary(dag))}"'
        + (' class="dag">' if link else ">"),
        *([] if link else [f"<style>{STYLE}\n</style>"]),
        *(_edge(edge, route) for edge, route in routes),
        *(line for item in items if item.node for line in _linked(item, item.node, link)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _summary(dag: Dag) -> str:
    return "; ".join(f"{n.name}: {n.state}" + (f", {n.summary}" if n.summary else "") for n in dag.nodes)


def _arrange(dag: Dag) -> tuple[list[list[_Item]], list[tuple[Edge, list[_Item]]]]:
    """Return columns in the order of their rows, and for each edge the items that it passes."""
    boxes = {n.path: _Item(n.depth, n, [e for e in dag.edges if e.target == n.path]) for n in dag.nodes}
    columns: list[list[_Item]] = [[] for _ in range(max((n.depth for n in dag.nodes), default=-1) + 1)]
    for box in boxes.values():
        columns[box.column].append(box)
    routes = []
    passing: dict[tuple[str, int], _Item] = {}  # edges from one box share their way until they part
    for edge in dag.edges:
        route = [boxes[edge.source]]
        for column in range(route[0].column + 1, boxes[edge.target].column):
            if (edge.source, column) not in passing:
                passing[edge.source, column] = _Item(column)
                columns[column].append(passing[edge.source, column])
                _join(route[-1], passing[edge.source, column])
            route.append(passing[edge.source, column])
        route.append(boxes[edge.target])
        _join(route[-2], route[-1])
        routes.append((edge, route))
    _untangle(columns)
    return columns, routes


def _join(left: _Item, right: _Item) -> None:
    left.right.append(right)
    right.left.append(left)


def _untangle(columns: list[list[_Item]]) -> None:
    """Make crossings few: each item goes to the mean row of its neighbours, from the left and the right in turn."""
    for column in columns:
        _number(column)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for column in columns if forward else columns[::-1]:
            for item in column:
                near = item.left if forward else item.right
                item.order = sum(n.order for n in near) / len(near) if near else item.order
            column.sort(key=lambda i: i.order)
            _number(column)


def _number(column: Sequence[_Item]) -> None:
    for i, item in enumerate(column):
        item.order = (i + 0.5) / len(column)


def _place(columns: list[list[_Item]]) -> None:
    """Give each item its coordinates: near its neighbours, in order, never over one another."""
    x = _MARGIN
    for column in columns:
        width = max((_width(i) for i in column), default=0.0)
        for item in column:
            item.x, item.width = x, width
        x += width + _COLUMN_GAP
        _stack(column, [0.0] * len(column))
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else columns[::-1]:
            wanted = []
            for item in column:
                near = item.left + item.right
                mean = sum(n.middle for n in near) / len(near) if near else item.middle
                wanted.append(mean - item.height / 2)
            _stack(column, wanted)
    top = min((i.y for column in columns for i in column), default=0.0)
    for column in columns:
        for item in column:
            item.y += _MARGIN - top


def _stack(column: list[_Item], wanted: list[float]) -> None:
    """Put a column as near to the wanted tops as its order allows: what would overlap is moved as one group."""
    groups: list[tuple[float, float, int]] = []  # (top, height with the gap below, items)
    for item, top in zip(column, wanted, strict=True):
        group = (top, item.height + _ROW_GAP, 1)
        while groups and groups[-1][0] + groups[-1][1] > group[0]:
            before = groups.pop()
            count = before[2] + group[2]
            middle = (before[0] * before[2] + (group[0] - before[1]) * group[2]) / count
            group = (middle, before[1] + group[1], count)
        groups.append(group)
    rest = iter(column)
    for top, _, count in groups:
        y = top
        for _ in range(count):
            item = next(rest)
            item.y = y
            y += item.height + _ROW_GAP


def _width(item: _Item) -> float:
    if item.node is None:
        return 0.0
    texts = [_cut(item.node.summary), *(_port_text(e) for e in item.inputs)]
    longest = max(_cells(t) for t in texts)
    return max(longest * _CHARACTER, _cells(_cut(item.node.name)) * _BOLD, _pill(item.node)) + 2 * _PAD


def _pill(node: Node) -> float:
    return len(node.state) * 7.4 + 14


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, most: int = _MOST) -> str:
    """Return text that fits; what is cut off is in the tooltip."""
    text = printable(text)
    if _cells(text) <= most:
        return text
    while _cells(text) > most - 1:
        text = text[:-1]
    return text + "…"


def _port_text(edge: Edge) -> str:
    source = _cut(edge.source, max(_MOST // 2, _MOST - 1 - _cells(printable(edge.label))))
    return f"{source} {_cut(edge.label, _MOST - 1 - _cells(source))}"


def _edge(edge: Edge, route: list[_Item]) -> str:
    """Return a smooth line from box to box; it runs level through the columns that it passes."""
    start, end = route[0], route[-1]
    x, y = start.x + start.width, start.middle
    path = f"M{x:.1f} {y:.1f}"
    for item in route[1:]:
        to_y = item.port(edge) if item is end else item.middle
        to_x = item.x - (7 if item is end else 0)
        bend = (to_x - x) / 2
        path += f" C{x + bend:.1f} {y:.1f} {to_x - bend:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
        if item is not end:
            path += f" H{item.x + item.width:.1f}"
        x, y = item.x + item.width, to_y
    tip_y = end.port(edge)
    tip = f"M{end.x:.1f} {tip_y:.1f} l-8 -4 v8 z"
    title = xml(f"{edge.source} → {edge.target}: {edge.label}")
    return f'<g><title>{title}</title><path class="edge" d="{path}"/><path class="tip" d="{tip}"/></g>'


def _linked(item: _Item, node: Node, link: Callable[[Node], str] | None) -> Iterator[str]:
    address = link(node) if link else ""
    if not address:
        yield from _box(item, node)
        return
    label = f"{node.name}: {node.state}" + (f", {node.summary}" if node.summary else "")
    yield f'<a href="{xml(address)}" aria-label="{xml(label)}">'
    yield from _box(item, node)
    yield "</a>"


def _box(item: _Item, node: Node) -> Iterator[str]:
    colour = COLOURS[node.state]
    round_ = 12 if node.kind == "repo" else 4
    yield f'<g transform="translate({item.x:.1f} {item.y:.1f})"><title>{xml(node.path)}</title>'
    size = f'width="{item.width:.1f}" height="{item.height:.1f}"'
    yield f'<rect class="box" {size} rx="{round_}" stroke="{colour}"/>'
    y = _PAD / 2 + 13
    yield f'<text class="name" x="{_PAD}" y="{y}">{xml(_cut(node.name))}</text>'
    y += _LINE
    pill = _pill(node)
    yield f'<rect x="{_PAD}" y="{y - 12}" width="{pill:.1f}" height="16" rx="8" fill="{colour}"/>'
    yield f'<text class="word" x="{_PAD + pill / 2:.1f}" y="{y - 0.5}" text-anchor="middle">{node.state}</text>'
    if node.summary:
        y += _LINE
        yield f'<text x="{_PAD}" y="{y}">{xml(_cut(node.summary))}</text>'
    for edge in item.inputs:
        at = item.port(edge) - item.y + 4
        whole, short = xml(f"{edge.source} {edge.label}"), xml(_port_text(edge))
        yield f'<text class="dim" x="{_PAD}" y="{at:.1f}"><title>{whole}</title>{short}</text>'
    yield "</g>"
