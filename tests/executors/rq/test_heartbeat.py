"""Heartbeats: what runs is asked for while the worker's own thread goes on, and nothing ends them. No Redis."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from minipach.executors.resources import Capacity, ResourceClass
from minipach.executors.rq.heartbeat import Heartbeat
from minipach.executors.rq.lane import LaneJob
from minipach.executors.rq.supervisor import WorkerOptions, WorkerSupervisor
from tests.fixtures.leftovers import until


class Redis:
    """All that a heart without workers asks for, of Redis and of the project's board."""

    def __init__(self) -> None:
        self.client = self.names = cast(Any, self)
        self.work = self.publish_queue = "work"
        self.reports = 0

    def ping(self) -> None:
        """It is there."""

    def pubsub(self, **_options: Any) -> Any:
        return self

    def subscribe(self, **_channels: Any) -> None:
        """Nobody ever says anything."""

    def get_message(self, timeout: float) -> None:
        threading.Event().wait(min(timeout, 0.01))

    def close(self) -> None:
        """No more."""

    def queue(self, name: str) -> str:
        return name

    def report(self, _name: str, _facts: object) -> None:
        self.reports += 1

    def tend(self) -> None:
        """Nothing to tend."""


def test_a_heartbeat_that_goes_wrong_is_told_and_is_not_the_last(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minipach.executors.rq.heartbeat.BEAT", 0.01)
    asked: list[int] = []

    def busy() -> list[Any]:
        asked.append(len(asked))
        if len(asked) == 1:
            raise TypeError("gone in between")
        return []

    board = Redis()
    heart = Heartbeat(cast(Any, board), [], busy, dict, "me")
    heart.start()
    until("a second heartbeat", lambda: board.reports)
    heart.stop()
    assert "gone in between" in caplog.text


class Fleeting:
    """Something that has a task at the first look, and none at the next."""

    worker = "worker"

    def __init__(self, task: object) -> None:
        self._tasks = [task, None]

    @property
    def task(self) -> Any:
        """What it has now."""
        return self._tasks.pop(0) if self._tasks else None


def test_what_ends_while_it_is_asked_for_is_no_error() -> None:
    board: Any = Redis()
    place: Any = SimpleNamespace(project=None, pusher=())
    supervisor: Any = WorkerSupervisor(place, board, board, WorkerOptions(1, Capacity((), 1, 1)), print)
    task: Any = Fleeting(None)
    supervisor._lanes = [Fleeting(task)]
    supervisor._going = Fleeting(("job", "execution"))
    assert [(worker, task.job if isinstance(task, LaneJob) else task) for worker, task in supervisor._busy()] == [
        ("worker", task),
        ("worker", "job"),
    ]
    assert supervisor._busy() == []


def test_a_set_that_ends_while_redis_is_away_is_told_of_later() -> None:
    """Its log goes through Redis, too, where no filesystem is shared; that must not end the worker."""

    class Away:
        project, pusher = None, ()
        read_answer = staticmethod(json.loads)

        def after(self, *_: object) -> None:
            raise redis.exceptions.ConnectionError("away")

    place: Any = Away()
    board: Any = Redis()
    supervisor: Any = WorkerSupervisor(place, board, board, WorkerOptions(1, Capacity((), 1, 1)), print)
    task = SimpleNamespace(set_id="s", share=Capacity((), 1, 1).take(ResourceClass()), ended=False)
    lane = SimpleNamespace(worker="worker", task=task)
    supervisor._answered(lane, b'{"outcomes": [], "log": "/log"}')
    assert lane.task is None, "its process is free"
    assert supervisor._teller.waiting == [("worker", task)]
