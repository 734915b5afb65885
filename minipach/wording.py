"""Numbers with their nouns, as people write them."""

from __future__ import annotations


def many(number: float, noun: str, plural: str = "") -> str:
    """`1 datum`, `2 datums`, `0.5 CPUs`. plural: where it isn't the noun with an s."""
    shown = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{shown} {noun if number == 1 else plural or noun + 's'}"
