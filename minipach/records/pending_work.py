"""The pending work of later passes: the pipelines that were requested and are not done.

A file in `.git/minipach`, written by the holder of the project's lock; the next pass reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from minipach.model.local_state import LocalState
from minipach.model.states import GOING
from minipach.project.project import Project
from minipach.project.targets import Targets
from minipach.support.validation import InvalidError, conforms, is_moment, parse_object, texts


def _path(project: Project) -> Path:
    return project.local.pending_work


def exists(project: Project) -> bool:
    """Return whether something is left to be done."""
    return _path(project).is_file()


def begin(project: Project, targets: Targets, options: Collection[str] = ()) -> list[str]:
    """Note what is asked for, beside what is still to be done, and return the latter.

    options: names of what later passes are to know of how to go about it.
    """
    old = _read(project)
    before = [p for p in old["pipelines"] if p in project.order]
    patterns: dict[str, list[str]] = old["patterns"]
    for path in targets.order:
        wanted = targets.patterns.get(path)
        if wanted is None:
            patterns.pop(path, None)
        elif path in patterns or path not in before:
            patterns[path] = sorted({*patterns.get(path, ()), *wanted})
    due = {path: at for path, at in old["due"].items() if path in before}
    _write(project, [*before, *(p for p in targets.order if p not in before)], patterns, due, options)
    return before


def options(project: Project) -> frozenset[str]:
    """Return the options that the schedule was given which left something to be done."""
    return frozenset(_read(project)["options"])


def end(project: Project, targets: Targets, states: Mapping[str, str], earlier: Collection[str] = ()) -> None:
    """Note what a pass has done with: all but what is submitted, or waits for that.

    states: of the pipelines, by name · earlier: what was to be done before somebody asked for this one. An error of
    theirs, as when the executor is away, takes nothing from that: the pass that was to come anyway will see.
    """
    going = {p for p in targets.order if states.get(project.name_of(p)) in GOING}
    unsettled = [p for p in earlier if states.get(project.name_of(p)) == "error"]
    stays = going | (set(project.downstream(unsettled)) & set(earlier))
    keep(project, [p for p in project.order if p not in targets.order or p in stays])


def keep(project: Project, paths: Collection[str]) -> None:
    """Remove all pending work except that of these pipelines."""
    old = _read(project)
    pipelines = [p for p in old["pipelines"] if p in paths]
    if not pipelines:
        _path(project).unlink(missing_ok=True)
        return
    patterns = {path: names for path, names in old["patterns"].items() if path in pipelines}
    due = {path: at for path, at in old["due"].items() if path in pipelines}
    _write(project, pipelines, patterns, due, old["options"])


def note_due(project: Project, path: str, at: float | None) -> None:
    """Note when a pipeline's job has had its time (unix seconds; None: it has no limit, or is done)."""
    old = _read(project)
    due = {p: time for p, time in old["due"].items() if p != path}
    if at is not None and path in old["pipelines"]:
        due[path] = at
    if due != old["due"]:
        _write(project, old["pipelines"], old["patterns"], due, old["options"])


def is_due(project: Project, path: str, at: float | None) -> bool:
    """Return whether this is noted already."""
    return due_in(project.state_dir, path) == at


def due(project: Project, path: str | None = None) -> float | None:
    """Return when the job of a pipeline (no path: the first of all) reaches its time limit, so that a pass is due."""
    if path is not None:
        return due_in(project.state_dir, path)
    return min(_read(project)["due"].values(), default=None)


def due_in(state_dir: Path, path: str) -> float | None:
    """Return the same for one pipeline and somebody who knows no more of the project than where its state is."""
    at: float | None = _read_file(LocalState(state_dir).pending_work)["due"].get(path)
    return at


def pending(project: Project) -> Targets | None:
    """Return the pending work; None if there is none."""
    old = _read(project)
    order = tuple(p for p in project.order if p in old["pipelines"])
    patterns = {path: tuple(names) for path, names in old["patterns"].items() if path in order}
    return Targets(order, patterns, frozenset(order)) if order else None


def _read(project: Project) -> dict[str, Any]:
    return _read_file(_path(project))


def _read_file(file: Path) -> dict[str, Any]:
    try:
        data = parse_object(file.read_bytes())
        due, patterns = data.get("due", {}), data["patterns"]
        if not conforms(due, dict[str, float]) or not all(map(is_moment, due.values())):
            raise InvalidError("no times")
        if not conforms(patterns, dict[str, list[str]]):
            raise InvalidError("no patterns")
        options = texts(data.get("options", []))
        return {"pipelines": texts(data["pipelines"]), "patterns": patterns, "due": due, "options": options}
    except (OSError, ValueError, KeyError, AttributeError):
        return {"pipelines": [], "patterns": {}, "due": {}, "options": []}


def _write(
    project: Project,
    pipelines: list[str],
    patterns: dict[str, list[str]],
    due: dict[str, float],
    options: Collection[str],
) -> None:
    path = _path(project)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    data = {"schema": 1, "pipelines": pipelines, "patterns": patterns, "due": due, "options": sorted(options)}
    new.write_text(json.dumps(data))
    os.replace(new, path)


def paths(project: Project) -> list[str]:
    """Return the pipelines that are to be done, as they are noted: specs unread, and folders not looked at."""
    return list(_read(project)["pipelines"])
