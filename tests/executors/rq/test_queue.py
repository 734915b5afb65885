"""Tries whose worker was lost, as RQ's jobs tell of them: real jobs in a real Redis, with workers that die."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minipach.executors.resources import ResourceClass
from minipach.executors.rq.connection import Client
from minipach.executors.rq.executor import _outcomes
from minipach.executors.rq.job_tries import UNABLE, note_lost
from minipach.executors.rq.lane import RqWorker, make_worker
from minipach.executors.rq.logs import Tails, keep_tail, receive_log, send_lost_log
from minipach.executors.rq.names import Names
from minipach.executors.rq.queue import QueueStore
from minipach.model.work_set import WorkSet
from tests.fixtures.redis_servers import Redis

NAMES = Names("0123456789ab")
KIND = ResourceClass()


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture
def client(server: Redis) -> Client:
    found = server.client()
    found.flushall()
    return found


def a_set(folder: Path) -> WorkSet:
    """A set of two datums, for what needs its names alone."""
    datums = tuple({"name": name, "id": name, "dest": ""} for name in ("a", "b"))
    rest = {"head": (), "tail": (), "inputs_of": ((), ()), "always": (), "files": (), "job": "j", "forced": False}
    log = str(folder / "000000-a.log")
    return WorkSet("c" * 40, "edges", str(folder), "b", "i", parts=((), ()), datums=datums, tries=1, log=log, **rest)


def begin(
    board: QueueStore, worker: RqWorker, why: str = "its process ended with -9", *, stopped: bool = False
) -> tuple[int, Callable[[], None]]:
    """Take the job as a worker does; how often it was lost before, and what ends it."""
    job = board.take(NAMES.queue(KIND), 0)
    assert job is not None
    lost = note_lost(job)
    execution = worker.prepare_execution(job)
    worker.prepare_job_execution(job, True)
    queue = board.queue(NAMES.queue(KIND))
    return lost, lambda: worker.fail(job, queue, execution, why, stopped=stopped)


def test_each_lost_try_has_its_time_its_host_and_its_log(client: Client, tmp_path: Path) -> None:
    board, work = QueueStore(client, NAMES), a_set(tmp_path)
    board.enqueue([(work, "edges", KIND)])
    before = time.time()
    for number, host in enumerate(["one", "two.lab.org", "three"]):
        worker = make_worker(client, f"minipach.{host}.77.ab12.0", [])
        lost, fail = begin(board, worker)
        assert lost == number
        fail()
    (outcome,) = _outcomes(work, board.ended([work.id])[work.id])
    assert outcome.kind == "lost" and "lost 3 times (last: its process ended with -9)" in outcome.message
    assert [(t.host, Path(t.log).name) for t in outcome.before] == [
        ("one", "000000-a.lost1.log"),
        ("two.lab.org", "000000-a.lost2.log"),
    ]
    assert (outcome.host, len(outcome.datums)) == ("three", 2)
    took = outcome.datums[0].took
    assert took is not None
    moments = [m for t in outcome.before for m in (t.started, t.ended)] + [took.began, took.ended]
    assert moments == sorted(moments)
    assert before - 1 <= moments[0] and moments[-1] <= time.time()


def test_a_worker_that_is_there_and_could_not_is_not_called_lost(client: Client, tmp_path: Path) -> None:
    board, work = QueueStore(client, NAMES), a_set(tmp_path)
    board.enqueue([(work, "edges", KIND)])
    for _ in range(3):
        begin(board, make_worker(client, "minipach.one.77.ab12.0", []), f"{UNABLE}git push: no space there")[1]()
    assert (
        board.ended([work.id])[work.id].message == "no worker could run it, in 3 tries (last: git push: no space there)"
    )


def test_what_a_worker_elsewhere_had_sent_of_a_lost_try_comes_with_its_log(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minipach.executors.rq.logs._EVERY", -1.0)
    work = a_set(tmp_path / "logs")
    there = tmp_path / f"{work.id}.log"
    there.write_bytes(b"datum: begins 1\nfirst\ndatum: begins 2\n")
    sent = Tails(tmp_path)
    for _ in range(2):
        sent.send(client, NAMES, [work.id])
    keep_tail(client, NAMES, work.id, 1)  # its whole machine is gone
    there.write_bytes(b"datum: begins 1\nsecond\n")
    send_lost_log(client, NAMES, work.id, 2, there)  # only its process
    keep_tail(client, NAMES, work.id, 2)
    receive_log(client, NAMES, work, 2)
    logs = {p.name: p.read_text() for p in sorted((tmp_path / "logs").iterdir())}
    assert logs["000000-a.lost1.1.log"] == "first\n"
    assert logs["000000-a.lost2.1.log"] == "second\n"
    assert "000000-a.log" not in logs
    receive_log(client, NAMES, work, 1, last=False)  # as if that had been the last
    assert (tmp_path / "logs/000000-a.1.log").read_text() == "second\n"
    QueueStore(client, NAMES).forget([work.id])
    assert [key for key in client.keys("*") if b":log:" in key] == []


def test_what_somebody_stopped_had_one_try_and_its_time(client: Client, tmp_path: Path) -> None:
    board, work = QueueStore(client, NAMES), a_set(tmp_path)
    board.enqueue([(work, "edges", KIND)])
    before = time.time()
    _, end = begin(board, make_worker(client, "minipach.node1.7.aaaa.0", []), stopped=True)
    end()
    (outcome,) = _outcomes(work, board.ended([work.id])[work.id])
    assert (outcome.message, outcome.tries, outcome.host) == ("it was stopped in Redis", 1, "node1")
    assert outcome.started is not None and outcome.ended is not None
    assert before - 1 < outcome.started <= outcome.ended
