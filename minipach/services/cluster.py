"""Services that a cluster runs: what is wanted is applied when it changes, and the cluster does the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from minipach.executors.service_host import ServiceHost
from minipach.git.git_error import GitError
from minipach.project.project import Project
from minipach.records.service_state import ServiceState, Supervising, is_stopped_by_hand, write_state
from minipach.services.wanted import places, tips_of, wanted
from minipach.support.errors import UserError

_START = 180.0  # seconds until services serve: a cluster may have to fetch an image
_PACE = 3.0  # seconds between two questions to the cluster
_LOOK = 60.0  # seconds between two looks at the cluster, or at what no branch shows
_TURN = 1.0


def start(project: Project, host: ServiceHost, paths: Sequence[str]) -> list[ServiceState]:
    """Apply services, and wait until they serve. Raises UserError."""
    for path in paths:
        if (work := wanted(project, path).work) is not None:
            host.apply(path, work)
    deadline = time.monotonic() + _START
    while True:
        found = noted(project, host.states(paths))
        if all(one.state not in ("starting", "updating") for one in found) or time.monotonic() > deadline:
            return found
        time.sleep(_PACE)


def noted(project: Project, found: list[ServiceState]) -> list[ServiceState]:
    """Write down how services are in the cluster, for `status`, and return that."""
    for one in found:
        write_state(project.local, one)
    return found


class ClusterSupervisor:
    """Applies the services of a project when their datums change, until `end`. They stay in the cluster."""

    def __init__(
        self, project: Project, host: ServiceHost, notify: Callable[[str], None], only: Sequence[str] = ()
    ) -> None:
        """Take the arguments of `Supervisor`. Raises UserError where another supervisor has the project."""
        self._root = project.root
        self._host = host
        self._notify = notify
        self._only = frozenset(only)
        self._lock = Supervising(project.local)
        self._ended = threading.Event()
        self._seen: dict[str, tuple[object, float]] = {}
        self._applied: dict[str, str | None] = {}
        self._reported: dict[str, str] = {}
        self._asked = 0.0

    def end(self) -> None:
        """Have `run` return soon."""
        self._ended.set()

    def run(self) -> None:
        """Supervise until `end`."""
        try:
            while not self._ended.wait(_TURN):
                try:
                    self._turn(Project(self._root))
                except (UserError, GitError) as error:
                    self._say("", str(error).splitlines()[0])
        finally:
            self._lock.release()

    def _turn(self, project: Project) -> None:
        """Apply the services whose datum is another one, and ask for the states of all from time to time."""
        paths = [path for path in project.services if not self._only or path in self._only]
        applied = [self._apply(project, path) for path in paths]
        if any(applied) or time.monotonic() - self._asked > _LOOK:
            self._asked = time.monotonic()
            for one in noted(project, self._host.states(paths)):
                self._say(one.path, f"{one.state} {one.address} {one.why}".strip())

    def _apply(self, project: Project, path: str) -> bool:
        """Apply a service if its datum is another one; return whether that was done."""
        if is_stopped_by_hand(project.local, path):
            return False
        tips, (seen, looked) = tips_of(places(project, path)), self._seen.get(path, (None, 0.0))
        if tips == seen and time.monotonic() - looked < _LOOK:
            return False
        try:
            goal = wanted(project, path)
            if goal.work is not None and self._applied.get(path) != goal.datum:
                self._host.apply(path, goal.work)
                self._say(path, f"applied datum {str(goal.datum)[:12]}")
                self._applied[path] = goal.datum
                return True
        except UserError as error:
            self._say(path, str(error.problems[0]))
            return False
        finally:
            self._seen[path] = (tips, time.monotonic())
        return False

    def _say(self, path: str, line: str) -> None:
        if self._reported.get(path) != line:
            self._reported[path] = line
            self._notify(f"{path}: {line}" if path else line)
