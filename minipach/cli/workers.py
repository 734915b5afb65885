"""`worker`, `up`, `down`: who runs sets for the executor `rq`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from minipach.cli.frame import INTERRUPTED, Here, guarded, say, show


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    for command in (worker, up, down):
        app.command()(command)


@guarded
def worker(
    context: typer.Context,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=0, metavar="N", help="Sets at once (default: the cores).")
    ] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option("--queue", metavar="CLASS", help="Only sets of such classes, as 'gpu*' (default: all that fit)."),
    ] = None,
    gpus: Annotated[
        str | None, typer.Option("--gpus", metavar="IDS", help="Its GPUs, as 0,1 (default: all of this machine).")
    ] = None,
    gpu_type: Annotated[
        str | None, typer.Option("--gpu-type", metavar="TYPE", help="What they are, as a spec may ask for.")
    ] = None,
    cpus: Annotated[float | None, typer.Option("--cpus", metavar="N", help="CPUs for its sets (default: all).")] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="SIZE", help="Memory for its sets, as 32G (default: all).")
    ] = None,
    clone: Annotated[
        str | None,
        typer.Option(
            "--clone",
            metavar="URL",
            help="The project is there, and no filesystem is shared with it: work in private clones in this folder.",
        ),
    ] = None,
    cache: Annotated[
        str, typer.Option("--cache", metavar="SIZE", help="How much content the clones keep between sets.")
    ] = "10G",
    burst: Annotated[bool, typer.Option("--burst", help="End when there is nothing more to do.")] = False,
) -> None:
    """Run the sets of this project that a schedule has queued in Redis, publish, and go on, until you end it.

    For `minipach.executor rq`. Redis is where MINIPACH_REDIS or the setting minipach.redis says.

    Example: minipach worker -j 8 --gpus 0,1 --memory 32G,
    or minipach -C /scratch/worker worker --clone ssh://lab/data/project
    """
    from minipach.executors.redislink import check, connect
    from minipach.executors.roomoptions import check_queues, make_room, size_of
    from minipach.executors.rqboard import Board
    from minipach.executors.rqclone import ClonePlace, Clones, address
    from minipach.executors.rqnames import Names, project_id
    from minipach.executors.rqplace import Place
    from minipach.executors.rqworker import Plan, Supervisor
    from minipach.settings import slots

    here: Here = context.obj
    room = make_room(gpus, gpu_type, cpus, memory, tell=say)
    queues = check_queues(queue or [], room)
    size = size_of("--cache", cache)
    if clone is None:
        place = Place(here.project())
    else:
        folder = Path(os.path.realpath(here.directory))
        place = ClonePlace(Clones(folder, address(clone)), size)
    count = slots(place.repo, jobs) if jobs != 0 else 0
    client = connect(place.repo)
    check(client, place.repo)
    board = Board(client, Names(project_id(place.repo, place.remote)))
    if place.project is not None:
        board.claim(place.project.root)
    elif not board.is_claimed():
        say(
            f"{clone}: Redis knows no such project yet; minipach schedule there makes it known "
            "(with a bare repository between, git config minipach.project-id NAME, on both sides)"
        )
    plan = Plan(count, room, queues, burst)
    ended = Supervisor(place, client, board, plan, say).run()
    client.close()
    if ended:
        say("ended; what ran was handed back")
    if ended == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


@guarded
def up(
    context: typer.Context,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=0, metavar="N", help="Sets at once (default: the cores).")
    ] = None,
) -> None:
    """Start a Redis of this project's own and a worker, in the background, and hand over to them from now on.

    Example: minipach up -j 4
    """
    from minipach.executors.rqprivate import up as start
    from minipach.settings import slots

    here: Here = context.obj
    project = here.project()
    slots(project.repo, jobs)  # a setting that is wrong is told before anything is started
    start(project, jobs, say)


@guarded
def down(context: typer.Context) -> None:
    """End what `minipach up` has started. What was queued is kept: it goes on after the next `up`.

    Example: minipach down
    """
    from minipach.executors.rqprivate import down as stop

    here: Here = context.obj
    if not stop(here.project(), say):
        show("nothing runs")
