"""The states of services: files that anybody may have damaged, and the lock of one supervisor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minipach.model.local_state import LocalState
from minipach.records.service_state import (
    ServiceState,
    Supervising,
    name_of,
    read_state,
    stop_by_hand,
    supervisor,
    write_state,
)
from tests.fixtures.refusals import refused

SERVING = ServiceState("site", "serving", "ab" * 32, address="127.0.0.1:8080", since=1.5, restarts=2)


@pytest.fixture
def local(tmp_path: Path) -> LocalState:
    return LocalState(tmp_path / "minipach")


def test_a_state_counts_while_a_supervisor_runs(local: LocalState) -> None:
    lock = Supervising(local)
    write_state(local, SERVING)
    assert read_state(local, "site") == SERVING
    lock.release()
    assert read_state(local, "site") == ServiceState("site", "stopped", restarts=2)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({**SERVING.as_json(), "since": "x"}), '{"path": "other"}'])
def test_a_damaged_state_is_none(local: LocalState, text: str) -> None:
    lock = Supervising(local)
    write_state(local, SERVING)
    (local.services / f"{name_of('site')}.json").write_text(text)
    assert read_state(local, "site").state == "waiting"
    lock.release()


def test_a_second_supervisor_is_refused(local: LocalState) -> None:
    assert supervisor(local) is None
    lock = Supervising(local)
    with refused("service.supervised", "services"):
        Supervising(local)
    lock.release()
    assert supervisor(local) is None
    Supervising(local).release()


def test_a_service_that_is_stopped_by_hand_stays_so(local: LocalState) -> None:
    lock = Supervising(local)
    stop_by_hand(local, "a/b", stopped=True)
    write_state(local, ServiceState("a/b", "stopped"))
    assert read_state(local, "a/b").state == "stopped"
    stop_by_hand(local, "a/b", stopped=False)
    assert read_state(local, "a/b").state == "waiting"
    lock.release()
