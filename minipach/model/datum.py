"""A datum: the files of its inputs that are computed together."""

from __future__ import annotations

from typing import NamedTuple


class Match(NamedTuple):
    """One file or folder that an input's glob matched: `path` is absolute in the repo, "/" its root.

    join_on and group_by are expanded: the keys of this match.
    """

    input: str
    repo: str
    branch: str | None
    path: str
    captures: tuple[str, ...]
    join_on: str
    group_by: str
    lazy: bool
    empty_files: bool
    outer_join: bool = False


class Datum(NamedTuple):
    """One unit of work: its name is unique within its list, its key that of the join or group it is of.

    (Named tuples, as what else there is one of for each datum: a million are made in a third of the time.)
    """

    name: str
    matches: tuple[Match, ...]
    key: str | None = None


class Task(NamedTuple):
    """A datum with what its record says of it: its id and the place of its output (`""` is the root).

    words: of its name that the command does not see (`identity: content`) · visible: why it sees them, or parts of
    them, all the same.
    """

    datum: Datum
    id: str
    dest: str
    words: tuple[str, ...] = ()
    visible: str = ""
