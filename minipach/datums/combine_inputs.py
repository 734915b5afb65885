"""Inputs and snapshots to datums: pfs, cross, union, join and group, as deep as one likes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Protocol

from minipach.model.datum import Datum, Match
from minipach.model.pipeline import Combination, Input, PfsInput
from minipach.spec.glob import Glob, compile_glob
from minipach.support.errors import Problem, UserError

_NAMED = 5  # a name lists so many parts; of more, the first three and a count
_KEY_TOKEN = re.compile(r"\$\$|\$([0-9]+)|\$\{([0-9]+)\}")


class SnapshotPaths(Protocol):
    """The part of a snapshot that datums need."""

    def paths(self, depth: int | None = None) -> Sequence[str]:
        """Return sorted absolute paths of all files and folders, or of those with `depth` parts ("/" has none)."""


Snapshots = Mapping[tuple[str, str | None], SnapshotPaths]
_Identity = tuple[str, str, str | None, str, bool]


def make_datums(input: Input, snapshots: Snapshots) -> list[Datum]:
    """Return all datums of an input, in an order that depends on nothing but names, globs and paths.

    snapshots: by (repo, branch), one for each pfs input. Rules: the spec's page, "Datums". The cost grows
    with the number of paths and of datums, no faster.
    """
    return _unique_names(_datums(input, snapshots))


def _datums(node: Input, snapshots: Snapshots) -> list[Datum]:
    if not isinstance(node, Combination):
        return _pfs(node, snapshots)
    members = [_datums(member, snapshots) for member in sorted(node.members, key=_order)]
    return _COMBINE[node.kind](members)


def _order(node: Input) -> tuple[Any, ...]:
    """Return the order of members: by input name, then by the rest of an input. The order in the spec never counts."""
    if isinstance(node, Combination):
        members: list[tuple[Any, ...]] = sorted(_order(member) for member in node.members)
        return (members[0][0], 1, node.kind, *members)
    rest = (node.join_on, node.group_by, node.outer_join, node.lazy, node.empty_files)
    return (node.name, 0, node.repo, node.branch or "", node.glob, *rest)


def _pfs(node: PfsInput, snapshots: Snapshots) -> list[Datum]:
    glob = compile_glob(node.glob)
    join_on = _key_maker(node.join_on, glob, node.name)
    group_by = _key_maker(node.group_by, glob, node.name)
    found: list[Datum] = []
    for path in sorted(snapshots[node.repo, node.branch].paths(glob.depth)):
        captures = glob.match(path)
        if captures is None:
            continue
        match = Match(
            node.name,
            node.repo,
            node.branch,
            path,
            captures,
            join_on(path, captures),
            group_by(path, captures),
            node.lazy,
            node.empty_files,
            node.outer_join,
        )
        found.append(Datum(_label(path), (match,)))
    return found


def _key_maker(template: str, glob: Glob, name: str) -> Callable[[str, tuple[str, ...]], str]:
    """Return what expands a `join_on` or `group_by`: `$1`, `${1}`, `$0` the path ("" of the root), `$$` a dollar."""
    pieces: list[str | int] = []
    end = 0
    for token in _KEY_TOKEN.finditer(template):
        pieces += [template[end : token.start()], "$" if token[0] == "$$" else int(token[1] or token[2])]
        end = token.end()
    pieces.append(template[end:])
    highest = max((piece for piece in pieces if isinstance(piece, int)), default=0)
    if highest > glob.groups:
        raise UserError(
            Problem(
                "spec.no-such-capture",
                f'input "{name}"',
                f'"{template}" uses capture {highest}, but the glob "{glob.pattern}" has {glob.groups}',
                "put ( ) around a part of it, or ${N} before a digit",
            )
        )

    def expand(path: str, captures: tuple[str, ...]) -> str:
        parts = ("" if path == "/" else path, *captures)
        return "".join([piece if isinstance(piece, str) else parts[piece] for piece in pieces])

    return expand if len(pieces) > 1 else lambda path, captures: template


def _cross(members: list[list[Datum]]) -> list[Datum]:
    return [
        Datum("~".join(d.name for d in combo), tuple(m for d in combo for m in d.matches))
        for combo in product(*members)
    ]


def _union(members: list[list[Datum]]) -> list[Datum]:
    found: dict[tuple[_Identity, ...], Datum] = {}
    for datum in (d for member in members for d in member):
        found.setdefault(tuple(map(_identity, datum.matches)), datum)
    return list(found.values())


def _join(members: list[list[Datum]]) -> list[Datum]:
    buckets = [_by_key(member, lambda match: match.join_on) for member in members]
    found: list[Datum] = []
    for key in sorted({key for bucket in buckets for key in bucket}):
        columns = [bucket.get(key, []) for bucket in buckets]
        choices = columns if all(columns) else [_outer(column) for column in columns if column]
        for combo in product(*choices):
            matches = tuple(match for match in combo if match is not None)
            if matches:
                found.append(_keyed(key, matches))
    return found


def _outer(column: list[Match | None]) -> list[Match | None]:
    """Return what stays of a member where another lacks the key: its outer matches, and one gap for all others."""
    kept: list[Match | None] = [match for match in column if match is not None and match.outer_join]
    return kept if len(kept) == len(column) else [*kept, None]


def _group(members: list[list[Datum]]) -> list[Datum]:
    groups: dict[str, list[Match]] = {}
    for member in members:
        for key, matches in _by_key(member, lambda match: match.group_by).items():
            groups.setdefault(key, []).extend(match for match in matches if match is not None)
    return [_keyed(key, tuple(groups[key])) for key in sorted(groups)]


_COMBINE = {"cross": _cross, "union": _union, "join": _join, "group": _group}


def _by_key(member: list[Datum], key_of: Callable[[Match], str]) -> dict[str, list[Match | None]]:
    """Return the files of a member's datums under their own keys; what several datums share is there once a key."""
    found: dict[str, list[Match | None]] = {}
    seen: set[tuple[str, _Identity]] = set()
    for datum in member:
        for match in datum.matches:
            key = key_of(match)
            mark = (key, _identity(match))
            if mark not in seen:
                seen.add(mark)
                found.setdefault(key, []).append(match)
    return found


