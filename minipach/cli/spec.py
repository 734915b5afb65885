"""`check`, `schema`, `datums`: what a spec means, before anything runs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minipach.cli.common import Here, guarded, say, say_layout, say_used, show, show_exactly, show_json
from minipach.cli.options import COMMITTED
from minipach.cli.sections import WRITE, add
from minipach.model.pipeline import BrokenSpec, Pipeline
from minipach.model.repo_layout import SPECS
from minipach.project.project import Project
from minipach.project.spec_file import decoded
from minipach.support.errors import Problem, UserError, each_once
from minipach.support.text import many

if TYPE_CHECKING:
    from minipach.model.datum import Task
    from minipach.planning.assessment import Assessment

_SUFFIXES = {".yml", ".yaml", ".json"}  # no pipeline's name ends so


class State(StrEnum):
    """The state of a datum."""

    current = "current"
    missing = "missing"
    failed = "failed"


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, WRITE, check, schema, datums)


@guarded
def check(
    context: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="PIPELINE|FILE", help="Select pipelines or spec files. [default: all pipelines]"),
    ] = None,
    committed: COMMITTED = False,
) -> None:
    """Validate specs and the project layout.

    Reports all problems at once, also those of upstream pipelines and of the repositories, branches and images that a
    spec names. Uses specs of the working tree and committed inputs. Exit code 2: there is a problem.

    Example: minipach check edges other/spec.yml
    """
    from minipach.executors.registry import too_much
    from minipach.rerun.working_tree import working_project

    here: Here = context.obj
    problems: list[Problem] = []
    notes: list[Problem] = []
    words = what or []
    files = [w for w in words if _is_file(here, w)]
    read: dict[str, Pipeline | BrokenSpec] = {}
    for name in files:
        try:
            read[name] = _read_file(here, name)
        except BrokenSpec as error:
            read[name] = error
        except UserError as error:
            problems += error.problems
    problems += [problem for found in read.values() if isinstance(found, BrokenSpec) for problem in found.problems]
    chosen: tuple[str, ...] = ()
    gone = [w for w in words if w not in files and Path(w).suffix in _SUFFIXES]
    problems += [Problem("check.no-such-file", w, "no such file") for w in gone]
    names = [w for w in words if w not in files and w not in gone]
    project = _project_around(here)
    if project is None and (names or not words):
        if not problems:
            here.project()  # says why
        message = f"not inside a project, so that nothing is known of {', '.join(names)}"
        problems.append(Problem("project.not-found", "", message))
    if project is not None:
        given = _given(here, project, read)
        project = Project(project.root, given) if given else project
        project = project if committed else working_project(project, [place.path for place in project.places])
        if names or not words:
            say_layout(project, committed=committed)
            chosen, unknown = _chosen(project, names)
            problems += unknown
        if not committed and (used := _edited_specs(project, [*chosen, *given] if words else None, given)):
            say(f"uncommitted specs are used ({', '.join(used)}); --committed checks the last commits")
        problems += _found_in(project, [*chosen, *given], committed=committed)
        for file in project.specs_in_data() if not words else ():
            holder = project.holder_of(file)
            said = f"no pipeline, but data of {holder}, which is an input"
            notes.append(Problem("spec.in-data", file, said, f"move it out of {holder}"))
        for pipeline in (project.pipelines[path] for path in chosen if path in project.pipelines):
            notes += [*pipeline.notes, *_of_this_host(pipeline)]
        notes += [
            *too_much(project, chosen),
            *_more_notes(project, [*chosen, *given], chosen, committed=committed, is_whole=not words),
        ]
    written = [found for found in read.values() if isinstance(found, Pipeline)]
    notes = [*(note for found in written for note in (*found.notes, *_of_this_host(found))), *notes]
    for note in notes:
        say(f"note: {note}")
    if problems:
        raise UserError(each_once(problems))
    checked = len(files) + len(chosen)
    show(f"{many(checked, 'spec')} checked, no problems")


def _found_in(project: Project, paths: Sequence[str], *, committed: bool) -> Iterator[Problem]:
    """Yield what is wrong with these pipelines, their clocks included, and with all upstream of them."""
    from minipach.planning.checks import problems_of
    from minipach.planning.clock_states import tick_problems

    yield from problems_of(project, paths, committed=committed)
    yield from tick_problems(project, int(time.time()), project.upstream_of(paths))


def _more_notes(
    project: Project, paths: Sequence[str], chosen: Sequence[str], *, committed: bool, is_whole: bool
) -> list[Problem]:
    """Return the notes on images, branches and jsonnet templates, and on the parameters of the chosen pipelines."""
    from minipach.planning.parameter_notes import unknown_pipelines, unused_parameters
    from minipach.templates.rendered_spec import stale

    notes = [*_of_images(project, paths), *_of_branches(project, paths), *stale(project, paths)]
    notes += _of_services(project, paths)
    notes += unused_parameters(project, chosen, committed=committed)
    return [*notes, *unknown_pipelines(project, committed=committed)] if is_whole else notes


def _of_branches(project: Project, paths: Iterable[str]) -> Iterator[Problem]:
    """Yield a note for each pipeline whose results go to a branch that is not checked out."""
    from minipach.git.repo import Repo, is_dataset
    from minipach.project.output_branch import other_branch

    for path in paths:
        pipeline = project.pipelines.get(path)
        if pipeline and pipeline.output_branch and is_dataset(project.root / path):
            repo = Repo(project.root / path)
            if branch := other_branch(repo, pipeline.output_branch):
                at = pipeline.at("output_branch")
                now = repo.branch() or "a detached HEAD"
                what = f"results go to the branch {branch}, and {path} has {now} checked out, which stays as it is"
                yield Problem("branch.other", at, what)


def _of_images(project: Project, paths: Iterable[str]) -> Iterator[Problem]:
    """Yield a note for each image that is not what its name may be meant to be."""
    from minipach.environment.image import resolve_image

    for path in paths:
        with contextlib.suppress(UserError):  # reported with the problems
            if project.image(path)[0] is not None and (note := resolve_image(project, path).note):
                yield note.within(project.image(path)[1])


def _of_services(project: Project, paths: Iterable[str]) -> Iterator[Problem]:
    """Yield a note for each service whose branch has outputs of datums."""
    from minipach.git.repo import Repo, is_dataset
    from minipach.planning.service_datum import left_outputs
    from minipach.records.published_state import read_state

    for path in paths:
        pipeline = project.pipelines.get(path)
        if pipeline and pipeline.service is not None and is_dataset(project.root / path):
            repo = Repo(project.root / path)
            if note := left_outputs(pipeline, read_state(repo, repo.head())):
                yield note
            repo.close()


def _edited_specs(project: Project, paths: Sequence[str] | None, given: Container[str]) -> list[str]:
    """Return the uncommitted specs of these pipelines and of all upstream of them. paths: None for all pipelines."""
    from minipach.rerun.working_tree import uncommitted_in

    known = None if paths is None else set(project.upstream_of({*paths} & {*project.order}))
    places = (p.path for p in project.places if p.is_dataset and (known is None or p.path in known))
    return [project.spec_path(path) for path in places if path not in given and uncommitted_in(project, path, *SPECS)]


def _of_this_host(pipeline: Pipeline) -> Iterator[Problem]:
    """Yield what a command without an image takes from outside the project."""
    from minipach.environment.host import names_host

    if pipeline.transform.image is None:
        for path in dict.fromkeys(filter(names_host, pipeline.transform.cmd[1:])):
            what = f"{path} is on this host only: no clone has it, and a change of it runs no datum again"
            yield Problem("command.of-this-host", pipeline.at("transform.cmd"), what, "move it below code/")


def _project_around(here: Here) -> Project | None:
    try:
        return here.project()
    except UserError:
        return None


def _given(here: Here, project: Project, read: Mapping[str, Pipeline | BrokenSpec]) -> dict[str, Pipeline | BrokenSpec]:
    """Return the specs that lie where a pipeline's does, committed or not.

    The project knows more of them than the text.
    """
    found = {}
    for name, spec in read.items():
        folder = _folder_of(here.directory / name)
        if Path(name).name in SPECS and folder != project.root and folder.is_relative_to(project.root):
            found[folder.relative_to(project.root).as_posix()] = spec
    return found


def _chosen(project: Project, names: list[str]) -> tuple[tuple[str, ...], list[Problem]]:
    """Return the paths of the pipelines named (all, if none is), and what is wrong with the names."""
    paths: dict[str, None] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            paths[project.path_of(name)] = None
        except UserError as error:
            problems += error.problems
    return tuple(paths) if names else project.order, problems


def _is_file(here: Here, name: str) -> bool:
    return (here.directory / name).is_file()


def _read_file(here: Here, name: str) -> Pipeline:
    from minipach.spec.load import load_spec  # the checker takes longer to import than an unchanged plan takes

    path = here.directory / name
    text, folder = decoded(path.read_bytes(), name), _folder_of(path)
    return load_spec(text, source=name, folder=folder.name, params=_parameters(text, folder))


def _parameters(text: str, folder: Path) -> Mapping[str, Any] | None:
    """Return the parameters of a project for a spec file in it; None outside of a project, or without templates."""
    from minipach.project.parameters import working_parameters
    from minipach.project.project import find_project

    if "{{" not in text:
        return None
    try:
        root = find_project(folder).root
    except UserError:
        return None
    return working_parameters(root).of(folder.name, os.path.relpath(folder, root))


def _folder_of(file: Path) -> Path:
    """Return where a spec file lies. The file may be a link of git-annex; its target is not the folder."""
    return file.parent.resolve()


@guarded
def schema() -> None:
    """Print the JSON Schema of spec.yml, for editors.

    Example: minipach schema > spec.schema.json
    """
    import json

    from minipach.spec.load import json_schema

    show_exactly(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@guarded
def datums(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="PIPELINE|FILE", help="Select a pipeline or a spec file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with ids and files.")] = False,
    state: Annotated[
        State | None,
        typer.Option("--state", help="Select datums by state. Missing datums include failed ones. [default: all]"),
    ] = None,
    committed: COMMITTED = False,
) -> None:
    """List the datums of a pipeline or spec file.

    Needs no earlier run and no file contents. Uses the pipeline's working tree and the committed content of its
    inputs.

    Example: minipach datums edges --json, or minipach datums edges --state failed
    """
    from minipach.planning.failures import datum_states
    from minipach.records.job_history import last_attempts_json

    assessment = _assessed(context.obj, what, committed=committed)
    project = assessment.project
    tasks = assessment.tasks if state is not None else _tasks(assessment)
    for line in assessment.exclusions:
        say(f"{assessment.pipeline.name}: {line}")
    if not tasks:
        say(f"{assessment.pipeline.name}: no datums; {assessment.no_datums}")
    states = datum_states(project, assessment) if state is not None else {}
    if state is not None:
        wanted = {State.missing, State.failed} if state is State.missing else {state}
        tasks = [t for t in tasks if states[t.datum.name] in wanted]
    if not as_json:
        for task in tasks:
            show(task.datum.name)
        return
    last = last_attempts_json(project, assessment.pipeline.name) if states else {}
    rows = []
    for task in tasks:
        files = []
        for match in task.datum.matches:
            snapshot = assessment.snapshots[match.repo, match.branch]
            for file, _ in snapshot.below(match.path):
                files.append({"input": match.input, "repo": match.repo, "path": "/" + file})
        matches = [{"input": m.input, "repo": m.repo, "path": m.path} for m in task.datum.matches]
        row: dict[str, Any] = {"name": task.datum.name, "id": task.id or None, "files": files, "matches": matches}
        if task.visible:
            row["visible"] = task.visible
        if states:
            row |= {"state": states[task.datum.name], "attempt": last.get(task.datum.name)}
        rows.append(row)
    show_json({"schema": 1, "pipeline": assessment.pipeline.name, "datums": rows})


def _tasks(assessment: Assessment) -> list[Task]:
    """Return the datums with their ids, which are empty where the image is not known: it makes no datum another."""
    from minipach.model.datum import Task

    try:
        _ = assessment.image
    except UserError as error:
        for problem in error.problems:
            say(f"note: {problem}")
        return [Task(datum, "", "") for datum in assessment.datums]
    return assessment.tasks


def _assessed(here: Here, what: str, *, committed: bool) -> Assessment:
    """Return the assessment of a pipeline, or of a spec file in a pipeline's place."""
    from minipach.planning.assessment import Assessment, SnapshotStore
    from minipach.rerun.working_tree import assess, working_project

    project = here.project()
    if _is_file(here, what):
        project, path = _with_file(here, project, what)
    else:
        path = project.path_of(what)
        say_used(project, path, committed=committed)
        project = project if committed else working_project(project, [path])
    if path in project.problems:
        raise UserError(project.problems[path])
    if (project.root / path).is_dir():
        return assess(project, path, committed=committed)
    return Assessment(project, path, SnapshotStore(project))


def _with_file(here: Here, project: Project, name: str) -> tuple[Project, str]:
    """Return the project with a spec file (which may be uncommitted) in the place of its folder's pipeline.

    And that place.
    """
    pipeline = _read_file(here, name)
    folder = _folder_of(here.directory / name)
    path = folder.relative_to(project.root).as_posix() if folder.is_relative_to(project.root) else folder.name
    path = folder.name if path == "." else path
    return Project(project.root, {path: pipeline}), path
