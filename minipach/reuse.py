"""Reuse with proof: when one datum's result may stand, renamed, for another of the same content. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from minipach.identity import split_name, suffix

_DISTINCTIVE = 3  # letters and digits
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
    occurs in any output's bytes; it is certain which words of a path are the name's; and no two paths become one.
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
    for a, b in zip(old, new, strict=True):
        inner = next((word for word in changed if word != a and _holds(a, word)), None)
        if inner is not None and _whole_words([inner]).sub(lambda m: changed[m[0]], a) != b:
            return Renaming(refusal=f'"{inner}" is in "{a}" in the name, too, and does not change there alike')
    fresh = set(changed.values()) - set(old)
    places: dict[str, str] = {}
    for path in paths:
        words = pattern.findall(path)
        if not words:
            return Renaming(refusal=f"{path} does not carry the datum's name")
        if twice := next((w for w in words if words.count(w) > 1 and not _is_distinctive(w)), None):
            return Renaming(refusal=f'"{twice}" is in {path} more than once, maybe not for the name')
        if there := next((word for word in fresh if _holds(path, word)), None):
            return Renaming(refusal=f'"{there}" is in {path} already')
        parts = path.split("/")
        for place in ("/".join(parts[: n + 1]) for n in range(len(parts))):
            if places.setdefault(found.apply(place), place) != place:
                return Renaming(refusal=f"{path} would get the name of another output")
    return found


def _is_distinctive(word: str) -> bool:
    """Whether nobody writes the word but for the name: not so a number, or a letter or two."""
    return sum(c.isalnum() for c in word) >= _DISTINCTIVE and any(c.isalpha() for c in word)


def _holds(text: str, word: str) -> bool:
    return word in text and _whole_words([word]).search(text) is not None


def _whole_words(words: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    inner = "|".join(re.escape(w) for w in longest_first)
    return re.compile(rf"(?<![^\W_])(?:{inner})(?![^\W_])")