def _identity(match: Match) -> _Identity:
    """Return what the code gets to see of a match: two that agree on it are the same."""
    return match.input, match.repo, match.branch, match.path, match.empty_files


def _keyed(key: str, matches: tuple[Match, ...]) -> Datum:
    return Datum(key or _joined(_label(match.path) for match in matches), matches, key)


def _label(path: str) -> str:
    return path[1:] or "/"


def _joined(parts: Iterable[str]) -> str:
    """Return parts joined by `~`, none twice; of many, the first three and how many more."""
    names = list(dict.fromkeys(parts))
    return "~".join(names) if len(names) <= _NAMED else "~".join([*names[:3], f"+{len(names) - 3}"])


def _unique_names(datums: list[Datum]) -> list[Datum]:
    """Return names made unique: equal ones get the parts in which they differ, or else a number."""
    rows: dict[str, list[int]] = {}
    for row, datum in enumerate(datums):
        rows.setdefault(datum.name, []).append(row)
    taken = {name for name, same in rows.items() if len(same) == 1}
    if len(taken) == len(datums):
        return datums
    named = list(datums)
    tries: dict[str, int] = {}
    for name, same in rows.items():
        if len(same) == 1:
            continue
        for row, suffix in zip(same, _differences([datums[row] for row in same]), strict=True):
            wanted = fresh = f"{name}~{suffix}" if suffix else name
            while fresh in taken:
                tries[wanted] = tries.get(wanted, 1) + 1
                fresh = f"{wanted}#{tries[wanted]}"
            taken.add(fresh)
            named[row] = datums[row]._replace(name=fresh)
    return named


def _differences(datums: list[Datum]) -> list[str]:
    """Return for datums of one name what each has that not all have: by path, else by input or repo."""
    shared = set.intersection(*({_identity(match) for match in datum.matches} for datum in datums))
    own = [[match for match in datum.matches if _identity(match) not in shared] for datum in datums]
    labels: list[Callable[[Match], str]] = [
        lambda match: _label(match.path),
        lambda match: match.input,
        lambda match: match.repo,
        lambda match: match.input + match.path,
    ]
    found = [[_joined(map(label, matches)) for matches in own] for label in labels]
    return next((names for names in found if len(set(names)) == len(names)), found[0])
