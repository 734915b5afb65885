"""The datum that a service is to serve: the same identity as in planning, from what is committed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from minipach.git.refs_on_disk import read_tips
from minipach.model.work_set import WorkSet
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.service_datum import service_problems
from minipach.project.project import Project
from minipach.scheduling.base_commit import build_base
from minipach.scheduling.work_sets import make_set
from minipach.support.errors import Problem, UserError

_JOB = "0" * 32  # a service is no job


@dataclass(frozen=True, slots=True)
class WantedService:
    """The goal of a service. datum: the id, None: there is no datum · work: how it runs · why: there is no datum."""

    datum: str | None
    work: WorkSet | None = None
    why: str = ""


def wanted(project: Project, path: str) -> WantedService:
    """Return what a service is to run, as committed; an image that is not here is fetched or built.

    Raises:
        UserError: That can't be known.
    """
    if problems := project.trouble([path]) or project.lacks(path):
        raise UserError(problems)
    assessment = Assessment(project, path, SnapshotStore(project))
    try:
        pipeline = assessment.pipeline
        if not assessment.exists:
            fix = f"minipach schedule {pipeline.name}"
            raise UserError(Problem("pipeline.not-a-dataset", path, "not a dataset yet", fix))
        if assessment.has_nothing:
            return WantedService(None, why="an input has nothing yet")
        if problems := service_problems(pipeline, assessment.datums):
            raise UserError(problems)
        if not assessment.datums:
            return WantedService(None, why=assessment.no_datums)
        base = build_base(assessment)
        if assessment.image.is_away or assessment.image.source is not None:
            assessment.refresh()  # it was fetched just now, and has a content id
        (task,) = assessment.tasks
        work = make_set(assessment, base, [task], _JOB, "")
        return WantedService(task.id, replace(work, timeout=None))
    finally:
        assessment.close()


def places(project: Project, path: str) -> tuple[Path, ...]:
    """Return the repositories whose branches decide what a service runs."""
    pipeline = project.pipelines[path]
    shared = (os.path.normpath(os.path.join(path, word)) for word in pipeline.shared_code)
    found = {"", path, project.holder_of(path), *(need.repo for need in pipeline.needs())}
    found |= {repo for word in shared for repo in project.repos if f"{word}/".startswith(f"{repo}/")}
    return tuple(project.root / repo for repo in sorted(found))


def tips_of(folders: Iterable[Path]) -> tuple[tuple[str, str], ...]:
    """Return the branches of repositories, from their files: it changes if what a service runs may have changed."""
    rows = ((f"{folder}\0{ref}", value) for folder in folders for ref, value in (read_tips(folder) or {}).items())
    return tuple(sorted(rows))
