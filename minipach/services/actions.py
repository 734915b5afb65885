"""Start and stop the supervisor of a project, or one of its services, from another process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from minipach.executors.registry import chosen as chosen_backend
from minipach.executors.service_host import NO_CLUSTER
from minipach.git.repo import Repo, is_dataset
from minipach.git.worktrees import clean_up
from minipach.project.background_command import start_minipach
from minipach.project.project import Project
from minipach.records.service_state import ServiceState, name_of, read_state, stop_by_hand, supervisor
from minipach.services import cluster
from minipach.services.wanted import wanted
from minipach.support.errors import Problem, UserError
from minipach.support.text import many

_START = 90.0  # seconds until services serve, or can't
_END = 60.0
_PAUSE = 0.1


def named_services(project: Project, names: Sequence[str]) -> tuple[str, ...]:
    """Return the paths of the services that are named (all, if none is). Raises UserError for another pipeline."""
    if not names:
        return project.services
    found = []
    for name in names:
        path = project.path_of(name)
        if path in project.problems:
            raise UserError(project.problems[path])
        if path not in project.services:
            fix = "write `service: {internal_port: N}` in its spec"
            raise UserError(Problem("service.none", name, "this pipeline is no service", fix))
        found.append(path)
    return tuple(dict.fromkeys(found))


def need_services(project: Project) -> None:
    """Raise UserError where the project has no service."""
    if not project.services:
        broken = [problem for path in project.problems for problem in project.problems[path]]
        fix = "write `service: {internal_port: N}` in a spec"
        raise UserError(broken or Problem("service.none", "", "no pipeline has `service` in its spec", fix))


def states(project: Project, paths: Sequence[str]) -> list[ServiceState]:
    """Return how services are. Raises UserError where the cluster that runs them is away."""
    if paths and (host := chosen_backend(project).service_host(project)) is not None:
        return cluster.noted(project, host.states(paths))
    return [read_state(project.local, path) for path in paths]


def start(project: Project, paths: Sequence[str], notify: Callable[[str], None]) -> list[ServiceState]:
    """Have services run: by the supervisor that is there, else by one in the background; wait until they serve.

    Raises UserError where no supervisor can be started.
    """
    local = project.local
    for path in paths:
        stop_by_hand(local, path, stopped=False)
    if (host := chosen_backend(project).service_host(project)) is not None:
        return cluster.start(project, host, paths)
    began = time.time()
    if supervisor(local) is None:
        for path in paths:  # what an earlier supervisor has written is no answer
            with contextlib.suppress(FileNotFoundError):
                (local.services / f"{name_of(path)}.json").unlink()
        process = _start_supervisor(project)
        while not (number := supervisor(local)):  # 0: it has the lock, and has not written its number yet
            if process.poll() is not None or time.time() - began > _START:
                log = local.services / "supervisor.log"
                raise UserError(Problem("service.no-supervisor", "services", "the supervisor has ended", f"see {log}"))
            time.sleep(_PAUSE)
        notify(f"supervisor: process {number}")
    while True:
        found = states(project, paths)
        settled = all(one.state in ("serving", "updating", "crashed", "blocked") or _waits(one) for one in found)
        if settled or time.time() - began > _START or supervisor(local) is None:
            return found
        time.sleep(_PAUSE)


def manifests(project: Project, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return the objects of services as a cluster takes them. Raises UserError where the executor has no cluster."""
    host = chosen_backend(project).service_host(project)
    if host is None:
        raise UserError(NO_CLUSTER)
    found = []
    for path in paths:
        work = wanted(project, path).work
        found += host.manifests(path, work) if work is not None else []
    return found


def _waits(state: ServiceState) -> bool:
    """Return whether a service waits for its input; one of which nothing is known yet has no reason."""
    return state.state == "waiting" and bool(state.why)


def stop(project: Project, paths: Sequence[str]) -> list[ServiceState]:
    """Stop services; the supervisor stays for the others, and they stay stopped until they are started."""
    for path in paths:
        stop_by_hand(project.local, path, stopped=True)
    if (host := chosen_backend(project).service_host(project)) is not None:
        host.remove(paths)
        return cluster.noted(project, host.states(paths))
    deadline = time.monotonic() + _END
    while time.monotonic() < deadline and supervisor(project.local) is not None:
        if all(one.state == "stopped" for one in states(project, paths)):
            break
        time.sleep(_PAUSE)
    return states(project, paths)


def stop_all(project: Project) -> str:
    """End the supervisor with all services, those in a cluster, too. Return what was done, in a line.

    What a supervisor that was killed has left is ended.

    Raises UserError where it does not end.
    """
    process, done = supervisor(project.local), list[str]()
    if (host := chosen_backend(project).service_host(project)) is not None:
        host.remove(project.services)
        cluster.noted(project, host.states(project.services))
        done.append(f"removed {many(len(project.services), 'service')} from the cluster")
    if process:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + _END
    while supervisor(project.local) is not None:
        if time.monotonic() > deadline:
            raise UserError(Problem("service.no-end", "services", f"process {process} does not end", f"kill {process}"))
        time.sleep(_PAUSE)
    for path in project.services:
        if process is None and is_dataset(project.root / path):
            clean_up(Repo(project.root / path))
    if process is not None:
        done.append(f"process {process} has ended, and all services")
    return "; ".join(done) or "no services run"


def _start_supervisor(project: Project) -> subprocess.Popen[bytes]:
    folder = project.local.services
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "supervisor.log").open("wb") as log:
        return start_minipach(project.root, ("services", "run"), log)
