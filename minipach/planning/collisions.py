"""Datums whose results would write the same path, as far as it is known before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from minipach.git.repo import Repo
from minipach.model.neutral_names import restore
from minipach.planning.plan import Plan, PlannedDatum
from minipach.records.published_outputs import many_published_paths, published_paths
from minipach.records.published_state import Published
from minipach.records.results_branch import StoredResults
from minipach.support.errors import Problem
from minipach.support.text import many


class Branch(Protocol):
    """The part of an assessment that this module needs: a branch, its content, and the known results."""

    path: str

    @property
    def repo(self) -> Repo: ...
    @property
    def head(self) -> str | None: ...
    @property
    def known(self) -> StoredResults: ...
    @property
    def state(self) -> Mapping[str, Published]: ...
    @property
    def outputs(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Clash:
    """A path that is written twice. name: the datum that would · other: who else ("": what lies on the branch does).

    there: what is in its way, if that is not the path itself: a file where it needs a folder, or one in a folder.
    """

    path: str
    name: str
    other: str
    there: str


def clashes(outputs: Iterable[tuple[str, Iterable[str]]], kept: Iterable[str]) -> Iterator[Clash]:
    """Yield paths that two datums write, or that are a file for one and a folder for the other; one per datum.

    outputs: datums by name, with the paths that they write · kept: the paths that stay on the branch as they are.
    """
    stays = kept if isinstance(kept, Set) else frozenset(kept)
    folders: dict[str, str] = {}
    for path in stays:
        for folder in _parents(path):
            folders.setdefault(folder, path)
    writers: dict[str, str] = {}
    for name, paths in outputs:
        own = list(paths)
        for path in own:
            file = next((p for p in (path, *_parents(path)) if p in writers or p in stays), None)
            there = file or folders.get(path)
            if there is not None:
                yield Clash(file or path, name, writers.get(there, ""), there)
                break
        for path in own:
            writers.setdefault(path, name)
            for folder in _parents(path):
                folders.setdefault(folder, path)


def _parents(path: str) -> Iterator[str]:
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def writer(branch: Branch, path: str) -> str:
    """Return the datum that has published a path; "" if none has."""
    for published in branch.state.values():
        if path in published_paths(branch.repo, branch.head or "", branch.known, published):
            return published.name
    return ""


def clash_problem(where: str, clash: Clash, other: str, more: int = 0) -> Problem:
    """Return what to say of one: which datums, which path, the fix. more: how many other datums collide."""
    others = f" (as do {many(more, 'more datum')})" if more else ""
    if not other:
        return Problem(
            "output.overwrites-file",
            where,
            f"the output {clash.path} of datum {clash.name!r} would overwrite a file that no datum wrote{others}",
            "move it away or set minipach.out",
        )
    return Problem(
        "output.collision",
        where,
        f"the datums {other!r} and {clash.name!r} both write {clash.path}{others}",
        'give each its own folder, for example minipach: {out: "{name}/"}',
    )


def foretold(branch: Branch, plan: Plan) -> tuple[Problem, ...]:
    """Return what is certain to collide, from the results that a plan takes: with each other, and with what is current.

    Publishing looks at the rest: what still has to run, and a datum that is published again where it was published
    before, which most often writes its own paths again. Nothing is read where no known result is taken.
    """
    taken = [step for step in plan.of("reuse") if step.source is not None and step.task is not None]
    if not taken:
        return ()
    found = []
    owners: _Owners | None = None
    for clash in clashes(_paths(branch.known, taken), branch.outputs):
        other = clash.other
        if not other:
            if clash.name in branch.state:
                continue
            owners = owners or _Owners(branch, plan)
            if not owners.keeps(clash.there):
                continue
            other = owners.of(clash.there)
        found.append((clash, other))
    return (clash_problem(branch.path, *found[0], len(found) - 1),) if found else ()


def _paths(known: StoredResults, steps: Sequence[PlannedDatum]) -> Iterator[tuple[str, list[str]]]:
    """Yield where each datum's result lands.

    All trees are read at once, as one by one they would take most of a plan.
    """
    listed = known.paths({step.source.tree for step in steps if step.source and step.source.tree})
    for step in steps:
        assert step.source is not None and step.task is not None
        prefix = f"{step.task.dest}/" if step.task.dest else ""
        yield step.name, [prefix + restore(path, step.words) for path in listed.get(step.source.tree or "", ())]


class _Owners:
    """The owners of the files on the branch, as far as results show them."""

    def __init__(self, branch: Branch, plan: Plan) -> None:
        self._of: dict[str, str] = {}
        self._whole = True
        found = []
        for published in branch.state.values():
            if published.id not in branch.known:
                self._whole = False  # its record would show it, at the price of a walk through history
                continue
            found.append(published)
        for published, paths in many_published_paths(branch.repo, branch.head or "", branch.known, found):
            self._of.update(dict.fromkeys(paths, published.name))
        self._current = {step.name for step in plan.of("current")}

    def of(self, path: str) -> str:
        """Return the datum that has published a path; "" if none has."""
        return self._of.get(path, "")

    def keeps(self, path: str) -> bool:
        """Return whether it is certain that a path stays as it is."""
        return self._of[path] in self._current if path in self._of else self._whole


def shared_places(out: str, plan: Plan) -> str:
    """Return the remark that datums share a folder although the template could separate them; "" if none do."""
    if "{" not in out or not plan.counts["run"]:
        return ""
    places: dict[str, list[PlannedDatum]] = {}
    for step in plan.steps:
        if step.task is not None:
            places.setdefault(step.task.dest, []).append(step)
    shared = [
        (dest, steps) for dest, steps in places.items() if len(steps) > 1 and any(s.action == "run" for s in steps)
    ]
    if not shared:
        return ""
    dest, (one, other, *_) = shared[0]
    more = f", as have those of {many(len(shared) - 1, 'more place')}" if len(shared) > 1 else ""
    return (
        f"{one.name} and {other.name} have one place, {dest}/{more}; if both write one name there, nothing is published"
    )
