"""The content of Redis: RQ's queues and jobs of a project, the few keys beside them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import redis
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus, Retry
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer

from minipach.executors.moved_project import another_is
from minipach.executors.resources import ResourceClass
from minipach.executors.rq.connection import Client
from minipach.executors.rq.job_tries import UNABLE, last_try, lost_tries
from minipach.executors.rq.names import Names, describe
from minipach.model.job_entries import Try
from minipach.model.work_set import LOST_TRIES, Outcome, WorkSet
from minipach.support.errors import Problem, UserError
from minipach.support.validation import InvalidError, conforms, is_moment, parse_object

FUNCTION = "minipach.executors.rq.job_stub.run"  # what RQ's tools show; our workers call nothing that Redis names
_KEEP = 14 * 24 * 3600  # seconds that Redis keeps an outcome nobody has asked for
_STALE = 10.0  # seconds after which a job that somebody took and did not start is given back
SOON = 5  # seconds between two passes that are made while sets are still running
_GONE = 30.0  # seconds without a sign of life after which a worker doesn't count
_WAITING = frozenset({"queued", "started", "deferred", "scheduled"})
# what a worker says of itself
_FACTS: Mapping[str, Any] = {
    "host": str,
    "pid": int,
    "slots": int,
    "gpus": list[str],
    "gpu_type": str,
    "cpus": float,
    "memory": int,
    "queues": list[str],
    "publishes": bool,
    "seen": float,
}
_MOST_SLOTS = 100_000
# the kinds of our own keys, by what comes after the project's prefix
_KEYS = {
    "folder": "string",
    "again": "string",
    "soon": "string",
    "tending": "string",
    "workers": "hash",
    "tails": "set",
    "left": "set",
    "log": "string",
    "tail": "stream",
}
T = TypeVar("T")
P = ParamSpec("P")
MENDS = 5  # rounds of one call that may meet keys of another kind

# KEYS: queue, intermediate queue, started jobs · ARGV: how many may run at once (0: no limit)
_TAKE = """
local most = tonumber(ARGV[1])
if most > 0 and redis.call('ZCARD', KEYS[3]) + redis.call('LLEN', KEYS[2]) >= most then return false end
local job = redis.call('LPOP', KEYS[1])
if job then redis.call('RPUSH', KEYS[2], job) end
return job
"""
# KEYS: intermediate queue, queue · ARGV: job
_RELEASE = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) > 0 then redis.call('LPUSH', KEYS[2], ARGV[1]) end
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended. outcomes: none if the set's worker was lost too often, or somebody stopped it.

    before: the tries whose worker was lost, without their logs · last: the last one, if it was lost or stopped, too.
    """

    outcomes: tuple[Outcome, ...]
    message: str
    before: tuple[Try, ...] = ()
    last: Try | None = None


def is_of_wrong_kind(error: Exception) -> bool:
    """Return whether Redis refused a command because somebody has put another kind of value under its key."""
    return isinstance(error, redis.exceptions.ResponseError) and "WRONGTYPE" in str(error)


def read_or_none(read: Callable[[], T]) -> T | None:
    """Return what RQ reads of its own; None if that can't be read. Raises what a Redis raises that is away.

    RQ believes what is in Redis: of what somebody else has put there, its parsers raise errors of any kind.
    """
    try:
        return read()
    except redis.exceptions.RedisError as error:
        if is_of_wrong_kind(error):
            return None
        raise
    except (Exception, RecursionError):
        return None


