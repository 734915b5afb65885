"""A warm process of a worker, and the RQ worker as which it is known in Redis."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.utils import now
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from minipach.executors.resources import Share
from minipach.executors.rq.connection import Client
from minipach.executors.rq.job_tries import note_begun
from minipach.support.processes import signal_group

TTL = 10  # seconds without a heartbeat after which a job's worker counts as gone
FORGET = 30  # seconds after which RQ's tools show a worker that is gone no more


class RqWorker(SimpleWorker):
    """A worker as RQ knows it; its horse is a warm process, which the supervisor looks after."""

    log_result_lifespan = False

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Return how long a job whose worker is silent stays its own."""
        return TTL

    def _set_ip_address(self, connection: Client) -> None:
        untyped: Any = super()
        self.ip_address = "unknown"
        # redis-py can't read of a socket whose path has a space or "=" in it; rq warns where an ACL forbids to ask
        with contextlib.suppress(ValueError), warnings.catch_warnings(action="ignore"):
            untyped._set_ip_address(connection)

    def procline(self, message: str) -> None:
        """Do not rename the process: several of these share it."""

    def begin(self) -> None:
        """Be known to Redis, also if it forgot us."""
        untyped: Any = self
        self.connection.delete(self.key)
        untyped.register_birth()

    def serve(self, queues: list[Queue]) -> None:
        """Have RQ's tools show that it serves these queues."""
        new = {queue.name for queue in queues} - {queue.name for queue in self.queues}
        self.queues = queues
        with self.connection.pipeline() as pipe:
            for name in new:
                pipe.sadd(WORKERS_BY_QUEUE_KEY % name, self.key)
            pipe.hset(self.key, "queues", ",".join(queue.name for queue in queues))
            pipe.execute()

    def retire(self) -> None:
        """Be known no more."""
        untyped: Any = self
        untyped.register_death()

    def is_known(self) -> bool:
        """Return whether Redis has it: not after a FLUSHALL."""
        return bool(self.connection.hexists(self.key, "birth"))

    def finish(self, job: Job, queue: Queue, execution: Execution, value: Any) -> None:
        """Finish the job: keep its outcome as RQ keeps a return value."""
        job.ended_at = now()
        job._result = value
        self.handle_job_success(
            job=job, queue=queue, started_job_registry=queue.started_job_registry, execution=execution
        )

    def fail(self, job: Job, queue: Queue, execution: Execution, why: str, *, stopped: bool = False) -> None:
        """Give the job to another process if it has tries left and was not stopped."""
        job.ended_at = now()
        if stopped:
            self._stopped_job_id = job.id
        self.handle_job_failure(job, queue, exc_string=why, execution=execution)

    def hand_back(self, job: Job, queue: Queue, execution: Execution) -> None:
        """Put the job back to the front of its queue; that is no try of it. What has a result is not run again."""
        note_begun(job)
        with self.connection.pipeline() as pipe:
            self.cleanup_execution(job, pipeline=pipe, execution=execution)
            pipe.execute()
        queue.enqueue_job(job, at_front=True)


@dataclass(eq=False)
class LaneJob:
    """A job that a lane has."""

    job: Job
    queue: Queue
    execution: Execution
    set_id: str
    repo: str  # its path in the project
    slot: Path
    share: Share
    before: int = 0  # how often its worker was lost
    stopped: bool = False
    ended: bool = False  # its process has; Redis may not know yet


@dataclass(eq=False)
class Lane:
    """One warm process; it runs a set at a time. end_by: when a process that was asked to end is ended."""

    number: int
    worker: RqWorker
    process: subprocess.Popen[bytes]
    warm: bool = False
    task: LaneJob | None = None
    buffer: bytearray = field(default_factory=bytearray)
    end_by: float | None = None

    @property
    def stdout(self) -> int:
        """The stream of the process's answers."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    @property
    def idle(self) -> bool:
        """Whether it can take a set."""
        return self.warm and self.task is None and self.end_by is None

    def send(self, request: Mapping[str, Any]) -> None:
        """Give it a set. Raises BrokenPipeError if it died, which its stdout says, too."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(dict(request)).encode() + b"\n")
        self.process.stdin.flush()

    def ask_to_end(self, grace: float) -> None:
        """End what it runs, and itself."""
        if self.end_by is None:
            self.end_by = time.monotonic() + grace
            self.process.terminate()

    def end_now(self) -> None:
        """End its process tree and wait for it."""
        signal_group(self.process.pid, 9)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def make_worker(client: Client, name: str, queues: list[Queue]) -> RqWorker:
    """Return an RQ worker that is registered in Redis."""
    from rq.serializers import JSONSerializer

    worker = RqWorker(
        queues, name=name, connection=client, serializer=JSONSerializer, worker_ttl=FORGET, job_monitoring_interval=TTL
    )
    worker.begin()
    worker.set_state("idle")
    return worker
