"""Reuse with proof: when one datum's result may stand, renamed, for another of the same content. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from minipach.identity import split_name, suffix

SEARCH_LIMIT = 64 * 1024 * 1024  # bytes of one output; a larger one is taken to hold the name


def tokens(name: str, *, is_file: bool) -> tuple[str, ...]:
    """The parts of a datum's name that could leak into a result: `sub-1/a.nii.gz` gives `sub-1`, `a`."""
    if is_file:
        name = name[: len(name) - len(suffix(name))] or name
    return split_name(name)


def find_leaks(words: Iterable[str], files: Iterable[tuple[str, int, Callable[[], bytes | None]]]) -> dict[str, str]:
    """Which of the words occur in the bytes of which output (the first found).

    files: (path, size in bytes, reader); a reader gives None where the content can't be read. A file over
    SEARCH_LIMIT, or one that can't be read, counts as holding every word.
    """
    found: dict[str, str] = {}
    wanted = {word: word.encode("utf-8", "surrogateescape") for word in words}
    for path, size, read in files:
        data = read() if size <= SEARCH_LIMIT else None
        for word, raw in wanted.items():
            if word not in found and (data is None or raw in data):
                found[word] = path
    return found


@dataclass(frozen=True, slots=True)
class Renaming:
    """How a result's paths change for its copy: old word to new word, or why there can be no copy."""

    words: tuple[tuple[str, str], ...] = ()
    refusal: str = ""

    def apply(self, path: str) -> str:
        """The copy's path for one of the original's."""
        if not self.words:
            return path
        table = dict(self.words)
        return _whole_words(table).sub(lambda m: table[m[0]], path)


NO_RENAMING = Renaming()


def renaming(old: tuple[str, ...], new: tuple[str, ...], leaks: Mapping[str, str], paths: Iterable[str]) -> Renaming:
    """Whether outputs at `paths` (in the repo) of a datum with the words `old` can stand for one with `new`.

    Provably clean means: every path carries, as a whole word, a part of the name that differs; no part that differs
    occurs in any output's bytes; and no two paths become one.
    """
    if len(old) != len(new) or old == new:
        return Renaming(refusal=f'the names "{"/".join(old)}" and "{"/".join(new)}" are built differently')
    changed = {a: b for a, b in zip(old, new, strict=True) if a != b}
    for word in changed:
        if word in leaks:
            return Renaming(refusal=f'"{word}" occurs in {leaks[word]}')
    if any(changed.get(a, a) != b for a, b in zip(old, new, strict=True)):
        return Renaming(refusal="one word of the name would have to become two different ones")
    pattern = _whole_words(changed)
    found = Renaming(tuple(sorted(changed.items())))
    places: dict[str, str] = {}
    for path in paths:
        if not pattern.search(path):
            return Renaming(refusal=f"{path} does not carry the datum's name")
        parts = path.split("/")
        for place in ("/".join(parts[: n + 1]) for n in range(len(parts))):
            if places.setdefault(found.apply(place), place) != place:
                return Renaming(refusal=f"{path} would get the name of another output")
    return found


def _whole_words(words: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    inner = "|".join(re.escape(w) for w in longest_first)
    return re.compile(rf"(?<![^\W_])(?:{inner})(?![^\W_])")
