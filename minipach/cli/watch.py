"""`watch`: start jobs by themselves when a repo has changed, without hooks."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from minipach.cli.common import INTERRUPTED, Here, guarded
from minipach.cli.sections import RUN, add
from minipach.cli.units import UNIT, show_unit


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, RUN, watch)
    app.command("save-files", hidden=True)(save_files)


@guarded
def watch(
    context: typer.Context,
    look: Annotated[
        float | None,
        typer.Option(
            "--look", min=1, max=86400, metavar="SECONDS", help="Look at all repos this often. [default: 300]"
        ),
    ] = None,
    poll: Annotated[
        bool, typer.Option("--poll", help="Read the branches every 5 s, for file systems that report no changes.")
    ] = False,
    save: Annotated[
        list[str] | None,
        typer.Option(
            "--save",
            metavar="PATTERN",
            help="Save new files that match this glob, such as 'images/incoming/**', when they are complete.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="Never save these: a glob of paths, or of names."),
    ] = None,
    quiet: Annotated[
        float,
        typer.Option("--quiet", min=0.1, metavar="SECONDS", help="Files are complete after SECONDS without a change."),
    ] = 5.0,
    unit: UNIT = False,
) -> None:
    """Watch the branches, and run `schedule` when one moves.

    Runs until you stop it.

    It needs no hooks, and does no harm together with them. It watches branches, never data. Passes run in processes
    of their own. They continue if you stop the watcher.

    With --save, it also watches folders for new files. Hidden names and partial uploads are left alone. Your other
    uncommitted changes stay uncommitted.

    Example: minipach watch --save 'images/incoming/**'
    """
    from minipach.cli.schedule import reporting
    from minipach.support.errors import Problem, UserError
    from minipach.triggers.drop_folder import DropOptions
    from minipach.triggers.watcher import Watcher, watch_options

    here: Here = context.obj
    project = here.project()
    options = watch_options(project, look=look, poll=poll)
    if exclude and not save:
        raise UserError(Problem("option.conflict", "", "--exclude needs --save", "add --save PATTERN"))
    drop = DropOptions(tuple(save), tuple(exclude or ()), quiet) if save else None
    if unit:
        show_unit(context, project.root, kill_children=False)
        return
    ended: list[int] = []
    with reporting() as terminal:
        watcher = Watcher(project, options, terminal, drop)

        def end(number: int, _frame: object) -> None:
            ended.append(number)
            watcher.end()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        watcher.run()
    if signal.SIGINT in ended:
        raise typer.Exit(INTERRUPTED)


@guarded
def save_files(context: typer.Context) -> None:
    """Save the files that standard input names, each with a NUL after it. The watcher runs this command."""
    from minipach.triggers.save_files import files_of
    from minipach.triggers.save_files import save_files as save

    here: Here = context.obj
    save(here.project(), files_of(sys.stdin.buffer.read()))
