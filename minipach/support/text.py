"""Numbers with their nouns, as people write them, and paths, as a shell reads them."""

from __future__ import annotations

import difflib
import heapq
import os
import shlex
from collections.abc import Iterable
from itertools import takewhile


def many(number: float, noun: str, plural: str = "") -> str:
    """`1 datum`, `2 datums`, `0.5 CPUs`. plural: where it isn't the noun with an s."""
    shown = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{shown} {noun if number == 1 else plural or noun + 's'}"


def quoted(path: str | os.PathLike[str]) -> str:
    """A path in a command that people copy: one word to the shell, also with a space in it."""
    return shlex.quote(os.fspath(path))


_NAMED = 8  # at most so many names in a line


_COMPARED = 2000  # at most so many words are compared with one


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` for the nearest known word, or the list of what there is."""
    names = sorted(known)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    there = f"; there are: {', '.join(names[:_NAMED])}{more}" if names else "; there are none yet"
    return nearest(word, names) or there


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` for the nearest known word, or nothing."""
    words = list(known)
    ends = [other for other in words if other.endswith(f"/{word}")]
    if len(ends) == 1:  # the last part alone: of a path, that is what people remember
        return f'; did you mean "{ends[0]}"?'
    if len(words) > _COMPARED:  # to compare a word takes 50 µs: of very many, those that begin alike
        words = heapq.nlargest(_COMPARED, words, key=lambda other: _alike(word, other))
    near = difflib.get_close_matches(word, words, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _alike(one: str, other: str) -> int:
    """With how many equal characters two words begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def near_id(start: str, ids: Iterable[str]) -> str:
    """The same for the beginning of an id."""
    length = max(len(start), 8)
    return nearest(start, {ident[:length] for ident in ids})


def short(content: str) -> str:
    """A content id for people: `sha256 1a2b3c4d…`."""
    kind, _, value = content.replace("--", ":", 1).partition(":")
    return f"{kind.lower()} {value[:8]}…" if value else content
