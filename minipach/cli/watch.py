"""`watch`: start jobs by themselves when a repo has changed, without hooks."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from minipach.cli.common import INTERRUPTED, Here, guarded
from minipach.cli.sections import RUN, add
from minipach.cli.units import UNIT, show_unit


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, RUN, watch)


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
    unit: UNIT = False,
) -> None:
    """Watch the branches, and run `schedule` when one moves.

    Runs until you stop it.

    It needs no hooks, and does no harm together with them. It watches branches, never data. Passes run in processes
    of their own. They continue if you stop the watcher.

    Example: minipach watch
    """
    from minipach.cli.schedule import reporting
    from minipach.triggers.watcher import Watcher, watch_options

    here: Here = context.obj
    project = here.project()
    options = watch_options(project, look=look, poll=poll)
    if unit:
        show_unit(context, project.root, kill_children=False)
        return
    ended: list[int] = []
    with reporting() as terminal:
        watcher = Watcher(project, options, terminal)

        def end(number: int, _frame: object) -> None:
            ended.append(number)
            watcher.end()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        watcher.run()
    if signal.SIGINT in ended:
        raise typer.Exit(INTERRUPTED)
