"""The heat strip of datums: a letter for each, which the page draws; an SVG without JavaScript. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minipach.views.datum_table import STATES, DatumRow, DatumTable

CELLS = 1500  # of the SVG; each stands for as many datums as there have to be
_LETTERS = {state: "abcdefghijklmnop"[number] for number, state in enumerate(STATES)}


def legend() -> dict[str, str]:
    """Return the state of each letter."""
    return {letter: state for state, letter in _LETTERS.items()}


def letters(table: DatumTable, state: str, text: str) -> str:
    """Return a letter for each datum, a capital one for what a filter leaves out."""
    if not state and not text:
        return "".join(_LETTERS[row.state] for row in table.rows)
    return "".join(
        _LETTERS[row.state] if row.is_selected(state, text) else _LETTERS[row.state].upper() for row in table.rows
    )


def cells(rows: Sequence[DatumRow]) -> dict[str, Any]:
    """Return a strip as SVG paths by state; a cell has the first state, by STATES, of its datums."""
    if not rows:
        return {}
    each = -(-len(rows) // CELLS)
    states = [
        min((row.state for row in rows[start : start + each]), key=STATES.index) for start in range(0, len(rows), each)
    ]
    wide = min(len(states), 100)
    paths: dict[str, list[str]] = {}
    for number, state in enumerate(states):
        paths.setdefault(state, []).append(f"M{number % wide * 8} {number // wide * 10}h7v9h-7z")
    high = -(-len(states) // wide) * 10
    return {"each": each, "wide": wide * 8, "high": high, "paths": {s: "".join(p) for s, p in paths.items()}}
