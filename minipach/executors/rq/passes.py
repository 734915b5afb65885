"""Passes of workers: a worker of a project also starts the passes that publish and submit what comes next.

Such a pass is `minipach go-on` in a process of its own, with the locks of each pass. The run of a set moves no branch.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from rq.executions import Execution
from rq.job import Job

from minipach.executors.rq.lane import RqWorker
from minipach.executors.rq.queue import QueueStore
from minipach.executors.stored_sets import set_ids
from minipach.git.child_environment import child_environment
from minipach.git.repo import Repo
from minipach.model.launch_protocol import PASS_GRACE
from minipach.project.background_command import start_minipach
from minipach.project.lock import holder_of_any
from minipach.project.project import Project
from minipach.records import pending_work
from minipach.support.processes import group_alive, signal_group

_LOOK = 5.0  # seconds between two looks whether something was lost; it must show twice
_MOST = 300.0  # and between two when nothing helps


class PassStarter:
    """At most one pass at a time, as a process of its own."""

    def __init__(self, project: Project, board: QueueStore, worker: RqWorker) -> None:
        self._project = project
        self._board = board
        self.worker = worker
        self._process: subprocess.Popen[bytes] | None = None
        self._task: tuple[Job, Execution] | None = None
        self._looked = time.monotonic()
        self._pause = _LOOK
        self._suspected = False
        self._due = 0.0, 0.0  # the deadline for which a pass was made last, and when that was
        self.healed = 0  # passes in a row that were asked for because something was lost

    @property
    def task(self) -> tuple[Job, Execution] | None:
        """The publish job that runs."""
        return self._task

    def progress(self) -> None:
        """Note that a set has run: what was lost before has been found."""
        self.healed = 0
        self._pause = _LOOK

    def turn(self) -> None:
        """Start a pass that is wanted, and take note of one that has ended."""
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._ended(self._process.returncode)
        if self._task is not None:
            return
        job = self._board.take(self._board.names.publish_queue, 1)
        if job is None:
            return
        self._board.client.delete(self._board.names.again)
        execution = self.worker.prepare_execution(job)
        self.worker.prepare_job_execution(job, True)
        self._task = (job, execution)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        log = self._project.local.worker_passes_log
        log.parent.mkdir(parents=True, exist_ok=True)
        mode = "wb" if log.is_file() and log.stat().st_size > 1_000_000 else "ab"
        with log.open(mode) as out:
            env = child_environment({"MINIPACH_EXECUTOR": "rq"})  # whatever the setting says now
            return start_minipach(self._project.root, ("go-on",), out, env)

    def _ended(self, code: int) -> None:
        assert self._task is not None
        job, execution = self._task
        queue = self._board.queue(self._board.names.publish_queue)
        again = bool(self._board.client.exists(self._board.names.again))
        if self._board.client.hexists(job.key, "status"):
            if code in (0, 1, 2):
                self.worker.finish(job, queue, execution, {"exit": code})
            else:
                self.worker.fail(job, queue, execution, f"the pass ended with {code}")
        else:
            self.worker.executions.pop(execution.id, None)
        self.worker.set_state("idle")
        self._task = self._process = None
        if again or code < 0:
            self._board.request_pass()

    def look(self, *, at_once: bool = False) -> bool:
        """Return whether something was lost (what is to be done has no job submitted), or is overdue.
        Then a pass is made.

        at_once: even if it was not lost at the last look.
        """
        if not at_once and time.monotonic() - self._looked < self._pause:
            return False
        self._looked = time.monotonic()
        due = pending_work.due(self._project)
        paths = pending_work.paths(self._project)
        overdue = due is not None and time.time() > due and self._is_free(paths) and self._is_new(due)
        lost = overdue or (bool(paths) and self._is_free(paths) and self._is_lost(paths))
        act = lost and (self._suspected or overdue or at_once)
        self._suspected = lost and not act
        if act:
            self.healed += 1
            self._pause = min(_MOST, _LOOK * 2**self.healed)
            self._board.request_pass()
        return act

    def _is_new(self, due: float) -> bool:
        """Return whether no pass was made for this deadline of late."""
        if self._due[0] == due and time.monotonic() - self._due[1] < _MOST:
            return False
        self._due = due, time.monotonic()
        return True

    def _is_free(self, paths: Sequence[str]) -> bool:
        """Return whether nobody makes a pass of one of these pipelines, or is about to."""
        return holder_of_any(self._project.local.lock, paths) is None and not self._board.is_pass_pending()

    def _is_lost(self, paths: Sequence[str]) -> bool:
        on_its_way = False
        for path in paths:
            folder = self._project.root / path
            ids = sorted(set_ids(Repo(folder))) if (folder / ".git").exists() else []
            states = self._board.states(ids)
            if len(states) < len(ids):
                return True
            on_its_way = on_its_way or any(s in ("queued", "started") for s in states.values())
        return not on_its_way

    def end(self) -> None:
        """End the running pass. The next worker that is free makes it again."""
        if self._process is None:
            return
        process = self._process
        self._process = None
        with suppress(ProcessLookupError):
            process.terminate()
        deadline = time.monotonic() + PASS_GRACE
        while time.monotonic() < deadline and (process.poll() is None or group_alive(process.pid)):
            time.sleep(0.05)
        signal_group(process.pid, 9)
        process.wait()

    def hand_back(self) -> None:
        """Record in Redis that the pass was not made to its end."""
        if self._task is not None:
            job, execution = self._task
            self._task = None
            self.worker.hand_back(job, self._board.queue(self._board.names.publish_queue), execution)
