"""`services`: pipelines whose program runs until it is stopped."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import FAILED, INTERRUPTED, Here, guarded, say, show, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import OTHERS, RUN, Group, add
from minipach.cli.tables import show_table
from minipach.cli.units import UNIT, show_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minipach.project.project import Project
    from minipach.records.service_state import ServiceState

SERVICES = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PIPELINE]...", help="Select services by the names or paths of pipelines. [default: all]"),
]
SERVICE = Annotated[str, typer.Argument(metavar="PIPELINE", help="Select the service by its name or path.")]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(cls=Group, rich_markup_mode=None)
    family.callback(invoke_without_command=True)(services)
    add(family, OTHERS, list_, name="list")
    add(family, OTHERS, run, start, stop, logs, manifest)
    app.add_typer(family, name="services", rich_help_panel=RUN)


@guarded
def services(context: typer.Context, as_json: JSON = False) -> None:
    """List, start and stop services: programs that keep running.

    A service is replaced when the content id of its datum changes. The old program serves until the new one answers.

    Example: minipach services start
    """
    if context.invoked_subcommand is None:
        here: Here = context.obj
        project = here.project()
        _list(project, project.services, as_json=as_json)


@guarded
def list_(context: typer.Context, pipelines: SERVICES = None, as_json: JSON = False) -> None:
    """List services with their states, addresses and datums.

    Example: minipach services list --json
    """
    from minipach.services.actions import named_services

    here: Here = context.obj
    project = here.project()
    _list(project, named_services(project, pipelines or ()), as_json=as_json)


@guarded
def run(context: typer.Context, pipelines: SERVICES = None, unit: UNIT = False) -> None:
    """Supervise services in the foreground, until you stop it.

    Restarts a program that ends, after growing pauses. Stops all programs at its end. With executor kubernetes, it
    applies what changes, and the cluster's programs stay at its end. With --unit, prints a unit of systemd.

    Example: minipach services run --unit
    """
    from minipach.executors.registry import chosen as chosen_backend
    from minipach.services.actions import named_services, need_services
    from minipach.services.cluster import ClusterSupervisor
    from minipach.services.supervisor import ServiceSupervisor

    here: Here = context.obj
    project = here.project()
    need_services(project)
    only = named_services(project, pipelines) if pipelines else ()
    if unit:
        show_unit(context, project.root, kill_children=True)
        return
    ended: list[int] = []
    host = chosen_backend(project).service_host(project)
    supervisor = (
        ServiceSupervisor(project, show, only) if host is None else ClusterSupervisor(project, host, show, only)
    )

    def end(number: int, _frame: object) -> None:
        ended.append(number)
        supervisor.end()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    supervisor.run()
    if signal.SIGINT in ended:
        raise typer.Exit(INTERRUPTED)


@guarded
def start(context: typer.Context, pipelines: SERVICES = None, as_json: JSON = False) -> None:
    """Start services in the background, and wait until they answer.

    Exit code 1: one does not answer.

    Example: minipach services start api
    """
    from minipach.services import actions

    here: Here = context.obj
    project = here.project()
    actions.need_services(project)
    found = actions.start(project, actions.named_services(project, pipelines or ()), say)
    _show(project, found, as_json=as_json)
    if any(one.state not in ("serving", "updating") for one in found):
        raise typer.Exit(FAILED)


@guarded
def stop(context: typer.Context, pipelines: SERVICES = None) -> None:
    """Stop services. Those that you name stay stopped until you start them.

    Without names, the supervisor ends, too.

    Example: minipach services stop api
    """
    from minipach.services import actions

    here: Here = context.obj
    project = here.project()
    if pipelines:
        for one in actions.stop(project, actions.named_services(project, pipelines)):
            show(f"{project.name_of(one.path)}: {one.state}")
        return
    show(actions.stop_all(project))


@guarded
def manifest(context: typer.Context, pipelines: SERVICES = None) -> None:
    """Print the Deployment and the Service of services, and submit nothing.

    Example: minipach services manifest api
    """
    from minipach.services.actions import manifests, named_services, need_services

    here: Here = context.obj
    project = here.project()
    need_services(project)
    show_json(
        {"apiVersion": "v1", "kind": "List", "items": manifests(project, named_services(project, pipelines or ()))}
    )


@guarded
def logs(
    context: typer.Context,
    pipeline: SERVICE,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until you stop it.")] = False,
) -> None:
    """Print what the program of a service has printed.

    Example: minipach services logs api --follow
    """
    from minipach.records.service_state import log_of
    from minipach.services.actions import named_services
    from minipach.support.text import printable

    here: Here = context.obj
    project = here.project()
    (path,) = named_services(project, [pipeline])
    log, at, rest = log_of(project.local, path), 0, b""
    while True:
        data = b""
        if log.exists():
            with log.open("rb") as file:
                at = at if at <= log.stat().st_size else 0  # it began again
                file.seek(at)
                data = file.read(1 << 20)
            at += len(data)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            show(printable(line.decode(errors="replace")))
        if data:
            continue
        if not follow:
            if rest:
                show(printable(rest.decode(errors="replace")))
            return
        time.sleep(0.3)


def _list(project: Project, paths: Sequence[str], *, as_json: bool) -> None:
    from minipach.services.actions import states

    _show(project, states(project, paths), as_json=as_json)


def _show(project: Project, found: Sequence[ServiceState], *, as_json: bool) -> None:
    from minipach.records.service_state import supervisor

    process = supervisor(project.local)
    if as_json:
        data = [{"name": project.name_of(one.path), **one.as_json()} for one in found]
        show_json({"schema": 1, "supervisor": process, "services": data})
        return
    if not found:
        show("no services; a pipeline with `service` in its spec is one")
        return
    rows = [
        [
            project.name_of(one.path),
            one.state,
            one.address,
            one.datum[:12],
            datetime.fromtimestamp(one.since, UTC).strftime("%Y-%m-%d %H:%M:%S") if one.since else "",
            str(one.restarts),
            one.why,
        ]
        for one in found
    ]
    show_table(["SERVICE", "STATE", "ADDRESS", "DATUM", "SINCE (UTC)", "RESTARTS", "WHY"], rows)
    if process is None and not any(one.host for one in found):
        say("no supervisor runs; minipach services start")
