"""The targets of a command: pipelines, or some of their datums (`edges`, `edges:sub-1`, `edges:sub-*`)."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.text import nearest, suggest


@dataclass(frozen=True)
class Targets:
    """The pipelines chosen, in order, and for some of them the datum patterns that they are limited to."""

    order: tuple[str, ...]
    patterns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    named: frozenset[str] = frozenset()  # those that the words name themselves (all, if there are no words)

    def limits(self, path: str) -> bool:
        """Return whether only some datums of this pipeline are asked for."""
        return path in self.patterns

    def names(self, path: str, known: Sequence[str], exclude: Sequence[tuple[str, str]] = ()) -> set[str]:
        """Return those of the known datums that are asked for; UserError if a pattern matches none.

        exclude: the pipeline's own `exclude`, which may be why.
        """
        if path not in self.patterns:
            return set(known)
        chosen: set[str] = set()
        for pattern in self.patterns[path]:
            found = matching(pattern, known)
            if not found:
                raise UserError(unknown_datum(path, pattern, suggest_datum(pattern, known), exclude))
            chosen |= set(found)
        return chosen


def matching(pattern: str, known: Iterable[str]) -> list[str]:
    """Return the datums that a name or a glob on the command line selects.

    The one of that name, else all that it matches as a glob (`*` any characters).
    """
    names = list(known)
    match = re.compile(fnmatch.translate(pattern)).match
    return [name for name in names if name == pattern] or [name for name in names if match(name)]


def unknown_datum(path: str, word: str, fix: str, exclude: Sequence[tuple[str, str]]) -> Problem:
    """Return the problem with a name that no datum of a pipeline has. exclude: its entries of `exclude`."""
    for pattern, reason in exclude:
        if matching(pattern, [word]):
            because = f": {reason}" if reason else ""
            fix = f'remove "{pattern}" from `minipach: {{exclude: [...]}}` in the spec'
            return Problem("datum.excluded", path, f"{word!r} is excluded{because}", fix)
    return Problem("datum.unknown", path, f"no datum is called {word!r}", fix)


def suggest_datum(word: str, known: Iterable[str]) -> str:
    """Return suggestions as `suggest` does; a common beginning of several names is a glob without its star."""
    names = list(known)
    near = nearest(word, names)
    if not near and word and any(name.startswith(word) for name in names):
        return f'use "{word}*"'
    return near or suggest(word, names)


def parse_targets(
    project: Project, words: Sequence[str], *, upstream: bool = False, downstream: bool = True
) -> Targets:
    """Return the targets of a command line: all pipelines if there are no words.
    A datum name may hold colons and globs.

    Sound or not: for what shows them as they are.
    """
    whole: set[str] = set()
    patterns: dict[str, list[str]] = {}
    for word in words:
        name, colon, pattern = word.partition(":")
        path = project.path_of(name)
        if colon and pattern:
            patterns.setdefault(path, []).append(pattern)
        else:
            whole.add(path)
    chosen = {*whole, *patterns} if words else set(project.order)
    named = frozenset(chosen)
    limited = {path: tuple(found) for path, found in patterns.items() if path not in whole}
    if upstream:
        chosen |= set(project.upstream_of(chosen))
    if downstream:
        chosen |= set(project.downstream(chosen))
    return Targets(tuple(p for p in project.order if p in chosen), limited, named)
