"""Tables for people, in one style: a row of titles, then a line per row; on a narrow terminal long cells are folded."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from minipach.cli.common import can_redraw, colours, paint, show
from minipach.support.text import printable

_GREEN, _CYAN, _YELLOW, _RED, _DIM, _BOLD = "32", "36", "33", "31", "2", "1"

# The colour of each word that says how something stands, in every command.
STATES = {
    **dict.fromkeys(("current", "published", "ok", "reproducible", "serving", "service"), _GREEN),
    **dict.fromkeys(("running", "submitted", "reuse", "new", "added", "starting", "updating"), _CYAN),
    **dict.fromkeys(
        ("behind", "partial", "interrupted", "cancelled", "lost", "recovered", "waiting", "note", "run", "changed"),
        _YELLOW,
    ),
    **dict.fromkeys(("failed", "error", "problem", "different", "remove", "removed", "skip", "crashed"), _RED),
    **dict.fromkeys(("blocked", "unknown", "stored", "renamed", "same"), _DIM),
}
_COLOURED = frozenset({"STATE", "LEVEL", "ACTION", "CHANGE"})  # columns that hold such a word
_GAP = "  "
_SHORT = 20  # columns; what is not wider is folded last


def state(word: str, text: str | None = None) -> str:
    """Return a word that says how something stands in its colour, where stdout shows colours.

    Args:
        word: The state.
        text: The text that is shown instead of the word.
    """
    shown = word if text is None else text
    return paint(shown, STATES[word]) if word in STATES else shown


def show_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> None:
    """Print a table on stdout; nothing if it has no rows.

    Args:
        titles: The titles of the columns, in capitals.
        rows: The cells, one for each title.
        right: The titles of the columns that are aligned to the right, in one text.
    """
    for line in table_lines(titles, rows, right=right):
        show(line)


def table_lines(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "", fold: bool = True
) -> Iterator[str]:
    """Yield the lines of a table as `show_table` prints them. fold: whether to fold one that is too wide."""
    if not rows:
        return
    titles = list(titles)
    cells = [[printable(cell) for cell in row] for row in (titles, *rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(titles))]
    to_right = [title in right.split() for title in titles]
    columns = shutil.get_terminal_size().columns
    if fold and can_redraw(sys.stdout) and sum(widths) + len(_GAP) * (len(widths) - 1) > columns:
        yield from _folded(cells, to_right, columns)
        return
    for row in cells:
        yield _line(titles, row, widths, to_right)


class GrowingTable:
    """A table whose rows are shown as they come. The cells of the other columns but the last are known before."""

    def __init__(self, titles: Sequence[str], known: Sequence[Sequence[str]]) -> None:
        """Take the titles, and all rows that may come, each without its last cell."""
        self._titles = titles
        columns = zip(*((printable(cell) for cell in row) for row in (titles[:-1], *known)), strict=True)
        self._widths = [*(max(map(_width, column)) for column in columns), 0]
        self._is_empty = True

    def add(self, row: Sequence[str]) -> None:
        """Print a row on stdout; before the first one, the titles."""
        for cells in ([self._titles] if self._is_empty else []) + [[printable(cell) for cell in row]]:
            show(_line(self._titles, cells, self._widths, [False] * len(self._titles)))
        self._is_empty = False


def _line(titles: Sequence[str], cells: Sequence[str], widths: Sequence[int], to_right: Sequence[bool]) -> str:
    """Return a row as a line; the titles themselves are bold."""
    parts = []
    is_title, is_coloured = cells == titles, colours(sys.stdout)
    for title, cell, width, is_right in zip(titles, cells, widths, to_right, strict=True):
        space = " " * (width - _width(cell))
        shown = cell
        if is_coloured:
            shown = paint(cell, _BOLD) if is_title else state(cell) if title in _COLOURED else cell
        parts.append(space + shown if is_right else shown + space)
    return _GAP.join(parts).rstrip()


def _folded(cells: Sequence[Sequence[str]], to_right: Sequence[bool], columns: int) -> Iterator[str]:
    """Yield the lines of a table that is wider than the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="bold")
    for number, is_right in enumerate(to_right):
        short = max(_width(row[number]) for row in cells) <= _SHORT and number < len(to_right) - 1
        justify: Any = "right" if is_right else "left"
        table.add_column(Text(cells[0][number]), justify=justify, overflow="fold", no_wrap=short)
    styles = {_GREEN: "green", _CYAN: "cyan", _YELLOW: "yellow", _RED: "red", _DIM: "dim"}
    for row in cells[1:]:
        table.add_row(
            *(
                Text(cell, styles[STATES[cell]] if title in _COLOURED and cell in STATES else "")
                for title, cell in zip(cells[0], row, strict=True)
            )
        )
    system: Any = "standard" if colours(sys.stdout) else None
    console = Console(width=columns, color_system=system, force_terminal=True, highlight=False, legacy_windows=False)
    with console.capture() as captured:
        console.print(table)
    yield from (line.rstrip() for line in captured.get().splitlines())


def _width(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
