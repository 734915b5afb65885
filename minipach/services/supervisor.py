"""The supervisor: it keeps the program of each service running, and replaces it when its datum is another one."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from minipach.git.git_error import GitError
from minipach.git.repo import Repo, is_dataset
from minipach.git.worktrees import clean_up
from minipach.model.pipeline import Service
from minipach.project.project import Project
from minipach.records.service_state import (
    ServiceState,
    Supervising,
    is_stopped_by_hand,
    log_of,
    write_state,
)
from minipach.services.decide import SETTLED, START_LIMIT, Running, Situation, decide, state_word
from minipach.services.front import ADDRESS, Front, Loop
from minipach.services.instance import Instance
from minipach.services.wanted import WantedService, places, tips_of, wanted
from minipach.support.errors import Problem, UserError

_BUSY = 0.1  # seconds between two turns while something starts
_CALM = 1.0  # and while all is as it should be
_LOOK = 60.0  # seconds between two looks at what no branch shows, such as the host's packages
_DRAIN = 5.0  # seconds for open connections of a program that was replaced
_LOG_SIZE = 20_000_000  # bytes of a log, after which it begins again; the one before is kept


@dataclass
class _Watched:
    """One service. serving, coming: its programs · failures: of the datum `failed`, in a row, the last one at `at`."""

    path: str
    service: Service
    front: Front
    folders: tuple[Path, ...]
    wanted: WantedService | None = None
    problem: str = ""
    serving: Instance | None = None
    coming: Instance | None = None
    failed: str = ""
    failures: int = 0
    at: float = 0.0
    restarts: int = 0
    since: float = 0.0
    why: str = ""
    seen: object = None
    looked: float = 0.0
    shown: ServiceState | None = None
    old: list[tuple[Instance, float]] = field(default_factory=list)


def _as_problem(error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return UserError(Problem("service.unknown-datum", "", line, "minipach check"))


def _running(instance: Instance | None) -> Running | None:
    return Running(instance.datum, instance.state, instance.seconds) if instance is not None else None


class ServiceSupervisor:
    """The supervisor of a project's services. `run` returns when `end` was called."""

    def __init__(self, project: Project, notify: Callable[[str], None], only: Sequence[str] = ()) -> None:
        """notify: gets a line when something changes · only: the paths of services (empty: all).

        Raises UserError where another supervisor has the project.
        """
        self._root = project.root
        self._local = project.local
        self._notify = notify
        self._only = frozenset(only)
        self._lock = Supervising(project.local)
        self._ended = threading.Event()
        self._loop = Loop()
        self._services: dict[str, _Watched] = {}
        self._looking: Future[dict[str, WantedService | UserError]] | None = None
        self._pool = ThreadPoolExecutor(1)
        self._enders = ThreadPoolExecutor(4)
        self._project = project
        self._take_over(project)
        self._list(project)

    def end(self) -> None:
        """Have `run` return soon. Signal handlers call it."""
        self._ended.set()

    def run(self) -> None:
        """Supervise until `end`; then end all programs."""
        try:
            while not self._ended.is_set():
                self._look()
                is_busy = [self._turn(one) for one in self._services.values()]
                self._ended.wait(_BUSY if any(is_busy) or self._looking is not None else _CALM)
        finally:
            for one in self._services.values():
                one.front.close()
                for instance in (one.serving, one.coming, *(old for old, _ in one.old)):
                    if instance is not None:
                        instance.ask_to_end()
            for one in self._services.values():
                self._close(one)
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._enders.shutdown(wait=True)
            self._loop.close()
            self._lock.release()

    def _take_over(self, project: Project) -> None:
        """End what a supervisor that was killed has left running."""
        for path in project.services:
            if is_dataset(project.root / path):
                with contextlib.suppress(GitError, OSError):
                    clean_up(Repo(project.root / path))

    def _list(self, project: Project) -> None:
        """Take up the services of a project as it is now, and leave those that are none any more."""
        chosen = [path for path in project.services if not self._only or path in self._only]
        for path in [path for path in self._services if path not in chosen]:
            self._close(self._services.pop(path))
        for path in chosen:
            service = project.pipelines[path].service
            assert service is not None
            one = self._services.get(path)
            if one is None:
                front = Front(self._loop, service.external)
                self._services[path] = _Watched(path, service, front, places(project, path))
            else:
                one.folders = places(project, path)
                if one.service.external != service.external:
                    one.front.close()
                    one.front = Front(self._loop, service.external)
                    if one.serving is not None:
                        self._open(one, one.serving)
                one.service = service

    def _close(self, one: _Watched) -> None:
        one.front.close()
        for instance in (one.serving, one.coming, *(old for old, _ in one.old)):
            if instance is not None:
                instance.end()
        write_state(self._local, ServiceState(one.path, "stopped", restarts=one.restarts))

    # --- what is wanted ---

    def _look(self) -> None:
        """Find out what each service is to run, aside, where branches have moved or some time has passed."""
        if self._looking is not None:
            if self._looking.done():
                found, self._looking = self._looking.result(), None
                self._take(found)
            return
        now, due = time.monotonic(), []
        for one in self._services.values():
            seen = tips_of(one.folders)
            if seen != one.seen or now - one.looked >= _LOOK:
                one.seen, one.looked = seen, now
                due.append(one.path)
        if due or (not self._services and now % _LOOK < _CALM):
            self._looking = self._pool.submit(self._find, due)

    def _find(self, due: Sequence[str]) -> dict[str, WantedService | UserError]:
        """Return what services are to run. In a thread: it may fetch an image."""
        project = Project(self._root)
        try:
            _ = project.services
        except (UserError, GitError, OSError) as error:  # the project can't be read just now
            return dict.fromkeys(due, _as_problem(error))
        self._project = project
        found: dict[str, WantedService | UserError] = {}
        for path in due:
            try:
                found[path] = wanted(project, path)
            except (UserError, GitError, OSError, KeyError) as error:
                found[path] = _as_problem(error)
        return found

    def _take(self, found: dict[str, WantedService | UserError]) -> None:
        self._list(self._project)
        for path, answer in found.items():
            one = self._services.get(path)
            if one is None:
                continue
            if isinstance(answer, UserError):
                one.problem = str(answer.problems[0])  # what serves stays
                continue
            one.problem = ""
            one.wanted = answer
            if answer.datum != one.failed:
                one.failures, one.failed = 0, ""
                one.why = ""

    # --- what runs ---

    def _turn(self, one: _Watched) -> bool:
        """Do what is due for one service; return whether more is soon."""
        for instance in (one.serving, one.coming):
            if instance is not None:
                instance.advance()
        is_stopped = is_stopped_by_hand(self._local, one.path)
        while (action := decide(self._situation(one, is_stopped=is_stopped))) != "keep":
            self._do(one, action)
            if action == "start":
                break
        self._end_old(one)
        now = self._situation(one, is_stopped=is_stopped)
        settled = one.serving is not None and one.serving.seconds > SETTLED
        if settled and one.coming is None:
            one.failures = 0
        self._rotate(one)
        self._note(one, now, is_stopped=is_stopped)
        return one.coming is not None or bool(one.old) or bool(one.failures)

    def _situation(self, one: _Watched, *, is_stopped: bool) -> Situation:
        goal = None if is_stopped or one.wanted is None else one.wanted.datum
        return Situation(goal, _running(one.serving), _running(one.coming), one.failures, time.monotonic() - one.at)

    def _do(self, one: _Watched, action: str) -> None:
        if action == "start":
            assert one.wanted is not None and one.wanted.work is not None
            one.coming = Instance(one.wanted.work, one.service, log_of(self._local, one.path))
        elif action == "switch":
            assert one.coming is not None
            if self._open(one, one.coming):
                if one.serving is not None:
                    one.old.append((one.serving, time.monotonic()))
                one.serving, one.coming = one.coming, None
                one.since, one.why = time.time(), ""
            else:
                self._fail(one, one.coming, one.why)
                self._end(one.coming)
                one.coming = None
        elif action in ("drop", "fail"):
            assert one.coming is not None
            if action == "fail":
                self._fail(one, one.coming, one.coming.why or self._silence(one))
            self._end(one.coming)
            one.coming = None
        elif action in ("lose", "stop"):
            assert one.serving is not None
            if action == "lose":
                self._fail(one, one.serving, one.serving.why)
            one.front.close()
            self._end(one.serving)
            one.serving, one.since = None, 0.0

    def _fail(self, one: _Watched, instance: Instance, why: str) -> None:
        one.failures = one.failures + 1 if one.failed == instance.datum else 1
        one.failed, one.at, one.why = instance.datum, time.monotonic(), why
        one.restarts += 1

    def _silence(self, one: _Watched) -> str:
        check = f"GET {one.service.health}" if one.service.health else "a connection"
        return f"it did not answer {check} on port {one.service.port} in {START_LIMIT:g} s"

    def _open(self, one: _Watched, instance: Instance) -> bool:
        """Pass new connections on to a program; return whether the port is ours."""
        try:
            one.front.serve(instance.connect)
        except OSError as error:
            one.why = f"port {one.service.external} of {ADDRESS} can't be used: {os.strerror(error.errno or 0)}"
            return False
        return True

    def _end_old(self, one: _Watched) -> None:
        """End the programs that were replaced, when their connections are closed or have had their time."""
        now = time.monotonic()
        keep = []
        for instance, since in one.old:
            if one.front.in_use(instance.connect) and now - since < _DRAIN:
                keep.append((instance, since))
            else:
                self._end(instance)
        one.old = keep

    def _end(self, instance: Instance) -> None:
        self._enders.submit(instance.end)

    def _rotate(self, one: _Watched) -> None:
        log = log_of(self._local, one.path)
        with contextlib.suppress(OSError):
            if log.stat().st_size > _LOG_SIZE:
                log.with_suffix(".log.1").write_bytes(log.read_bytes())
                os.truncate(log, 0)

    def _note(self, one: _Watched, now: Situation, *, is_stopped: bool) -> None:
        """Write down how a service is, if that has changed, and report it."""
        word = state_word(now, is_stopped=is_stopped, problem=one.problem)
        state = ServiceState(
            one.path,
            word,
            datum=one.serving.datum if one.serving else "",
            coming=one.coming.datum if one.coming else "",
            address=f"{ADDRESS}:{one.service.external}" if one.serving else "",
            since=round(one.since, 3),
            restarts=one.restarts,
            why=""
            if word == "stopped"
            else one.problem or one.why or (one.wanted.why if one.wanted and one.wanted.datum is None else ""),
        )
        if state == one.shown:
            return
        write_state(self._local, state)
        if one.shown is None or (state.state, state.why, state.datum) != (
            one.shown.state,
            one.shown.why,
            one.shown.datum,
        ):
            where = f" at {state.address}" if state.address else ""
            datum = f", datum {state.datum[:12]}" if state.datum else ""
            why = f": {state.why}" if state.why else ""
            self._notify(f"{one.path}: {word}{where}{datum}{why}")
        one.shown = state
