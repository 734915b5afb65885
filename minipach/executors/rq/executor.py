"""The RQ executor: sets are RQ jobs in Redis, which `minipach worker`s run, wherever they are.

Redis holds ids and outcomes; the sets themselves are in git. What Redis has lost is submitted again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import redis
from rq.command import send_command
from rq.job import Job

from minipach.executors.outcome_check import check_outcome
from minipach.executors.resources import ResourceClass
from minipach.executors.rq.capacity import Offer, nobody_for
from minipach.executors.rq.connection import AWAY, Client, away, check, connect, passes
from minipach.executors.rq.logs import receive_log
from minipach.executors.rq.names import Names, project_id
from minipach.executors.rq.queue import Ended, QueueStore, read_or_none
from minipach.executors.stored_sets import drop_sets, known_sets, write_sets
from minipach.git.repo import Repo
from minipach.model.job_entries import Took
from minipach.model.work_set import Needs, Outcome, WorkSet
from minipach.project.project import Project
from minipach.records.job_logs import lost_log
from minipach.support.errors import UserError
from minipach.support.validation import InvalidError

_LOG = logging.getLogger(__name__)
_LOOK = 2.0  # seconds between two looks at all jobs; in between, workers report
_MISSING = 6.0  # seconds for a worker to say that it runs a set that Redis has forgotten; then it is queued again
_PATIENCE = 10.0  # seconds for workers to end what is cancelled


class RqExecutor:
    """Submits to Redis and takes outcomes from there; workers need not be there yet."""

    def __init__(self, project: Project, client: Client | None = None) -> None:
        """client: for tests. UserError where Redis is away."""
        self._project = project
        self._repo = project.repo
        self._client = client or connect(project.repo)
        check(self._client, self._repo)
        self._board = QueueStore(self._client, Names(project_id(self._repo)))
        try:
            self._board.claim(project.root)
        except redis.exceptions.RedisError as error:
            raise UserError(away(self._repo, error)) from None
        self._limits: dict[str, int] = {}
        self._waiting: dict[str, WorkSet] = {}
        self._unsent: dict[str, WorkSet] = {}
        self._missing: dict[str, float] = {}
        self._running: set[str] = set()
        self._warned: set[ResourceClass] = set()
        self._adopted: set[str] = set()  # of earlier passes, until it is looked whether somebody could run them
        self._looked = 0.0
        self._slots: tuple[float, int] = (0.0, 1)
        self._away = False
        self._pubsub: Any = None

    @property
    def at_once(self) -> bool:
        """Return False: sets start as soon as a worker is free."""
        return False

    @property
    def slots(self) -> int:
        """The number of sets that the workers of this project can run at once; at least 1."""
        if time.monotonic() - self._slots[0] > _LOOK:
            count = self._slots[1]
            with contextlib.suppress(*AWAY):
                count = sum(w["slots"] for w in self._board.workers().values())
            self._slots = (time.monotonic(), max(1, count))
        return self._slots[1]

    @property
    def running(self) -> int:
        """The number of sets that ran at the last look."""
        return len(self._running)

    def can_have(self, needs: Needs) -> bool:
        """Return whether a worker that is there now has this."""
        offers = [Offer.of(facts) for facts in self._board.workers().values()]
        return not nobody_for(ResourceClass.of(needs, "", None), offers)

    def limit(self, pipeline: str, sets: int) -> None:
        """Run at most so many sets of this pipeline at once: they get a queue of their own."""
        self._limits[pipeline] = sets

    def prefer(self, pipelines: Sequence[str]) -> None:
        """Do nothing: workers take sets in the order of their queue."""

    def expect(self, datums: int) -> None:
        """Do nothing: workers run already, or start later."""

    def submit(self, sets: Sequence[WorkSet]) -> None:
        """Write the sets to git and queue their ids. UserError where Redis is away and nothing has begun yet."""
        by_repo: dict[str, list[WorkSet]] = {}
        for work in sets:
            by_repo.setdefault(work.repo, []).append(work)
        for path, group in by_repo.items():
            write_sets(Repo(Path(path)), group)
        first = not self._waiting
        for work in sets:
            self._waiting[work.id] = self._unsent[work.id] = work
        try:
            self._send()
        except redis.exceptions.RedisError as error:
            if first or not passes(error):
                raise UserError(away(self._repo, error)) from None
            self._is_away(error)

    def _send(self) -> None:
        rows = [(w, self._place(w), self._kind(w)) for w in self._unsent.values()]
        if rows:
            self._board.enqueue(rows)
            self._unsent.clear()
            self._warn({kind for _, _, kind in rows})

    def _warn(self, kinds: set[ResourceClass]) -> None:
        """Say, once for each class, that nobody is there who could run its sets."""
        offers = [Offer.of(facts) for facts in self._board.workers().values()]
        for kind in sorted(kinds - self._warned, key=lambda k: k.name):
            self._warned.add(kind)
            if why := nobody_for(kind, offers):
                _LOG.warning(f"{why} yet: its sets wait; minipach worker, or minipach up")

    def _warn_of_adopted(self) -> None:
        """Warn of sets that an earlier pass has queued and that no worker can run."""
        ids = [i for i in self._adopted if i in self._waiting]
        self._adopted.clear()
        if ids:
            queued = [i for i, state in self._board.states(ids).items() if state == "queued"]
            self._warn({self._kind(self._waiting[i]) for i in queued})

    def _place(self, work: WorkSet) -> str:
        return os.path.relpath(work.repo, self._project.root)

    def _kind(self, work: WorkSet) -> ResourceClass:
        return ResourceClass.of(work.needs, work.pipeline, self._limits.get(work.pipeline))

    def adopt(self, repo: Repo) -> list[WorkSet]:
        """Return the sets in git whose jobs Redis knows; the others are forgotten, so that they are submitted again."""
        found = known_sets(repo)
        if not found:
            return []
        # the project was moved since: what they name is not there, and nobody can run them
        moved = [i for i, work in found.items() if work is not None and not _is_of(work, repo)]
        try:
            if moved:
                self._board.forget(moved, os.path.relpath(repo.path, self._project.root))
            states = self._board.states(list(found))
        except AWAY as error:
            raise UserError(away(self._repo, error)) from None
        sets = [work for i, work in found.items() if work is not None and i in states]
        drop_sets(repo, found.keys() - {work.id for work in sets})
        self._waiting |= {work.id: work for work in sets}
        self._adopted |= {work.id for work in sets}
        return sets

    def poll(self, timeout: float) -> list[Outcome]:
        """Return outcomes since the last call; where Redis is away, it is waited for."""
        try:
            self._send()
            self._warn_of_adopted()
            found = self._look(self._waiting) if not timeout or self._is_time() else []
            if not found and timeout:
                found = self._look(self._ended_sets(timeout))
        except redis.exceptions.RedisError as error:
            if not passes(error):
                raise
            self._is_away(error)
            time.sleep(min(timeout, 1.0))
            return []
        if self._away:
            self._away = False
            _LOG.warning("Redis is back")
        if dropped := self._board.dropped:
            _LOG.warning(f"Redis: {', '.join(dropped)}: of a wrong type; deleted, and made again")
            self._board.dropped = []
        return found

    def _is_away(self, error: Exception) -> None:
        if not self._away:
            _LOG.warning(str(away(self._repo, error, "waiting for it")))
        self._away = True
        self._end_pubsub()

    def _is_time(self) -> bool:
        if time.monotonic() - self._looked < _LOOK:
            return False
        self._looked = time.monotonic()
        return True

    def _ended_sets(self, timeout: float) -> list[str]:
        """Return the sets that workers say have ended; waits for the first."""
        if self._pubsub is None:
            self._pubsub = self._client.pubsub(ignore_subscribe_messages=True)
            self._pubsub.subscribe(self._board.names.done)
        deadline = time.monotonic() + timeout
        ids: list[str] = []
        while True:
            left = 0.0 if ids else max(0.0, deadline - time.monotonic())
            message = self._pubsub.get_message(timeout=left)
            if message is not None:
                ids.append(message["data"].decode("utf-8", "replace"))
            elif ids or time.monotonic() >= deadline:
                return [i for i in dict.fromkeys(ids) if i in self._waiting]

    def _look(self, ids: Iterable[str]) -> list[Outcome]:
        names = list(ids)
        if not names:
            return []
        whole = len(names) == len(self._waiting)
        states = self._board.states(names)
        if whole:
            self._running = {i for i, state in states.items() if state == "started"}
            self._heal(set(names) - states.keys())
        done = self._board.ended([i for i in names if i in states])
        for set_id, ended in done.items():  # before one is forgotten: Redis may go away meanwhile
            work = self._waiting[set_id]
            receive_log(self._client, self._board.names, work, len(ended.before), last=bool(ended.outcomes))
        return [outcome for i, ended in done.items() for outcome in _outcomes(self._waiting.pop(i), ended)]

    def _heal(self, missing: set[str]) -> None:
        """Queue again what no worker claims to run: Redis was emptied."""
        now = time.monotonic()
        self._missing = {i: self._missing.get(i, now) for i in missing}
        lost = [self._waiting[i] for i, since in self._missing.items() if now - since > _MISSING]
        if lost:
            self._unsent |= {work.id: work for work in lost}
            self._send()

    def settle(self, sets: Sequence[WorkSet]) -> None:
        """Forget the sets, in Redis and in git."""
        by_repo: dict[str, list[WorkSet]] = {}
        for work in sets:
            by_repo.setdefault(work.repo, []).append(work)
            self._waiting.pop(work.id, None)
            self._unsent.pop(work.id, None)
        for path, group in by_repo.items():
            with contextlib.suppress(*AWAY):  # then they go by themselves, after some days
                self._board.forget([work.id for work in group], self._place(group[0]))
            drop_sets(Repo(Path(path)), [work.id for work in group])

    def discard(self, ids: Collection[str] | None = None) -> set[str]:
        """Drop the sets that no worker has begun (of these ids)."""
        asked = set(self._waiting) if ids is None else self._waiting.keys() & ids
        dropped = self._unsent.keys() & asked
        with contextlib.suppress(*AWAY):
            dropped |= self._board.remove_queued(asked)
        for set_id in dropped:
            self._waiting.pop(set_id, None)
            self._unsent.pop(set_id, None)
        return dropped

    def leave(self, repo: Repo) -> None:
        """Have the worker of the last set make a pass."""
        with contextlib.suppress(*AWAY):
            self._send()
            self._warn_of_adopted()

    def cancel(self, repo: Repo | None = None) -> None:
        """End everything (of this repo); waits until the workers have ended what ran."""
        ids = [work.id for work in self._waiting.values() if repo is None or work.repo == str(repo.path)]
        by_repo: dict[str, list[str]] = {}
        for set_id in ids:
            by_repo.setdefault(self._waiting[set_id].repo, []).append(set_id)
        for path, dropped in by_repo.items():  # first: a set that is in git no more doesn't begin, whoever has its id
            drop_sets(Repo(Path(path)), dropped)
        try:
            if len(ids) == len(self._waiting):
                self._board.withdraw_pass()
            removed = self._board.remove_queued(ids)
            self._stop_running([i for i in ids if i not in removed])
            for path, dropped in by_repo.items():
                self._board.forget(dropped, os.path.relpath(path, self._project.root))
        except AWAY as error:
            _LOG.warning(str(away(self._repo, error, "workers end cancelled sets when it is back")))
        for set_id in ids:
            del self._waiting[set_id]
            self._unsent.pop(set_id, None)

    def _stop_running(self, ids: Sequence[str]) -> None:
        deadline = time.monotonic() + _PATIENCE
        asked: set[str] = set()
        while time.monotonic() < deadline:
            running = [i for i, state in self._board.states(ids).items() if state == "started"]
            if not running:
                return
            for set_id in running:
                job = self._board.names.job(set_id)
                worker = read_or_none(partial(self._client.hget, Job.key_for(job), "worker_name"))
                if worker and set_id not in asked:
                    send_command(self._client, worker.decode("utf-8", "replace"), "stop-job", job_id=job)
                    asked.add(set_id)
            time.sleep(0.1)

    def _end_pubsub(self) -> None:
        if self._pubsub is not None:
            with contextlib.suppress(Exception):  # whatever a connection that is broken says on its fix
                self._pubsub.close()
            self._pubsub = None

    def close(self) -> None:
        """Close the connection; sets continue."""
        self._end_pubsub()
        self._client.close()


def _is_of(work: WorkSet, repo: Repo) -> bool:
    return os.path.realpath(work.repo) == os.path.realpath(repo.path)


def _outcomes(work: WorkSet, ended: Ended) -> list[Outcome]:
    lost = tuple(replace(one, log=lost_log(work.log, n)) for n, one in enumerate(ended.before, 1))
    if not ended.outcomes:
        outcome = Outcome(work.id, "lost", 1, ended.message, 0.0, len(lost) + 1, work.log, platform.node(), before=lost)
        last = ended.last
        if last is None or last.started is None or last.ended is None:
            return [outcome]
        took = Took(last.started, last.ended, last.seconds, 0.0)
        datums = tuple(replace(one, took=took) for one in outcome.results(len(work.parts)))
        return [replace(outcome, host=last.host, started=last.started, ended=last.ended, datums=datums)]
    try:
        return [
            replace(check_outcome(o, work), log=o.log or work.log, before=(*lost, *o.before)) for o in ended.outcomes
        ]
    except InvalidError as error:
        message = f"its outcome in Redis can't be used: {error}"
        return [Outcome(work.id, "lost", 1, message, 0.0, len(lost) + 1, work.log, platform.node(), before=lost)]
