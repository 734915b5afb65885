"""What sets print on machines that don't share the project's filesystem, while they run: a real Redis between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.executors.rq.logs import TailReader, Tails, send_log
from minipach.executors.rq.names import Names
from minipach.records.job_logs import MOST_SENT
from tests.fixtures.redis_servers import Redis

NAMES = Names("0123456789ab")
SET = "a" * 40


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with Redis() as server:
        yield server


def text_of(pieces: list[tuple[int, bytes]]) -> bytes:
    """Pieces that follow on each other, as one."""
    place = 0
    for at, text in pieces:
        assert at == place
        place += len(text)
    return b"".join(text for _, text in pieces)


@pytest.fixture
def tails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tails:
    """A worker's, which looks as often as it is asked to."""
    monkeypatch.setattr("minipach.executors.rq.logs._EVERY", -1.0)
    return Tails(tmp_path)


def test_what_a_set_prints_comes_as_it_prints_it(server: Redis, tails: Tails, tmp_path: Path) -> None:
    client, log = server.client(), tmp_path / f"{SET}.log"
    client.flushall()
    first, late = TailReader(client, NAMES), TailReader(client, NAMES)
    log.write_bytes(b"one\n")
    tails.send(client, NAMES, [SET])
    assert first.new([SET]) == {}, "most sets are short: nothing is sent of one that was just begun"
    tails.send(client, NAMES, [SET])
    assert first.new([SET]) == {SET: [(0, b"one\n")]}
    with log.open("ab") as file:
        file.write(b"two\n")
    tails.send(client, NAMES, [SET])
    assert first.new([SET, "another"]) == {SET: [(4, b"two\n")]} and first.new([SET]) == {}
    assert text_of(late.new([SET])[SET]) == b"one\ntwo\n"
    assert all(client.ttl(key) > 0 for key in client.keys("*")), "what nobody takes away goes by itself"

    log.write_bytes(b"anew\n")  # another try of the set in this worker
    tails.send(client, NAMES, [SET])
    assert first.new([SET]) == {SET: [(0, b"anew\n")]}
    send_log(client, NAMES, SET, log)
    assert [key.decode() for key in client.keys("*")] == [NAMES.log(SET)]


def test_silence_costs_no_round_trip(server: Redis, tails: Tails, tmp_path: Path) -> None:
    client = server.client()
    (tmp_path / f"{SET}.log").touch()

    def asked() -> int:
        return int(client.info("stats")["total_commands_processed"])

    before = asked()
    for _ in range(5):
        tails.send(client, NAMES, [SET, "b" * 40])
    assert asked() == before + 1


def test_a_chatty_set_fills_nothing(server: Redis, tails: Tails, tmp_path: Path) -> None:
    client, log = server.client(), tmp_path / f"{SET}.log"
    client.flushall()
    log.touch()
    for size in [1] * 3000 + [5_000_000] * 8 + [1] * 5:
        with log.open("ab") as file:
            file.write(b"x" * size)
        tails.send(client, NAMES, [SET])
    (entries,) = TailReader(client, NAMES).new([SET]).values()
    assert sum(len(text) for _, text in entries) <= MOST_SENT
    assert int(client.memory_usage(NAMES.tail(SET))) < 2 * MOST_SENT
    at, text = entries[-1]
    assert at + len(text) == log.stat().st_size, "the last is always there"


def test_redis_emptied_or_away_harms_nobody(tails: Tails, tmp_path: Path) -> None:
    log = tmp_path / f"{SET}.log"
    with Redis() as server:
        client = server.client()
        reader = TailReader(client, NAMES)
        log.write_bytes(b"one\n")
        for _ in range(2):
            tails.send(client, NAMES, [SET])
        client.flushall()
        log.write_bytes(b"one\ntwo\n")
        tails.send(client, NAMES, [SET])
        assert reader.new([SET]) == {SET: [(4, b"two\n")]}
        server.kill()
        log.write_bytes(b"one\ntwo\nthree\n")
        tails.send(client, NAMES, [SET])
        assert reader.new([SET]) == {}
        server.start()
        tails.send(client, NAMES, [SET])
        assert reader.new([SET]) == {SET: [(8, b"three\n")]}
        client.set(NAMES.tail("b" * 40), "no stream")
        (tmp_path / f"{'b' * 40}.log").write_bytes(b"text")
        for _ in range(2):
            tails.send(client, NAMES, ["b" * 40])
