"""`init`, `doctor`, `completion`, `lock`, `accept`, `exclude`: make a project, and see that this machine can run it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from minipach.cli.common import USER, Here, guarded, show, show_exactly, show_json
from minipach.cli.options import DATUM, JSON, PIPELINE
from minipach.cli.sections import PROJECT, WRITE, add
from minipach.cli.tables import show_table


class Shell(StrEnum):
    """A shell that commands can be completed in."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, PROJECT, init, doctor)
    add(app, PROJECT, print_completion, name="completion")
    add(app, WRITE, lock, accept, exclude)


@guarded
def init(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Create the project in DIR. [default: current directory]")
    ] = Path(),
) -> None:
    """Create a project, or adopt an existing superdataset.

    Example: minipach init study
    """
    from minipach.project.create import init_project

    here: Here = context.obj
    project, done = init_project(here.directory / folder)
    for line in done or [f"{project.root} is a minipach project already"]:
        show(line)
    if done:
        show(
            "next: datalad create -d . images; put files in; a folder with a spec.yml is a pipeline; minipach schedule"
        )


@guarded
def doctor(
    context: typer.Context,
    pod: Annotated[
        bool, typer.Option("--pod", help="On Kubernetes: also start a pod that tries to reach git and the stores.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Check this machine's setup and print a fix for each problem.

    Exit code 2: there is at least one problem.

    Example: minipach doctor
    """
    from minipach.views.doctor import examine

    here: Here = context.obj
    findings = examine(here.directory, worker=pod)
    if as_json:
        show_json({"schema": 1, "findings": [f.as_json() for f in findings]})
    else:
        cells = [[f.level, str(f)] for f in findings]
        show_table(["LEVEL", "FINDING"], cells)
    if any(f.level == "problem" for f in findings):
        raise typer.Exit(USER)


@guarded
def print_completion(
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="Select the shell.")],
) -> None:
    """Print the completion script of a shell.

    Completes commands, options, pipelines, datums, jobs and remotes. The first lines of the script say where to put it.

    Example: minipach completion bash > ~/.local/share/bash-completion/completions/minipach
    """
    from minipach.cli.completion import SCRIPTS

    show_exactly(SCRIPTS[shell.value].rstrip("\n"))


@guarded
def lock(
    context: typer.Context,
    pipeline: PIPELINE,
) -> None:
    """Record a pipeline's environment: this host, or its image tag.

    Without an image, commits a new fingerprint of the host to the pipeline's branch. With an image of a registry
    or a web address, fetches it again and commits what is there now. All datums of the pipeline run again.

    Example: minipach lock edges
    """
    from minipach.cli.common import say
    from minipach.environment.record_environment import lock_environment
    from minipach.project.lock import project_lock

    here: Here = context.obj
    project = here.project()
    path = project.path_of(pipeline)
    with project_lock(project.local.lock, wait=True, notify=say, without=[path]):
        changes = lock_environment(project, path)
    if not changes:
        show(f"{pipeline}: the environment on record is the one of now; nothing to do")
    for line in changes:
        show(line)


@guarded
def accept(
    context: typer.Context,
    pipeline: PIPELINE,
    why: Annotated[str, typer.Option("-m", "--message", metavar="WHY", help="Record the reason.")] = "",
    as_json: JSON = False,
) -> None:
    """Declare that a change of code or environment does not matter.

    Commits the declaration to the pipeline's branch. Published results stay current, with their true recipe on record.
    A change of the command or of inputs still counts. `minipach audit` checks the claim; `git revert` takes it back.

    Example: minipach accept edges -m 'only comments changed'
    """
    from minipach.cli.common import say
    from minipach.project.lock import project_lock
    from minipach.scheduling.accept import accept_changes
    from minipach.support.text import many

    here: Here = context.obj
    project = here.project()
    path = project.path_of(pipeline)
    with project_lock(project.local.lock, wait=True, notify=say):
        done = accept_changes(project, path, why)
    if as_json:
        show_json({"schema": 1, **done.as_json()})
        return
    for change in done.changes:
        show(f"{pipeline}: {change.kind} {change.new[:20]} counts as {change.old[:20]}")
    left = f"; {many(done.left, 'datum')} still to run" if done.left else ""
    show(f"{pipeline}: {many(done.kept, 'datum')} stay current{left}")
    show(f"next: minipach audit {pipeline}")


@guarded
def exclude(
    context: typer.Context,
    what: DATUM,
    reason: Annotated[str, typer.Option("-m", "--message", metavar="WHY", help="Record the reason.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take an exclusion back.")] = False,
    as_json: JSON = False,
) -> None:
    """Leave a datum out: write it into the spec, and commit that.

    The next schedule removes its output. Other datums stay as they are. `--undo` takes it back; then DATUM is as the
    spec has it.

    Example: minipach exclude edges:sub-03 -m 'it moved'
    """
    from minipach.cli.common import say
    from minipach.project.lock import project_lock
    from minipach.support.errors import Problem, UserError
    from minipach.support.text import quoted
    from minipach.templates.edit import committed_spec, datum_to_exclude, save_spec, with_datum, without_datum

    here: Here = context.obj
    project = here.project()
    pipeline, _, datum = what.partition(":")
    path = project.path_of(pipeline)
    if not datum:
        fix = f"minipach datums {pipeline}"
        raise UserError(Problem("datum.not-named", what, f"name one datum, as in {pipeline}:DATUM", fix))
    with project_lock(project.local.lock, wait=True, notify=say):
        if undo:
            spec = with_datum(committed_spec(project, path), datum)
        else:
            datum = datum_to_exclude(project, path, datum)
            spec = without_datum(committed_spec(project, path), datum, reason)
        saved = save_spec(
            project, spec, f"{'take in' if undo else 'leave out'} {datum}" + (f": {reason}" if reason else "")
        )
    name = project.name_of(path)
    back = f"minipach exclude {'' if undo else '--undo '}{quoted(f'{name}:{datum}')}"
    if as_json:
        show_json({"schema": 1, "pipeline": name, "datum": datum, "commit": saved.commit, "undo": back})
        return
    show(f"{name}: {datum} is {'no longer ' if undo else ''}left out as of commit {saved.commit[:12]}")
    show(f"to take it back: {back}; next: minipach schedule {name}")
