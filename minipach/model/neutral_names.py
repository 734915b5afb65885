"""Neutral names: what a command sees in place of the words that name its datum (`identity: content`). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from minipach.model.datum import Datum, Match
from minipach.model.snapshot import Snapshot

COMPRESSIONS = frozenset({".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z"})
Snapshots = Mapping[tuple[str, str | None], Snapshot]
_TOKEN = "datum"
_SPLIT = re.compile(r"[/~]")
_TOKENS = re.compile(rf"(?<![^\W_]){_TOKEN}([1-9][0-9]*)?(?![^\W_])")


class Neutral(NamedTuple):
    """The words of a datum's name that the command does not see; none, with the reason, where they stay visible."""

    words: tuple[str, ...] = ()
    visible: str = ""


def tokens(count: int) -> tuple[str, ...]:
    """Return the neutral words for so many: `datum`, or `datum1`, `datum2` and so on."""
    return (
        () if count == 0 else (_TOKEN,) if count == 1 else tuple(f"{_TOKEN}{number}" for number in range(1, count + 1))
    )


def hide(text: str, words: Sequence[str]) -> str:
    """Replace each whole word by its token; of words that overlap, the longer one is replaced.

    A whole word has neither a letter nor a digit next to it. The launcher does the same to the paths below /pfs.
    """
    return "".join(piece for piece, _ in _pieces(text, words)) if words else text


def restore(text: str, words: Sequence[str]) -> str:
    """Replace each token, as a whole word, by its word."""
    if not words or _TOKEN not in text:
        return text
    table = dict(zip(tokens(len(words)), words, strict=True))
    return _TOKENS.sub(lambda found: table.get(found[0], found[0]), text)


def neutral(datum: Datum, snapshots: Snapshots) -> Neutral:
    """Return the words of a datum's name that can be hidden with certainty.

    They can't be where the name has no word, a word without a letter or digit, or one word twice; where a word also
    stands in another position (`1` in `1/page-1.png`: not after the same text within its part of the path); or where
    a token is in the paths already.
    """
    words = _words(datum, snapshots)
    if not words:
        return Neutral((), "it has no name to hide")
    for index, word in enumerate(words):
        if not any(map(str.isalnum, word)):
            return Neutral((), f'"{word}" in its name has no letter or digit')
        if word in words[:index]:
            return Neutral((), f'"{word}" is in its name twice')
    reason = _uncertain(datum, snapshots, words)
    return Neutral((), reason) if reason else Neutral(words)


def part_shown(values: Mapping[str, str], words: Sequence[str]) -> str:
    """Return the placeholder that shows the command a part of a hidden word, as `{1}` may: a reason; "" if none does.

    values: of the placeholders, as the command sees them.
    """
    for field, value in values.items():
        if value not in tokens(len(words)) and any(map(str.isalnum, value)) and any(value in word for word in words):
            return f'{{{field}}} is "{value}", a part of its name'
    return ""


def suffix(path: str) -> str:
    """Return a file name's suffix, and the one before it if the last is a compression's.

    `.nii.gz`, "" of `.profile`.
    """
    name = path[path.rfind("/") + 1 :].lstrip(".")
    at = name.rfind(".")
    if at > 0 and name[at:] in COMPRESSIONS:
        inner = name.rfind(".", 0, at)
        at = inner if inner > 0 else at
    return name[at:] if at > 0 else ""


def _words(datum: Datum, snapshots: Snapshots) -> tuple[str, ...]:
    """Return the parts of a datum's name, split at `/` and `~`; a matched file's suffix is no part of it."""
    files = [m.path[1:] for m in datum.matches if snapshots[m.repo, m.branch].is_file(m.path)]
    if datum.key is None:
        labels = [m.path[1:] for m in datum.matches]
        joined = "~".join(label or "/" for label in labels)
        if datum.name == joined or datum.name.startswith(joined + "~"):  # not the names of joins that were crossed
            stems = [label.removesuffix(suffix(label)) if label in files else label for label in labels]
            return tuple(word for stem in stems for word in _SPLIT.split(stem) if word)
    ends = {file.rpartition("/")[2] for file in files}
    parts = [part for part in _SPLIT.split(datum.name if datum.key is None else datum.key) if part]
    return tuple(part.removesuffix(suffix(part)) if part in ends else part for part in parts)


def _uncertain(datum: Datum, snapshots: Snapshots, words: tuple[str, ...]) -> str:
    """Return why these words can't be hidden with certainty; "" if they can."""
    places: dict[int, str] = {}
    names = set(tokens(len(words)))
    for text in (*(m.input for m in datum.matches), datum.name, *_keys(datum)):
        if token := _token_in(text, names):
            return f'"{token}" is in {text} already'
    for match in datum.matches:
        for path in _paths(match, snapshots):
            if token := _token_in(path, names):
                return f'"{token}" is in {path} already'
            part = ""
            for piece, word in _pieces(path, words):
                if word >= 0 and places.setdefault(word, part) != part:
                    return f'"{words[word]}" is in {path}, and elsewhere, in more than one position'
                part = (part + piece).rpartition("/")[2]
    return ""


def _paths(match: Match, snapshots: Snapshots) -> Iterator[str]:
    files = snapshots[match.repo, match.branch]
    path = match.path[1:]
    if path in files.files:
        yield path
    else:
        yield from (found for found, _ in files.below(match.path))


def _keys(datum: Datum) -> Iterator[str]:
    for match in datum.matches:
        if match.join_on:
            yield match.join_on
        if match.group_by:
            yield match.group_by


def _token_in(text: str, names: set[str]) -> str:
    if _TOKEN not in text:
        return ""
    return next((found[0] for found in _TOKENS.finditer(text) if found[0] in names), "")


def _pieces(text: str, words: Sequence[str]) -> list[tuple[str, int]]:
    """Return the text in pieces: (what stands there, -1), and for each whole word (its token, its index).

    From left to right, and of two words that begin at one place the longer one.
    """
    found: list[tuple[str, int]] = []
    begin = 0
    starts = [_next(text, word, 0) for word in words]
    while (first := min((at for at in starts if at >= 0), default=-1)) >= 0:
        index = max((i for i, at in enumerate(starts) if at == first), key=lambda i: len(words[i]))
        found += [(text[begin:first], -1), (tokens(len(words))[index], index)]
        begin = first + len(words[index])
        starts = [at if at < 0 or at >= begin else _next(text, words[i], begin) for i, at in enumerate(starts)]
    return [*found, (text[begin:], -1)]


def _next(text: str, word: str, begin: int) -> int:
    """Return where a word stands next as a whole one; -1 if it doesn't."""
    at = text.find(word, begin)
    while at >= 0:
        end = at + len(word)
        if not text[max(0, at - 1) : at].isalnum() and not text[end : end + 1].isalnum():
            return at
        at = text.find(word, at + 1)
    return -1
