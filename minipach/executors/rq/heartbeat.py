"""The threads of a worker that talk to Redis meanwhile: one sends heartbeats, one listens for commands."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from rq.command import PUBSUB_CHANNEL_TEMPLATE

from minipach.executors.rq.lane import FORGET, TTL, LaneJob, RqWorker
from minipach.executors.rq.queue import QueueStore, is_of_wrong_kind
from minipach.support.validation import parse_object

_LOG = logging.getLogger(__name__)
BEAT = 2.0  # seconds between two heartbeats
# Redis has been there for so long before the jobs of silent workers count as abandoned: all have had time to speak up
_SETTLED = TTL - BEAT


@dataclass(frozen=True, slots=True)
class Order:
    """Something for the worker's own thread to do. what: work, stop, shutdown, missing · job: its id."""

    what: str
    job: str = ""


class Heartbeat:
    """Both threads. They end with the process, or at `stop`."""

    def __init__(
        self,
        board: QueueStore,
        workers: Sequence[RqWorker],
        busy: Callable[[], list[tuple[RqWorker, LaneJob]]],
        facts: Callable[[], dict[str, Any]],
        name: str,
    ) -> None:
        self._board = board
        self._workers = list(workers)
        self._busy = busy
        self._facts = facts
        self._name = name
        self.orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self.wake, self._wake_up = os.pipe()
        os.set_blocking(self._wake_up, False)
        self._stop = threading.Event()
        self._since: float | None = None  # when Redis was last found to be there after it was away
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._beat, self._listen)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the heartbeat."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=3)
        os.close(self.wake)

    def poke(self, order: Order) -> None:
        """Wake the worker's own thread; also from a signal handler."""
        self.orders.put(order)
        with contextlib.suppress(BlockingIOError):  # then it is awake anyway
            os.write(self._wake_up, b".")

    def _beat(self) -> None:
        while not self._stop.wait(BEAT if self._since is not None else 0.2):
            try:
                self._beat_once()
            except redis.exceptions.RedisError as error:
                self._since = None
                if is_of_wrong_kind(error):
                    self._mend()
                self._stop.wait(1.0)
            except Exception as error:  # without heartbeats, what runs here would count as abandoned, and run twice
                _LOG.warning(f"a heartbeat failed, and is repeated: {type(error).__name__}: {error}")

    def _mend(self) -> None:
        with contextlib.suppress(redis.exceptions.RedisError):
            for key in self._board.mend():
                _LOG.warning(f"Redis: {key} was of a wrong type; deleted, and made again")

    def _beat_once(self) -> None:
        client = self._board.client
        client.ping()
        if self._since is None:
            self._since = time.monotonic()
        for worker in self._workers:
            if not worker.is_known():
                worker.begin()
        for worker, task in self._busy():  # a worker may have several: one that runs, others whose results are pushed
            if client.hexists(task.job.key, "status"):
                worker.maintain_heartbeats(task.job, task.execution)
            else:
                self.poke(Order("missing", task.job.id))
        for worker in self._workers:
            worker.heartbeat(FORGET)
        self._board.report(self._name, self._facts())
        if time.monotonic() - self._since > _SETTLED:
            self._board.tend()

    def _listen(self) -> None:
        channels = {PUBSUB_CHANNEL_TEMPLATE % w.name: self._commanded for w in self._workers}
        while not self._stop.is_set():
            pubsub = self._board.client.pubsub(ignore_subscribe_messages=True)
            try:
                pubsub.subscribe(**channels, **{self._board.names.work: lambda _: self.poke(Order("work"))})
                self.poke(Order("work"))  # what was said while we weren't listening
                while not self._stop.is_set():
                    pubsub.get_message(timeout=1.0)
            except (redis.exceptions.RedisError, ValueError):
                self._stop.wait(1.0)
            finally:
                with contextlib.suppress(redis.exceptions.RedisError):
                    pubsub.close()

    def _commanded(self, message: dict[str, Any]) -> None:
        """Do what RQ's own commands say, as `send_stop_job_command` sends them."""
        try:
            payload = parse_object(message["data"])
            command, job = str(payload["command"]), str(payload.get("job_id", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        if command in ("stop-job", "stop-execution"):
            self.poke(Order("stop", job))
        elif command == "shutdown":
            self.poke(Order("shutdown"))
