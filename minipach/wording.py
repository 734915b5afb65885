"""Numbers with their nouns, as people write them."""

from __future__ import annotations


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 datum`, `2 datums`. plural: where it isn't the noun with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
