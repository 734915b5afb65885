"""Tables for people, in one style: a row of titles, then a line per row.

On a terminal that is too narrow for it, long cells are folded between words. Where that does not suffice, each row
becomes a list with a line per field. No word is cut, so that each name can be copied.
"""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence

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
_SHORT = 20  # columns; what is not wider is not folded
_LEAST, _LEAST_LAST = 14, 10  # columns; a folded column, and the last one, are not narrower
_BRANCH = "│├└─ "  # what a name in a tree begins with


def state(word: str, text: str | None = None) -> str:
    """Return a word that says how something stands in its colour, where stdout shows colours.

    Args:
        word: The state.
        text: The text that is shown instead of the word.
    """
    shown = word if text is None else text
    return paint(shown, STATES[word]) if word in STATES else shown


def show_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "", tree: bool = False) -> None:
    """Print a table on stdout; nothing if it has no rows.

    Args:
        titles: The titles of the columns, in capitals.
        rows: The cells, one for each title.
        right: The titles of the columns that are aligned to the right, in one text.
        tree: Whether the first cells draw a tree.
    """
    for line in table_lines(titles, rows, right=right, tree=tree):
        show(line)


def columns_left(taken: int, least: int, most: int) -> int:
    """Return how many columns a drawing may have beside `taken` ones: on a terminal what fits, elsewhere `most`."""
    return max(least, min(most, _columns() - taken)) if can_redraw(sys.stdout) else most


def table_lines(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: str = "",
    fold: bool = True,
    tree: bool = False,
) -> Iterator[str]:
    """Yield the lines of a table as `show_table` prints them. fold: whether to fold one that is too wide."""
    if not rows:
        return
    titles = list(titles)
    cells = [[printable(cell) for cell in row] for row in (titles, *rows)]
    widths = _natural(cells)
    to_right = [title in right.split() for title in titles]
    if not fold or not can_redraw(sys.stdout) or _total(widths) <= _columns():
        for row in cells:
            yield from _line(titles, row, widths, to_right)
    elif tree and _total([*widths[:-1], _LEAST_LAST]) <= _columns():  # the terminal wraps the last cells
        for row in cells:
            yield from _line(titles, row, [*widths[:-1], 0], to_right)
    elif tree:
        yield from _as_tree(titles, cells[1:])
    elif fitted := _fitted(cells, to_right):
        for row in cells:
            yield from _line(titles, row, fitted, to_right)
    else:
        yield from _as_list(titles, cells[1:])


class GrowingTable:
    """A table whose rows are shown as they come. The cells of the other columns but the last are known before."""

    def __init__(self, titles: Sequence[str], known: Sequence[Sequence[str]]) -> None:
        """Take the titles, and all rows that may come, each without its last cell."""
        self._titles = list(titles)
        self._widths = [*_natural([[printable(cell) for cell in row] for row in (titles[:-1], *known)]), 0]
        self._is_list = False
        if can_redraw(sys.stdout):
            self._widths[-1] = _columns() - _total(self._widths)
            self._is_list = self._widths[-1] < _SHORT
        self._is_empty = True

    def add(self, row: Sequence[str]) -> None:
        """Print a row on stdout; before the first one, the titles."""
        cells = [printable(cell) for cell in row]
        if self._is_list:
            lines = [*([] if self._is_empty else [""]), *_as_list(self._titles, [cells])]
        else:
            aligned = [False] * len(self._titles)
            shown = ([self._titles] if self._is_empty else []) + [cells]
            lines = [line for one in shown for line in _line(self._titles, one, self._widths, aligned)]
        for line in lines:
            show(line)
        self._is_empty = False


def _columns() -> int:
    """Return how many columns the terminal has."""
    return shutil.get_terminal_size().columns


def _natural(cells: Sequence[Sequence[str]]) -> list[int]:
    """Return how wide each column is if nothing is folded."""
    return [max(map(_width, column)) for column in zip(*cells, strict=True)]


