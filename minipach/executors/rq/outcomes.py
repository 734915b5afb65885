"""Outcomes of a worker, reported to Redis and to waiting schedules; the last sets of a pipeline request a pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from minipach.executors.rq.connection import Client
from minipach.executors.rq.lane import LaneJob, RqWorker
from minipach.executors.rq.queue import SOON, QueueStore
from minipach.executors.rq.shared_workspace import SharedWorkspace


class OutcomeReporter:
    """Keeps what it could not report, while Redis is away, until it can."""

    def __init__(self, place: SharedWorkspace, client: Client, board: QueueStore, progress: Callable[[], None]) -> None:
        """progress: called for each set that is reported."""
        self._place = place
        self._client = client
        self._board = board
        self._progress = progress
        self._pending: list[tuple[RqWorker, LaneJob, Callable[[], None]]] = []
        self._go_on: tuple[float, str] | None = None  # when to have a pass made although sets of a repo still run

    @property
    def waiting(self) -> list[tuple[RqWorker, LaneJob]]:
        """Outcomes that are not reported yet."""
        return [(worker, task) for worker, task, _ in list(self._pending)]  # asked from another thread, too

    def finished(self, worker: RqWorker, task: LaneJob, answer: Mapping[str, Any]) -> None:
        """Report the outcomes of a set."""

        def notify() -> None:
            self._place.after(self._client, self._board.names, task.set_id, answer)
            worker.finish(task.job, task.queue, task.execution, answer["outcomes"])

        self._add(worker, task, notify)

    def lost(self, worker: RqWorker, task: LaneJob, why: str) -> None:
        """Report a lost try: another worker may have the next one, unless somebody has stopped the set."""

        def notify() -> None:
            if task.stopped:
                self._place.forget(task.set_id)
            else:
                self._place.lost(self._client, self._board.names, task.set_id, task.before + 1)
            worker.fail(task.job, task.queue, task.execution, why, stopped=task.stopped)

        self._add(worker, task, notify)

    def no_more(self, worker: RqWorker, task: LaneJob, why: str) -> None:
        """Report a set that is not needed any more."""

        def notify() -> None:
            self._place.forget(task.set_id)
            task.job.retries_left = 0
            worker.fail(task.job, task.queue, task.execution, why)

        self._add(worker, task, notify)

    def _add(self, worker: RqWorker, task: LaneJob, do: Callable[[], None]) -> None:
        """Report as a whole, once Redis is there: who sees that a set has ended looks for its log."""
        task.ended = True
        self._pending.append((worker, task, do))

    def notify(self) -> None:
        """Report all outcomes that are not reported yet. Raises the errors of redis; the next call continues there."""
        while self._pending:
            worker, task, do = self._pending[0]
            if not self._client.hexists(task.job.key, "status"):
                if self._place.has_set(task.repo, task.set_id) and not task.stopped:
                    self.revive(worker, task)
                else:  # cancelled, or settled by somebody who had its result before
                    worker.executions.pop(task.execution.id, None)
                    self._place.forget(task.set_id)
                    self._pending.pop(0)
                    continue
            do()
            if not worker.executions:
                worker.set_state("idle")
            retried = self._client.hget(task.job.key, "status") == b"queued"
            self._pending.pop(0)
            if not retried:
                self._over(task)
        if self._go_on is not None and time.monotonic() >= self._go_on[0]:
            repo = self._go_on[1]
            self._go_on = None
            if self._board.left(repo) <= self._all_slots():  # a pass may have found more meanwhile
                self._board.request_pass()

    def _over(self, task: LaneJob) -> None:
        left = self._board.over(task.set_id, task.repo)
        if task.stopped and not self._place.has_set(task.repo, task.set_id):
            return  # cancelled: nobody wants a pass
        self._progress()
        if left == 0:
            self._board.request_pass()
        elif left <= self._all_slots() and self._go_on is None:
            self._go_on = time.monotonic() + (0 if self._board.is_early_pass_due() else SOON), task.repo

    def revive(self, worker: RqWorker, task: LaneJob) -> None:
        """Register a job of this worker again after Redis was emptied."""
        with self._client.pipeline() as pipe:
            task.job.save(pipeline=pipe)
            pipe.sadd(task.queue.redis_queues_keys, task.queue.key)
            pipe.sadd(self._board.names.left(task.repo), task.set_id)
            pipe.execute()
        task.execution = worker.prepare_execution(task.job)
        worker.prepare_job_execution(task.job, True)

    def _all_slots(self) -> int:
        return max(1, sum(int(facts.get("slots", 0)) for facts in self._board.workers().values()))
