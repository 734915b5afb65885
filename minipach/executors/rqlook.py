"""What Redis and the workers' own signs of life tell of a project: who runs what, and why the rest waits."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC
from typing import Any

from redis.exceptions import RedisError
from rq.job import Job
from rq.serializers import JSONSerializer

from minipach.errors import UserError
from minipach.executors.looks import Looker, Seen, Waiting, Worker
from minipach.executors.redislink import AWAY, away, check, connect
from minipach.executors.room import Room
from minipach.executors.rqboard import Board
from minipach.executors.rqnames import Names, ResourceClass, project_id
from minipach.project import Project
from minipach.sets import Outcome
from minipach.wording import many

_OVER = frozenset({"finished", "failed", "stopped", "canceled"})


def looker(project: Project) -> Looker:
    """Looks at the project's queues, and at what serves them."""
    return _Look(project).look


class _Look:
    def __init__(self, project: Project) -> None:
        self._repo = project.repo
        self._client = connect(project.repo)
        check(self._client, project.repo)
        self._board = Board(self._client, Names(project_id(project.repo)))
        self._ended: dict[str, tuple[Outcome, ...]] = {}

    def look(self, sets: Mapping[str, str]) -> Seen:
        """What there is now. UserError where Redis is away."""
        board = self._board
        try:
            facts = board.workers()
            at_work = _running(board)
            workers = tuple(Worker(n, _has(row), tuple(at_work.get(n, ()))) for n, row in sorted(facts.items()))
            waiting = tuple(_waiting(board, list(facts.values()), sum(map(len, at_work.values()))))
            states = board.states(list(sets))
            new = [i for i, state in states.items() if state in _OVER and i not in self._ended]
            for set_id, ended in board.ended(new).items():
                self._ended[set_id] = ended.outcomes or (Outcome(set_id, "lost", 1, ended.message, 0.0, 0, "", ""),)
        except AWAY as error:
            raise UserError(away(self._repo, error)) from None
        over = {i: self._ended[i] for i, state in states.items() if state in _OVER and i in self._ended}
        self._ended = over  # one that was queued again is anew
        running = frozenset(i for i, state in states.items() if state == "started")
        return Seen(workers, waiting, running, tuple(outcome for found in over.values() for outcome in found))


def _has(facts: Mapping[str, Any]) -> str:
    return f"{many(facts['slots'], 'slot')}, {_room(facts).text}"


def waiting_in_vain(project: Project) -> list[Waiting]:
    """The sets that no worker which serves the project now could ever run. UserError where Redis can't be asked."""
    with closing(connect(project.repo)) as client:
        board = Board(client, Names(project_id(project.repo)))
        try:
            return [row for row in _waiting(board, list(board.workers().values()), 0) if row.in_vain]
        except RedisError as error:
            raise UserError(away(project.repo, error)) from None


def _room(facts: Mapping[str, Any]) -> Room:
    return Room(facts["gpus"], facts["cpus"], facts["memory"], facts["gpu_type"])


def _running(board: Board) -> dict[str, list[tuple[str, float]]]:
    """What each worker runs, by its name."""
    found: dict[str, list[tuple[str, float]]] = {}
    for name in board.queues():
        ids = board.queue(name).started_job_registry.get_job_ids(cleanup=False)
        for job in Job.fetch_many(ids, connection=board.client, serializer=JSONSerializer):
            if job is None:
                continue
            started = job.started_at.replace(tzinfo=UTC).timestamp() if job.started_at else time.time()
            # a worker's slots are named after it, with a number behind
            worker = str(job.worker_name or "?").rpartition(".")[0]
            found.setdefault(worker, []).append((str(job.description), max(0.0, time.time() - started)))
    return found


def _waiting(board: Board, workers: Sequence[Mapping[str, Any]], running: int) -> list[Waiting]:
    rooms = [_room(w) for w in workers if w["slots"]]
    found = []
    for name, kind in sorted(board.queues().items()):
        count = board.to_do(name)
        if count:
            in_vain = not any(room.can_ever(kind) for room in rooms)
            found.append(Waiting(count, kind.name, _why(board, name, kind, rooms, running), in_vain))
    return found


def _why(board: Board, name: str, kind: ResourceClass, rooms: Sequence[Room], running: int) -> str:
    if not rooms:
        return "no worker serves this project; minipach worker, or minipach up"
    if not any(room.can_ever(kind) for room in rooms):
        return f"no worker has {kind.name}"
    if kind.limit and len(board.queue(name).started_job_registry) >= kind.limit:
        return f"parallelism_spec: at most {kind.limit} at once"
    return f"for a free slot; {running} in use"