def _total(widths: Sequence[int]) -> int:
    """Return how wide a table is with columns of these widths."""
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _fitted(cells: Sequence[Sequence[str]], to_right: Sequence[bool]) -> list[int] | None:
    """Return widths with which a table fits the terminal, its long cells folded between words. None: it does not.

    If need be, the longest of the first cells have a line of their own. A long word of the last column may pass the
    edge: the terminal wraps it.
    """
    natural = _natural(cells)
    least = []
    for number, column in enumerate(zip(*cells, strict=True)):
        word = max(_width(word) for cell in column for word in cell.split(" "))
        if to_right[number] or (natural[number] <= _SHORT and number < len(natural) - 1):
            least.append(natural[number])
        elif number == len(natural) - 1:
            least.append(min(natural[number], _LEAST_LAST))
        else:
            least.append(min(natural[number], max(word, _LEAST)))
    left = _columns() - _total(least)
    if left < 0 and len(natural) > 1:
        firsts = [_width(row[0]) for row in cells]
        natural[0] = least[0] = max(width for width in firsts if width <= max(_SHORT, firsts[0]))
        left = _columns() - _total(least)
    if left < 0:
        return None
    while left > 0 and (narrow := [n for n, width in enumerate(least) if width < natural[n]]):
        for number in narrow[:left]:
            least[number] += 1
        left -= min(left, len(narrow))
    return least


def _line(titles: Sequence[str], cells: Sequence[str], widths: Sequence[int], to_right: Sequence[bool]) -> list[str]:
    """Return the lines of a row, one if none of its cells is folded; the titles themselves are bold."""
    is_title = cells == titles
    last = len(cells) - 1
    folded = [
        [cell] if _width(cell) <= width or not width or number == 0 < last else _words(cell, width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    lines = []
    if last and _width(cells[0]) > widths[0]:  # a line of its own
        lines.append(cells[0])
        folded[0] = [""]
    for level in range(max(map(len, folded))):
        parts = []
        for title, column, width, is_right in zip(titles, folded, widths, to_right, strict=True):
            cell = column[level] if level < len(column) else ""
            space = " " * (width - _width(cell))
            shown = paint(cell, _BOLD) if is_title and cell else _coloured(title, cell)
            parts.append(space + shown if is_right else shown + space)
        lines.append(_GAP.join(parts).rstrip())
    return lines


def _coloured(title: str, cell: str) -> str:
    """Return a cell in the colour of its state."""
    return state(cell) if title in _COLOURED and colours(sys.stdout) else cell


def _words(text: str, width: int) -> list[str]:
    """Return a text in lines of a width, folded between words. A longer word has a line of its own."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and _width(lines[-1]) + 1 + _width(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _as_list(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield each row as a list of its fields, less the empty ones, and an empty line between rows."""
    wide = max(map(_width, titles))
    space = _columns() - wide - len(_GAP)
    for number, row in enumerate(rows):
        if number:
            yield ""
        for title, cell in zip(titles, row, strict=True):
            if not cell:
                continue
            first, *more = _words(cell, space) if _width(cell) > space else [cell]
            yield f"{paint(title, _BOLD)}{' ' * (wide - _width(title))}{_GAP}{_coloured(title, first)}"
            yield from (" " * (wide + len(_GAP)) + line for line in more)


def _as_tree(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a tree: a line with name and state of each row, and below it a line for each other field that it has."""
    for name, word, *others in rows:
        branch = name[: len(name) - len(name.lstrip(_BRANCH))]
        below = branch.replace("├", "│").replace("└", " ").replace("─", " ")
        yield f"{name}{_GAP}{_coloured(titles[1], word)}"
        for title, cell in zip(titles[2:], others, strict=True):
            if cell not in ("", "-"):
                yield f"{below}{_GAP}{title}{_GAP}{cell}"


def _width(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
