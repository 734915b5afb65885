"""`worker`, `up`, `down`: who runs sets for the executor `rq`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from minipach.cli.common import INTERRUPTED, Here, guarded, say, show
from minipach.cli.options import SLOTS
from minipach.cli.sections import WORKERS, add
from minipach.cli.units import UNIT, show_unit
from minipach.support.errors import Problem, UserError


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, WORKERS, worker, up, down)


@guarded
def worker(
    context: typer.Context,
    jobs: SLOTS = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue", metavar="CLASS", help="Run only sets of these classes, such as 'gpu*'. [default: all that fit]"
        ),
    ] = None,
    gpus: Annotated[
        str | None, typer.Option("--gpus", metavar="IDS", help="Use these GPUs, such as 0,1. [default: all]")
    ] = None,
    gpu_type: Annotated[
        str | None,
        typer.Option("--gpu-type", metavar="TYPE", help="Set the type of the GPUs, as in resource requests."),
    ] = None,
    cpus: Annotated[float | None, typer.Option("--cpus", metavar="N", help="Use up to N CPUs. [default: all]")] = None,
    memory: Annotated[
        str | None,
        typer.Option("--memory", metavar="SIZE", help="Use up to SIZE of memory, such as 32G. [default: all]"),
    ] = None,
    clone: Annotated[
        str | None,
        typer.Option(
            "--clone",
            metavar="URL",
            help="Work in private clones of the project at URL, without a shared file system.",
        ),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option("--store", metavar="STORE", help="With --clone: send outputs to this store of the project."),
    ] = None,
    cache: Annotated[
        str, typer.Option("--cache", metavar="SIZE", help="Keep up to SIZE of file contents in the clones.")
    ] = "10G",
    burst: Annotated[bool, typer.Option("--burst", help="Stop when the queue is empty.")] = False,
    unit: UNIT = False,
) -> None:
    """Run queued datum sets from Redis (executor rq).

    Publishes results and submits the next sets, until you stop it. Finds Redis through MINIPACH_REDIS or the setting
    minipach.redis.

    Example: minipach worker -j 8 --gpus 0,1 --memory 32G,
    or minipach -C /scratch/worker worker --clone ssh://lab/data/project
    """
    from minipach.executors.clones import Clones, address
    from minipach.executors.rq.capacity import check_queues, make_capacity, size_of
    from minipach.executors.rq.clone_workspace import CloneWorkspace
    from minipach.executors.rq.connection import check, connect
    from minipach.executors.rq.names import Names, project_id
    from minipach.executors.rq.queue import QueueStore
    from minipach.executors.rq.shared_workspace import SharedWorkspace
    from minipach.executors.rq.supervisor import WorkerOptions, WorkerSupervisor
    from minipach.project.settings import slots

    here: Here = context.obj
    capacity = make_capacity(gpus, gpu_type, cpus, memory, notify=say)
    queues = check_queues(queue or [], capacity)
    size = size_of("--cache", cache)
    if unit:
        root = here.project().root if clone is None else Path(os.path.realpath(here.directory))
        show_unit(context, root, kill_children=True)
        return
    if clone is None:
        if store:
            fix = "add --clone URL; else push the results with minipach push"
            raise UserError(Problem("option.needs-another", "--store", "only workers with --clone use it", fix))
        place = SharedWorkspace(here.project())
    else:
        folder = Path(os.path.realpath(here.directory))
        clones = Clones(folder, address(clone))
        clones.use_stores(store or [], say)
        place = CloneWorkspace(clones, size)
    count = slots(place.repo, jobs) if jobs != 0 else 0
    client = connect(place.repo)
    check(client, place.repo)
    board = QueueStore(client, Names(project_id(place.repo, place.remote)))
    if place.project is not None:
        board.claim(place.project.root)
    elif not board.is_claimed():
        say(
            f"{clone}: Redis knows no such project yet; minipach schedule there makes it known "
            "(with a bare repository between, git config minipach.project-id NAME, on both sides)"
        )
    plan = WorkerOptions(count, capacity, queues, burst)
    ended = WorkerSupervisor(place, client, board, plan, say).run()
    client.close()
    if ended:
        say("ended; what ran was handed back")
    if ended == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


@guarded
def up(
    context: typer.Context,
    jobs: SLOTS = None,
    store: Annotated[
        bool, typer.Option("--store", help="Start a private S3 server, too, and set it up as the store local.")
    ] = False,
) -> None:
    """Start a private Redis server and a worker in the background.

    Uses them as the executor of the project from now on. The S3 server of --store is SeaweedFS. With it, minipach serve
    runs, too: an upload into a bucket that is an input starts a pass.

    Example: minipach up -j 4, or minipach up --store
    """
    from minipach.executors.rq.private_server import up as start
    from minipach.executors.rq.private_store import start as start_store
    from minipach.executors.rq.private_store import start_receiver
    from minipach.project.settings import slots
    from minipach.triggers.receiver_status import serves

    here: Here = context.obj
    project = here.project()
    slots(project.repo, jobs)  # a wrong setting is reported before anything is started
    if store:
        start_store(project, say)
        project = here.project()
    start(project, jobs, say)
    if store:
        start_receiver(project, say, lambda: serves(project))


@guarded
def down(context: typer.Context) -> None:
    """Stop what `minipach up` started.

    Queued sets are kept. They continue after the next `minipach up`. The data of a private S3 server stay.

    Example: minipach down
    """
    from minipach.executors.rq.private_server import down as stop
    from minipach.executors.rq.private_store import receiver, service
    from minipach.executors.rq.private_store import stop as stop_store

    here: Here = context.obj
    project = here.project()
    heard = receiver(project).stop()  # first: it starts passes
    if heard:
        say(f"ended: {receiver(project).what}")
    ended = stop(project, say)
    if stop_store(project):
        say(f"ended: {service(project).what}")
    elif not (ended or heard):
        show("nothing runs")
