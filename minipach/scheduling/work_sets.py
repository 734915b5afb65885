"""Datums to datum sets: all that a worker must know to run them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minipach.datums import launch_command
from minipach.execution.secrets import secrets_folder
from minipach.model import run_record
from minipach.model.datum import Task
from minipach.model.work_set import Base, Needs, StagedFile, WorkSet, set_id
from minipach.planning.assessment import Assessment
from minipach.support.errors import Problem, UserError


def make_set(
    assessment: Assessment, base: Base, tasks: Sequence[Task], job: str, log: str, *, forced: bool = False
) -> WorkSet:
    """Return everything that a worker must know to run these datums."""
    pipeline = assessment.pipeline
    command = launch_command.command(pipeline, tasks, base.commits, job, (*assessment.options, *base.options))
    return WorkSet(
        id=set_id(pipeline.name, tasks),
        pipeline=pipeline.name,
        repo=str(assessment.repo.path),
        base=base.commit,
        image=base.image_path,
        head=command.head,
        parts=command.parts,
        tail=command.tail,
        inputs_of=tuple(tuple(launch_command.record_inputs(pipeline, [task], assessment.snapshots)) for task in tasks),
        always=assessment.always_inputs,
        files=tuple(staged_files(assessment, tasks)),
        datums=tuple(describe(assessment, base, task) for task in tasks),
        job=job,
        forced=forced,
        tries=pipeline.datum_tries,
        log=log,
        secrets=tuple(dict.fromkeys(s.name for s in pipeline.transform.secrets)),
        secrets_folder=str(secrets_folder(assessment.project.repo)) if pipeline.transform.secrets else "",
        needs=Needs.of(pipeline),
        timeout=pipeline.datum_timeout,
        more_memory=pipeline.more_memory,
    )


def describe(assessment: Assessment, base: Base, task: Task) -> dict[str, Any]:
    """Return what `result.json` says of a datum before it ran."""
    return {
        "schema": 2,
        "id": task.id,
        "name": task.datum.name,
        "words": list(task.words),
        "dest": task.dest,
        "matches": [[m.input, m.repo, m.path] for m in task.datum.matches],
        "recipe": assessment.recipe.as_json(),
        "inputs": assessment.files_of(task.datum, task.words),
        "variables": assessment.variables_of(task.datum, task.words),
        "code_tree": base.code_tree,
    }


def staged_files(assessment: Assessment, tasks: Sequence[Task]) -> list[StagedFile]:
    """Return the files that these datums matched, each once."""
    tops = run_record.places(assessment.pipeline)
    inside = {(pfs.repo, pfs.branch): pfs.folder for pfs in assessment.pipeline.pfs_inputs()}
    project = assessment.project
    found: dict[str, StagedFile] = {}
    for task in tasks:
        for m in task.datum.matches:
            snapshot = assessment.snapshots[m.repo, m.branch]
            folder, top = tops[m.repo, m.branch], inside[m.repo, m.branch]
            for path, entry in snapshot.below(m.path):
                dest = f"{folder}/{path}"
                if any(part in ("", ".", "..", ".git") for part in path.split("/")):
                    raise UserError(
                        Problem("file.outside-repo", m.repo, f"the path {path!r} leads out of its repo, and is refused")
                    )
                where = str(project.dataset_of(m.repo, entry.sub))
                found[dest] = StagedFile(dest, where, entry.kind, entry.blob, entry.key, entry.executable, top)
    return list(found.values())
