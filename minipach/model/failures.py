"""Failures of datums: which of them are alike, which would only repeat, and when a job gives up. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minipach.model.launch_protocol import NOT_FOUND, NOT_KEPT
from minipach.model.states import FAILED

if TYPE_CHECKING:
    from minipach.model.job_entries import Attempt

FINAL = frozenset({NOT_KEPT, NOT_FOUND})  # exit codes that another try ends with, too
GIVE_UP_AFTER = 5  # so many datums at a job's beginning, if they all fail in the same way
LEFT_AFTER = 2  # jobs in which a datum failed with the same content, code and image
_CODES = ("exited with ", "exit code ")  # a number after these is no name


@dataclass(frozen=True, slots=True)
class FailureKind:
    """The way in which a datum failed, without its own names: equal ways are the same failure for people."""

    kind: str
    exit: int
    message: str


def failure_kind(end: Attempt) -> FailureKind:
    """Return how a datum failed."""
    return FailureKind(end.kind, end.result.exit, without_name(end.message, end.datum))


def without_name(text: str, name: str) -> str:
    """Return a text with the datum's name, and the words of its last part, taken out.

    An exit code is none of them: what ends with 1 has failed in the same way if the datum is called 1.
    """
    base = name.rpartition("/")[2]
    stem = base.partition(".")[0]
    for word in sorted({name, base, stem} - {"", "/"}, key=len, reverse=True):
        text = _without(text, word)
    return text


def _without(text: str, word: str) -> str:
    """Return a text with `*` for a word, where it is no part of another and no exit code.

    A regular expression for each of 100,000 names takes many seconds to make.
    """
    found, at = [], 0
    while (begin := text.find(word, at)) >= 0:
        end = begin + len(word)
        is_part = text[begin - 1 : begin].isalnum() or text[end : end + 1].isalnum()
        if is_part or text.endswith(_CODES, 0, begin):
            found.append(text[at : begin + 1])
            at = begin + 1
        else:
            found += [text[at:begin], "*"]
            at = end
    return "".join([*found, text[at:]]) if found else text


@dataclass
class Beginning:
    """The first datums of a job, to see whether they all fail in the same way.

    limit: so many must fail before it is hopeless (0: it never is).
    """

    limit: int
    _kinds: set[FailureKind] = field(default_factory=set)
    _count: int = 0
    _open: bool = True

    def note(self, end: Attempt) -> None:
        """Count a datum that has ended."""
        if end.kind not in FAILED:
            self._open = False
        elif self._open:
            self._kinds.add(failure_kind(end))
            self._count += 1

    @property
    def is_hopeless(self) -> bool:
        """Whether all of them failed in the same way, and they are many enough."""
        return self._open and 0 < self.limit <= self._count and len(self._kinds) == 1


def named(names: Collection[str], most: int) -> str:
    """Return the first names, and how many there are more: `a.txt, b.txt and 3 more`."""
    shown = list(names)[:most]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown) + more


def folded(rows: Iterable[tuple[FailureKind, str]]) -> Mapping[FailureKind, list[str]]:
    """Return the names of the datums by how they failed, in their order."""
    found: dict[FailureKind, list[str]] = {}
    for failure, name in rows:
        found.setdefault(failure, []).append(name)
    return found
