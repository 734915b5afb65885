"""`check`, `schema`, `datums`: what a spec means, before anything runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from minipach.cli.frame import Here, guarded, say, say_not_installed, show, show_exactly, show_json
from minipach.errors import UserError
from minipach.project import SPEC, Place, Project
from minipach.spec import Pipeline


class State(StrEnum):
    """How a datum stands."""

    current = "current"
    missing = "missing"
    failed = "failed"


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(check)
    app.command()(schema)
    app.command()(datums)


@guarded
def check(
    context: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="PIPELINE or FILE", help="All pipelines, if none is named."),
    ] = None,
) -> None:
    """Validate specs and the project's layout; all problems at once, exit code 2 if there are any.

    Example: minipach check edges other/spec.yml
    """
    here: Here = context.obj
    problems: list[str] = []
    notes: list[str] = []
    checked = 0
    files = [w for w in what or [] if _is_file(here, w)]
    for name in files:
        try:
            notes += _read_file(here, name).notes
            checked += 1
        except UserError as error:
            problems += error.problems
    if len(files) < len(what or []) or not what:
        try:
            project = here.project()
            say_not_installed(project)
            more, count = _check_project(project, [w for w in what or [] if w not in files])
            notes += more
            checked += count
        except UserError as error:
            problems += error.problems
    for note in notes:
        say(f"note: {note}")
    if problems:
        raise UserError(problems)
    show(f"{checked} {'spec' if checked == 1 else 'specs'} checked, no problems")


def _check_project(project: Project, names: list[str]) -> tuple[list[str], int]:
    from minipach.assess import Assessment, SnapshotStore

    chosen = [project.path_of(n) for n in names] if names else list(project.order)
    order = project.order  # finds cycles and missing repos
    problems: list[str] = []
    notes: list[str] = []
    store = SnapshotStore(project)
    for path in order:
        if path in chosen:
            notes += project.pipelines[path].notes
            problems += _check_layout(Assessment(project, path, store))
    if problems:
        raise UserError(problems)
    return notes, len(chosen)


def _check_layout(assessment: object) -> list[str]:
    from minipach.assess import Assessment

    assert isinstance(assessment, Assessment)
    try:
        upstream_unborn = [
            u
            for u in assessment.project.upstream(assessment.path)
            if not (assessment.project.root / u / ".git").exists()
        ]
        _ = assessment.image
        if not upstream_unborn:
            _ = assessment.tasks
    except UserError as error:
        return list(error.problems)
    finally:
        assessment.close()
    return []


def _is_file(here: Here, name: str) -> bool:
    return (here.directory / name).is_file()


def _read_file(here: Here, name: str) -> Pipeline:
    from minipach.specload import load_spec  # the checker takes longer to import than an unchanged plan takes

    path = here.directory / name
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    return load_spec(text, source=name, folder=_folder_of(path).name)


def _folder_of(file: Path) -> Path:
    """Where a spec file lies. The file itself may be git-annex's link, whose target tells nothing."""
    return file.parent.resolve()


@guarded
def schema() -> None:
    """Print the JSON Schema of spec.yml, for editors.

    Example: minipach schema > spec.schema.json
    """
    import json

    from minipach.specload import json_schema

    show_exactly(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@guarded
def datums(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="PIPELINE or FILE")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with ids and files.")] = False,
    state: Annotated[
        State | None,
        typer.Option("--state", help="Only those that are current, missing (failed ones, too), or failed last time."),
    ] = None,
) -> None:
    """Show which datums there would be. Needs no earlier run and none of the files' content.

    Example: minipach datums edges --json, or minipach datums edges --state failed
    """
    from minipach.assess import Assessment, SnapshotStore
    from minipach.jobs import datum_states

    here: Here = context.obj
    project = here.project()
    path = _from_file(here, project, what) if _is_file(here, what) else project.path_of(what)
    assessment = Assessment(project, path, SnapshotStore(project))
    tasks = assessment.tasks
    states = datum_states(project, assessment) if state is not None else {}
    if state is not None:
        wanted = {State.missing, State.failed} if state is State.missing else {state}
        tasks = [t for t in tasks if states[t.datum.name] in wanted]
    if not as_json:
        for task in tasks:
            show(task.datum.name)
        return
    rows = []
    for task in tasks:
        files = []
        for match in task.datum.matches:
            snapshot = assessment.snapshots[match.repo, match.branch]
            for file, _ in snapshot.below(match.path):
                files.append({"input": match.input, "repo": match.repo, "path": "/" + file})
        matches = [{"input": m.input, "repo": m.repo, "path": m.path} for m in task.datum.matches]
        row = {"name": task.datum.name, "id": task.id, "files": files, "matches": matches}
        rows.append({**row, "state": states[task.datum.name]} if states else row)
    show_json({"schema": 1, "pipeline": assessment.pipeline.name, "datums": rows})


def _from_file(here: Here, project: Project, name: str) -> str:
    """Put a spec file (which may be uncommitted) in the place of its folder's pipeline."""
    pipeline = _read_file(here, name)
    file = here.directory / name
    folder = _folder_of(file)
    path = folder.relative_to(project.root).as_posix() if folder.is_relative_to(project.root) else folder.name
    if not any(p.path == path for p in project.places) or file.name != SPEC:
        path = folder.name if path == "." else path
        project.__dict__["places"] = (*project.places, Place(path, False))
    project.__dict__["pipelines"] = {**project.pipelines, path: pipeline}
    return path
