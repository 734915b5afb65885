"""Experiments on record: `refs/minipach/experiments/NAME` in the pipeline's repo, a commit with `experiment.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from minipach.experiments.points import Point, read_point
from minipach.git.repo import Repo, is_dataset
from minipach.git.tree_entries import FILE, TreeEntry
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import EXPERIMENT_FILE, EXPERIMENT_REFS, POINT_REFS
from minipach.project.lock import register
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.git_objects import NO_OBJECT
from minipach.support.text import suggest
from minipach.support.validation import InvalidError, checked, parse_object

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class RecordedPoint:
    """A point with its datums, as (name, id)."""

    params: Point
    datums: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment. pipeline: its path · head: the commit of the pipeline that it was made of · commit: its own."""

    name: str
    pipeline: str
    created: str
    head: str
    trials: tuple[RecordedPoint, ...]
    commit: str = ""

    def trial(self, word: str) -> RecordedPoint:
        """Return the point of a number, from 1. UserError."""
        if word.isdecimal() and 0 < int(word) <= len(self.trials):
            return self.trials[int(word) - 1]
        fix = f"use {self.name}:1 to {self.name}:{len(self.trials)}"
        raise UserError(Problem("exp.no-such-point", self.name, f"no point {word[:40]!r}", fix))


def check_name(name: str) -> str:
    """Return the name of an experiment, if it is one. UserError."""
    if not _NAME.fullmatch(name):
        raise UserError(
            Problem("exp.bad-name", name[:80], "not a name of an experiment", "use letters, digits, - and _")
        )
    return name


def experiments(project: Project) -> list[Experiment]:
    """Return all experiments of a project, the oldest first."""
    found: list[Experiment] = []
    for place in project.places:
        if not is_dataset(project.root / place.path):
            continue
        repo = Repo(project.root / place.path)
        for ref, commit in repo.refs(EXPERIMENT_REFS).items():
            one = _read(repo, place.path, ref.removeprefix(EXPERIMENT_REFS), commit)
            found += [one] if one else []
        repo.close()
    return sorted(found, key=lambda one: (one.created, one.name))


def find(project: Project, name: str) -> Experiment:
    """Return the experiment of a name. UserError."""
    known = experiments(project)
    for one in known:
        if one.name == name:
            return one
    fix = suggest(name, [one.name for one in known]) or "minipach exp run -S PIPELINE.PARAMETER=VALUE,..."
    raise UserError(Problem("exp.unknown", name[:80], "no such experiment", fix))


def write(project: Project, new: Experiment) -> Experiment:
    """Record an experiment, or its new state; nothing that is checked out changes."""
    repo = Repo(project.root / new.pipeline)
    try:
        ref = EXPERIMENT_REFS + new.name
        points = [{"params": trial.params, "datums": trial.datums} for trial in new.trials]
        data = {"schema": 1, "created": new.created, "head": new.head, "points": points}
        blob = repo.hash_blob(json.dumps(data, indent=1).encode() + b"\n")
        old = repo.resolve(ref)
        tree = repo.write_tree([TreeEntry(FILE, blob, EXPERIMENT_FILE)])
        parents = [old] if old else []
        commit = repo.commit_tree(tree, f"{SUBJECT}the experiment {new.name}\n", parents)
        repo.update_refs([f"update {ref} {commit} {old or NO_OBJECT}"])
        return Experiment(new.name, new.pipeline, new.created, new.head, new.trials, commit)
    finally:
        repo.close()


def remove(project: Project, one: Experiment, notify: Callable[[str], None]) -> None:
    """Remove an experiment from the record. Its results stay until `minipach results gc --drop`.

    notify: receives lines for people. UserError if a run has its pipeline.
    """
    with register(project.local.lock, (), wait=True, notify=notify) as claims:
        if who := claims.obtain(one.pipeline):
            message = f"{project.name_of(one.pipeline)} is in use by {who}"
            raise UserError(Problem("exp.in-use", one.name, message, "wait until it ends, or end it"))
        _remove(project, one)


def _remove(project: Project, one: Experiment) -> None:
    repo = Repo(project.root / one.pipeline)
    repo.update_refs([f"delete {EXPERIMENT_REFS}{one.name} {one.commit}"])
    repo.close()
    for path in project.upstream_of([one.pipeline]):
        if is_dataset(project.root / path):
            above = Repo(project.root / path)
            if refs := above.refs(f"{POINT_REFS}{one.name}/"):
                above.update_refs([f"delete {ref} {commit}" for ref, commit in refs.items()])
            above.close()


def new_name(known: Sequence[Experiment]) -> str:
    """Return a name that no experiment has."""
    names = {one.name for one in known}
    return next(name for n in range(1, len(names) + 2) if (name := f"exp-{n}") not in names)


def now() -> str:
    """Return the time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _read(repo: Repo, path: str, name: str, commit: str) -> Experiment | None:
    """Return an experiment from its ref; None if somebody else has made that."""
    try:
        data = parse_object(repo.objects.read(f"{commit}:{EXPERIMENT_FILE}") or b"")
        if data.get("schema") != 1 or not _NAME.fullmatch(name):
            return None
        trials = tuple(
            checked(RecordedPoint(read_point(row["params"]), tuple((d[0], d[1]) for d in row["datums"])))
            for row in data["points"]
        )
        return checked(Experiment(name, path, data["created"], data["head"], trials, commit))
    except (InvalidError, ValueError, TypeError, LookupError):
        return None
