"""The view of Redis and the workers' heartbeats: who runs what, and why the rest waits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from minipach.executors.resources import ResourceClass
from minipach.executors.rq.capacity import Offer, nobody_for
from minipach.executors.rq.connection import AWAY, away, check, connect
from minipach.executors.rq.names import Names, project_id
from minipach.executors.rq.queue import QueueStore, read_or_none
from minipach.executors.view import ExecutorState, Looker, WaitingSets, Worker
from minipach.model.work_set import Outcome
from minipach.project.project import Project
from minipach.support.errors import UserError
from minipach.support.text import many

_OVER = frozenset({"finished", "failed", "stopped", "canceled"})


def looker(project: Project) -> Looker:
    """Return what looks at the project's queues, and at what serves them."""
    return _Look(project).look


class _Look:
    def __init__(self, project: Project) -> None:
        self._repo = project.repo
        self._client = connect(project.repo)
        check(self._client, project.repo)
        self._board = QueueStore(self._client, Names(project_id(project.repo)))
        self._ended: dict[str, tuple[Outcome, ...]] = {}

    def look(self, sets: Mapping[str, str]) -> ExecutorState:
        """Return what there is now. UserError where Redis is away."""
        board = self._board
        try:
            facts = board.workers()
            at_work = _running(board)
            runs = {name: tuple((run.what, run.seconds) for run in found) for name, found in at_work.items()}
            workers = tuple(Worker(name, _has(row), runs.get(name, ())) for name, row in sorted(facts.items()))
            waiting = tuple(_waiting(board, facts, at_work))
            states = board.states(list(sets))
            new = [i for i, state in states.items() if state in _OVER and i not in self._ended]
            for set_id, ended in board.ended(new).items():
                self._ended[set_id] = ended.outcomes or (Outcome(set_id, "lost", 1, ended.message, 0.0, 0, "", ""),)
        except AWAY as error:
            raise UserError(away(self._repo, error)) from None
        over = {i: self._ended[i] for i, state in states.items() if state in _OVER and i in self._ended}
        self._ended = over  # one that was queued again is again
        running = frozenset(i for i, state in states.items() if state == "started")
        return ExecutorState(workers, waiting, running, tuple(outcome for found in over.values() for outcome in found))


def _has(facts: Mapping[str, Any]) -> str:
    offer = Offer.of(facts)
    return f"{many(offer.slots, 'slot')}, {offer.capacity.text}" + (
        f", {' '.join(offer.queues)}" if offer.queues else ""
    )


def waiting_in_vain(project: Project) -> list[WaitingSets]:
    """Return the sets that no worker which serves the project now could ever run.

    UserError where Redis can't be asked.
    """
    with closing(connect(project.repo)) as client:
        board = QueueStore(client, Names(project_id(project.repo)))
        try:
            return [row for row in _waiting(board, board.workers(), {}) if row.in_vain]
        except RedisError as error:
            raise UserError(away(project.repo, error)) from None


@dataclass(frozen=True, slots=True)
class _Run:
    what: str
    seconds: float
    kind: ResourceClass


def _running(board: QueueStore) -> dict[str, list[_Run]]:
    """Return what each worker runs, by its name."""
    found: dict[str, list[_Run]] = {}
    for name, kind in board.queues().items():
        registry = board.queue(name).started_job_registry
        for ident in read_or_none(partial(registry.get_job_ids, cleanup=False)) or ():
            job = board.job(ident)
            if job is None:
                continue
            started = job.started_at.replace(tzinfo=UTC).timestamp() if job.started_at else time.time()
            # a worker's slots are named after it, with a number behind
            worker = str(job.worker_name or "?").rpartition(".")[0]
            found.setdefault(worker, []).append(_Run(str(job.description), max(0.0, time.time() - started), kind))
    return found


def _waiting(
    board: QueueStore, facts: Mapping[str, Mapping[str, Any]], at_work: Mapping[str, Sequence[_Run]]
) -> Iterator[WaitingSets]:
    offers = {name: Offer.of(row) for name, row in facts.items()}
    for name, offer in offers.items():
        for run in at_work.get(name, ()):
            offer.capacity.take(run.kind)
    for name, kind in sorted(board.queues().items()):
        count = board.to_do(name)
        if count:
            nobody = nobody_for(kind, list(offers.values()))
            fix = "" if any(offer.slots for offer in offers.values()) else "; minipach worker, or minipach up"
            why = nobody + fix if nobody else _busy(board, name, kind, offers, at_work)
            yield WaitingSets(count, kind.name, why, bool(nobody))


def _busy(
    board: QueueStore,
    name: str,
    kind: ResourceClass,
    offers: Mapping[str, Offer],
    at_work: Mapping[str, Sequence[_Run]],
) -> str:
    if kind.limit and len(board.queue(name).started_job_registry) >= kind.limit:
        return f"parallelism_spec: at most {kind.limit} at once"
    idle = [o for n, o in offers.items() if o.serves(kind) and o.slots > len(at_work.get(n, ()))]
    lack = [offer.capacity.lacks(kind) for offer in idle]
    running = sum(map(len, at_work.values()))
    if lack and all(lack):
        return f"for free {' or '.join(sorted(set(lack)))}; {many(running, 'set')} at work"
    return f"for a free slot; {running} in use"