def _mending(method: Callable[Concatenate[QueueStore, P], T]) -> Callable[Concatenate[QueueStore, P], T]:
    """Return the method as one that deletes keys of another kind where it meets them, and is called again.

    The next call may meet another such key, or none although nothing was deleted: another process may have deleted it.
    Every method of a board may be called again.
    """

    @wraps(method)
    def call(board: QueueStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(MENDS):
            try:
                return method(board, *args, **kwargs)
            except redis.exceptions.ResponseError as error:
                if not is_of_wrong_kind(error):
                    raise
                board.dropped += board.mend()
        return method(board, *args, **kwargs)

    return call


def _clean(registry: StartedJobRegistry) -> bool:
    registry.cleanup()
    return True


def _facts(text: bytes) -> dict[str, Any] | None:
    """Return what a worker has said of itself; None if no worker says that."""
    try:
        found = parse_object(text)
    except InvalidError:
        return None
    said = all(conforms(found.get(name), hint) for name, hint in _FACTS.items())
    return found if said and 0 <= found["slots"] <= _MOST_SLOTS and is_moment(found["seen"]) else None


class QueueStore:
    """The jobs of one project. Every method talks to Redis and raises what its client raises."""

    def __init__(self, client: Client, names: Names) -> None:
        self.client = client
        self.names = names
        self._take = client.register_script(_TAKE)
        self._release = client.register_script(_RELEASE)
        self.dropped: list[str] = []  # keys of another kind that were deleted, until somebody reports them
        self._seen: dict[str, float] = {}  # jobs between two states, and when they were first seen there

    @_mending
    def claim(self, root: Path) -> None:
        """Note in which folder the project is. UserError if another one of the same id is there: each would take the
        other's outcomes for its own."""
        for _ in range(2):
            self.client.set(self.names.folder, str(root), nx=True)
            text = os.fsdecode(self.client.get(self.names.folder) or b"")
            there = Path(text if "\0" not in text and len(text) < 4096 else "")
            if there == root:
                return
            if text and there != Path() and another_is(there, root):
                raise UserError(
                    Problem(
                        "redis.project-id-taken",
                        str(root),
                        f"Redis knows the project in {there} by the same id, {self.names.project} "
                        "(is one a copy of the other?)",
                        "run in one of them: git config minipach.project-id NAME",
                    )
                )
            self.client.delete(self.names.folder)  # it was moved

    @_mending
    def is_claimed(self) -> bool:
        """Return whether the project has been noted."""
        return bool(self.client.exists(self.names.folder))

    def queue(self, name: str) -> Queue:
        """Return one of the project's queues."""
        return Queue(name, connection=self.client, serializer=JSONSerializer)

    def job(self, name: str) -> Job | None:
        """Return one of RQ's jobs; None if it is not there, or can't be read."""
        return read_or_none(partial(Job.fetch, name, connection=self.client, serializer=JSONSerializer))

    @_mending
    def queues(self) -> dict[str, ResourceClass]:
        """Return the queues of sets that there are, by name."""
        return self._queues()

    def _queues(self) -> dict[str, ResourceClass]:
        found = {}
        for key in self.client.smembers(Queue.redis_queues_keys):
            name = key.decode("utf-8", "replace").removeprefix(Queue.redis_queue_namespace_prefix)
            kind = self.names.kind(name)
            if kind is not None:
                found[name] = kind
        return found

    # --- sets ------------------------------------------------------------------------------------------------

    @_mending
    def states(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the state of each set's job that Redis knows."""
        with self.client.pipeline(transaction=False) as pipe:
            for set_id in ids:
                pipe.hget(Job.key_for(self.names.job(set_id)), "status")
            rows = pipe.execute(raise_on_error=False)
        for row in rows:
            if isinstance(row, Exception) and not is_of_wrong_kind(row):
                raise row
        rows = [None if isinstance(row, Exception) else row for row in rows]  # no job: it is queued again
        return {i: row.decode("utf-8", "replace") for i, row in zip(ids, rows, strict=True) if row is not None}

    @_mending
    def enqueue(self, sets: Sequence[tuple[WorkSet, str, ResourceClass]]) -> int:
        """Queue sets (each with its repo's path in the project); those that wait or run already are left alone."""
        states = self.states([work.id for work, _, _ in sets])
        fresh = [row for row in sets if states.get(row[0].id) not in _WAITING]
        if not fresh:
            return 0
        by_queue: dict[str, list[Any]] = {}
        for work, repo, kind in fresh:
            data = Queue.prepare_data(
                FUNCTION,
                args=[work.id, repo],
                timeout=-1,
                result_ttl=_KEEP,
                failure_ttl=_KEEP,
                description=describe(work),
                job_id=self.names.job(work.id),
                retry=Retry(max=LOST_TRIES - 1),
            )
            by_queue.setdefault(self.names.queue(kind), []).append(data)
        with self.client.pipeline() as pipe:
            self._forget(pipe, [(work.id, self.names.queue(kind)) for work, _, kind in fresh if work.id in states])
            for work, repo, _ in fresh:
                pipe.sadd(self.names.left(repo), work.id)
            for name, datas in by_queue.items():
                self.queue(name).enqueue_many(datas, pipeline=pipe)
            pipe.publish(self.names.work, "new")
            try:
                pipe.execute()
            except redis.exceptions.ResponseError:  # a job may be there now that is in no queue
                self._forget(pipe, [(work.id, self.names.queue(kind)) for work, _, kind in fresh])
                pipe.execute(raise_on_error=False)
                raise
        return len(fresh)

    @_mending
    def ended(self, ids: Sequence[str]) -> dict[str, Ended]:
        """Return those of these sets that have ended, with their outcomes."""
        states = self.states(ids)
        found = {}
        for set_id in ids:
            state = states.get(set_id)
            if state is not None and state not in _WAITING:
                ended = self._ended(set_id, state)
                if ended is not None:
                    found[set_id] = ended
        return found

    def _ended(self, set_id: str, state: str) -> Ended | None:
        name = self.names.job(set_id)
        job = self.job(name)
        if job is None:
            there = self.client.exists(Job.key_for(name))
            return Ended((), "its job in Redis can't be read") if there else None
        before = lost_tries(job)
        result = read_or_none(lambda: Result.fetch_latest(job, serializer=JSONSerializer))
        if state == JobStatus.FINISHED and result is not None and result.return_value is not None:
            try:
                outcomes = tuple(Outcome.from_json(json.dumps(row)) for row in result.return_value)
            except (ValueError, KeyError, TypeError, RecursionError):
                return Ended((), "its outcome in Redis can't be read")
            same = all(outcome.set_id == set_id for outcome in outcomes)
            return Ended(outcomes if same else (), "its outcome is another set's", before)
        why = str(result.exc_string or "").strip().splitlines() if result is not None else []
        if state == JobStatus.FAILED:
            last = why[-1] if why else "gone"
            what = (
                f"no worker could run it, in {LOST_TRIES} tries"
                if last.startswith(UNABLE)
                else f"its worker was lost {LOST_TRIES} times"
            )
            message = f"{what} (last: {last.removeprefix(UNABLE)})"
            return Ended((), message, before, last_try(job))
        return Ended((), f"it was {state} in Redis", before, last_try(job))

    @_mending
    def remove_queued(self, ids: Iterable[str]) -> set[str]:
        """Take out of their queues those that nobody has taken yet, and return which they were."""
        ids = list(ids)
        queues = list(self.queues())
        with self.client.pipeline() as pipe:
            for set_id in ids:
                for name in queues:
                    pipe.lrem(self.queue(name).key, 0, self.names.job(set_id))
            rows = pipe.execute(raise_on_error=False)
        for row in rows:
            if isinstance(row, Exception) and not is_of_wrong_kind(row):
                raise row
        rows = [0 if isinstance(row, Exception) else row for row in rows]  # nothing was in it
        width = len(queues)
        removed = {i for n, i in enumerate(ids) if width and sum(rows[n * width : (n + 1) * width])}
        self.forget(removed)
        return removed

    @_mending
    def forget(self, ids: Iterable[str], repo: str | None = None) -> None:
        """Delete the jobs of these sets."""
        names = list(self.queues())
        with self.client.pipeline() as pipe:
            self._forget(pipe, [(i, name) for i in ids for name in names or [""]])
            if repo is not None:
                for set_id in ids:
                    pipe.srem(self.names.left(repo), set_id)
            pipe.execute()

    def _forget(self, pipe: Any, rows: Sequence[tuple[str, str]]) -> None:
        for set_id, name in rows:
            job = self.names.job(set_id)
            for registry in (FinishedJobRegistry, FailedJobRegistry):
                registry(name, connection=self.client, serializer=JSONSerializer).remove(job, pipeline=pipe)
            pipe.lrem(self.queue(name).key, 0, job)
            pipe.delete(Job.key_for(job), Result.get_key(job), self.names.log(set_id), self.names.tail(set_id))
            pipe.delete(*(self.names.lost_log(set_id, n + 1) for n in range(LOST_TRIES)))
            pipe.srem(self.names.tails, set_id)

    # --- for workers -----------------------------------------------------------------------------------------

    @_mending
    def take(self, name: str, limit: int) -> Job | None:
        """Return the next job of a queue, now between queue and start.

        Whoever takes it starts it, or it is given back.
        """
        queue = self.queue(name)
        while True:
            keys = [queue.key, queue.intermediate_queue_key, queue.started_job_registry.key]
            taken = self._take(keys=keys, args=[limit])
            if not taken:
                return None
            job = self._read(taken)
            if job is not None and job.get_status(refresh=False) == JobStatus.QUEUED:
                return job
            self.client.lrem(queue.intermediate_queue_key, 1, taken)  # deleted meanwhile, queued twice, or no job

    def _read(self, name: bytes) -> Job | None:
        """Return a job; None if there is none, or if it can't be read: such a job would end its worker."""
        try:
            job = Job.fetch(name.decode(), connection=self.client, serializer=JSONSerializer)
            job.args  # noqa: B018 (read only now)
        except NoSuchJobError:
            return None
        except redis.exceptions.RedisError as error:
            if "WRONGTYPE" in str(error):
                return None
            raise
        except Exception:  # whatever somebody else has put there
            if self.client.exists(key := Job.redis_job_namespace_prefix.encode() + name):
                self.client.hset(key, "status", "failed")
            return None
        return job

    @_mending
    def over(self, set_id: str, repo: str) -> int:
        """Note that a set has ended, and return how many of its repo's are left."""
        with self.client.pipeline() as pipe:
            pipe.srem(self.names.left(repo), set_id)
            pipe.scard(self.names.left(repo))
            pipe.publish(self.names.done, set_id)
            return int(pipe.execute()[1])

    @_mending
    def left(self, repo: str) -> int:
        """Return how many sets of a repo have not ended."""
        return int(self.client.scard(self.names.left(repo)))

    @_mending
    def to_do(self, name: str) -> int:
        """Return how many jobs of a queue need a worker: waiting ones, and those of lost workers (`tend` gives them
        back soon, if somebody is there to do so)."""
        queue = self.queue(name)
        with self.client.pipeline(transaction=False) as pipe:
            pipe.llen(queue.key)
            pipe.llen(queue.intermediate_queue_key)
            pipe.zcount(queue.started_job_registry.key, "-inf", f"({time.time()}")
            return sum(pipe.execute())

    @_mending
    def tend(self) -> None:
        """Give jobs of workers that are gone to others: RQ's own way, but after seconds instead of minutes."""
        if not self.client.set(self.names.tending, "1", nx=True, ex=2):
            return
        names = [*self.queues(), self.names.publish_queue]
        for name in names:
            queue = self.queue(name)
            started = StartedJobRegistry(name, connection=self.client, serializer=JSONSerializer)
            if read_or_none(partial(_clean, started)) is None:
                self._drop_unreadable(started.key)
            self._tend_taken(queue)
        kept = self._now() - _GONE
        for worker, text in self.client.hgetall(self.names.workers).items():
            facts = _facts(text)
            if facts is None or facts["seen"] < kept:
                self.client.hdel(self.names.workers, worker)

    def _drop_unreadable(self, registry: str) -> None:
        """Take out of a registry of RQ what is no job that can be read; one of another kind goes as a whole."""
        try:
            members = self.client.zrange(registry, 0, -1)
        except redis.exceptions.ResponseError:
            self.client.delete(registry)
            return
        for member in members:
            name = member.decode("utf-8", "replace").partition(":")[0]
            if self.job(name) is None:
                self.client.zrem(registry, member)

    def _tend_taken(self, queue: Queue) -> None:
        taken = set(read_or_none(queue.intermediate_queue.get_job_ids) or ())
        for job in [job for job in self._seen if job not in taken]:
            if self._seen[job] < time.monotonic() - 10 * _STALE:
                del self._seen[job]
        for job in taken:
            first = self._seen.setdefault(job, time.monotonic())
            if time.monotonic() - first > _STALE:
                del self._seen[job]
                if self.client.hget(Job.key_for(job), "status") == b"started":
                    queue.intermediate_queue.remove(job)
                else:
                    self._release(keys=[queue.intermediate_queue_key, queue.key], args=[job])

    @_mending
    def report(self, worker: str, facts: Mapping[str, Any]) -> None:
        """Send a heartbeat of a server of this project."""
        self.client.hset(self.names.workers, worker, json.dumps({**facts, "seen": self._now()}))

    @_mending
    def retire(self, worker: str) -> None:
        """Note that it serves no more."""
        self.client.hdel(self.names.workers, worker)

    @_mending
    def workers(self) -> dict[str, dict[str, Any]]:
        """Return the workers that serve this project now, by name."""
        rows = {k.decode("utf-8", "replace"): _facts(v) for k, v in self.client.hgetall(self.names.workers).items()}
        alive = self._now() - _GONE
        return {name: facts for name, facts in rows.items() if facts and facts["seen"] > alive}

    def _now(self) -> float:
        """Return the time by Redis's clock, which is one for all machines; by ours, where it may not be asked."""
        try:
            seconds, micros = self.client.time()
        except redis.exceptions.ResponseError:
            return time.time()
        return float(seconds) + float(micros) / 1e6

    def mend(self) -> list[str]:
        """Delete our keys and queues that somebody has put another kind of value under, and return which they were.

        Nothing is lost that is not found again: sets are in git, and workers report what runs.
        """
        dropped = []
        names = [*self._queues(), self.names.publish_queue]
        kinds: dict[bytes, str] = {}
        for name in names:
            queue = self.queue(name)
            kinds[queue.key.encode()] = kinds[queue.intermediate_queue_key.encode()] = "list"
            kinds[queue.started_job_registry.key.encode()] = "zset"
            for registry in (FinishedJobRegistry, FailedJobRegistry):
                kinds[registry(name, connection=self.client, serializer=JSONSerializer).key.encode()] = "zset"
        for key in self.client.scan_iter(match=f"{self.names.prefix}:*", count=1000):
            kind = _KEYS.get(key.decode("utf-8", "replace").removeprefix(f"{self.names.prefix}:").partition(":")[0])
            if kind is not None:
                kinds[key] = kind
        jobs = Job.redis_job_namespace_prefix
        for key in self.client.scan_iter(match=f"{jobs}{self.names.project}-*", count=1000):
            if key.count(b":") == jobs.count(":"):
                kinds[key] = "hash"
        for key, kind in kinds.items():
            if self.client.type(key).decode() not in (kind, "none"):
                self.client.delete(key)
                dropped.append(key.decode("utf-8", "replace"))
        return dropped

    # --- continuing --------------------------------------------------------------------------------------------

    @_mending
    def request_pass(self) -> None:
        """Queue the job that starts a pass, which publishes: one job at most waits for it."""
        job = self.names.publish_job
        self.client.set(self.names.again, "1", ex=_KEEP)
        status = self.client.hget(Job.key_for(job), "status")
        if status in (b"queued", b"started"):
            return
        with self.client.pipeline() as pipe:
            self._forget_pass(pipe)
            data = Queue.prepare_data(
                FUNCTION,
                args=["publish"],
                timeout=-1,
                result_ttl=600,
                failure_ttl=600,
                description="publish, and continue",
                job_id=job,
            )
            self.queue(self.names.publish_queue).enqueue_many([data], pipeline=pipe)
            pipe.publish(self.names.work, "publish")
            pipe.execute()

    @_mending
    def is_early_pass_due(self) -> bool:
        """Return whether the last pass that was made while sets were still running is some seconds ago."""
        return bool(self.client.set(self.names.soon, "1", nx=True, ex=SOON))

    def _forget_pass(self, pipe: Any) -> None:
        job, name = self.names.publish_job, self.names.publish_queue
        for registry in (FinishedJobRegistry, FailedJobRegistry):
            registry(name, connection=self.client, serializer=JSONSerializer).remove(job, pipeline=pipe)
        pipe.lrem(self.queue(name).key, 0, job)
        pipe.delete(Job.key_for(job), Result.get_key(job))

    @_mending
    def withdraw_pass(self) -> None:
        """Withdraw the request for a pass."""
        self.client.delete(self.names.again)
        if self.client.hget(Job.key_for(self.names.publish_job), "status") != b"started":
            with self.client.pipeline() as pipe:
                self._forget_pass(pipe)
                pipe.execute()

    @_mending
    def is_pass_pending(self) -> bool:
        """Return whether a publish job waits or runs."""
        return self.client.hget(Job.key_for(self.names.publish_job), "status") in (b"queued", b"started")
