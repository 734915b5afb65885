"""What the executor reads from the cluster, and asks it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.executors.kubernetes.client import Client, ClusterAwayError, ClusterRefusedError
from minipach.executors.kubernetes.executor import parse_indexes
from minipach.executors.kubernetes.pod_state import ending, pod_place, why_pending
from minipach.executors.kubernetes.preflight import over_quota, quantity, used_up
from minipach.model.work_set import Needs


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", set()), (None, set()), ("0", {0}), ("1,3-5,7", {1, 3, 4, 5, 7}), ("x,2-,9", {9}), ("0-99999999999", set())],
)
def test_lists_of_indices_are_read_and_what_is_none_is_skipped(text: object, numbers: set[int]) -> None:
    assert parse_indexes(text) == numbers


def test_a_pod_without_labels_has_no_place() -> None:
    assert pod_place({}) == ("", None)
    labels = {"batch.kubernetes.io/job-name": "j", "batch.kubernetes.io/job-completion-index": "3"}
    assert pod_place({"metadata": {"labels": labels}}) == ("j", 3)


def test_how_a_pod_ended_and_why_it_waits_is_said_in_the_words_of_kubernetes() -> None:
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    pod = {
        "status": {"phase": "Failed", "reason": "Evicted", "containerStatuses": [{"name": "worker", "state": ended}]}
    }
    assert ending(pod) == "Evicted; worker: OOMKilled, exit code 137"
    assert ending({}) == "unknown" and why_pending({}) == "its container is being created"
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    pod = {"status": {"initContainerStatuses": [{"name": "command", "state": waiting}]}}
    assert why_pending(pod) == "ErrImagePull: no such image"


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with what kubectl is to say on stderr; it takes one line each time it is called, and fails with it."""
    lines = tmp_path / "lines"
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f"#!/bin/sh\nline=$(head -n1 {lines}); sed -i 1d {lines}\n"
        '[ -z "$line" ] || { echo "$line" >&2; exit 1; }\necho fine\n'
    )
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return lines


@pytest.mark.parametrize(
    "line",
    [
        "The connection to the server 10.0.0.1:6443 was refused: connection refused",
        "Error from server (InternalError): etcdserver: request timed out",
        "Error from server (TooManyRequests): Too many requests",
        "Unable to connect to the server: net/http: TLS handshake timeout",
        "Error from server (ServiceUnavailable): the server is currently unable to handle the request",
        "Error from server (Conflict): Operation cannot be fulfilled on jobs.batch",
    ],
)
def test_what_passes_is_asked_again_and_told_when_it_does_not_pass(said: Path, line: str) -> None:
    waits: list[float] = []
    client = Client(sleep=waits.append)
    said.write_text(f"{line}\n{line}\n")
    assert client.ask("get", "pods") == "fine\n"
    assert (client.calls, len(waits)) == (3, 2)
    said.write_text(f"{line}\n" * 9)
    with pytest.raises(ClusterAwayError):
        client.ask("get", "pods")


def test_a_refusal_is_not_asked_again(said: Path) -> None:
    client = Client(sleep=lambda _: pytest.fail("no reason to wait"))
    said.write_text('Error from server (Forbidden): jobs.batch is forbidden: User "me" cannot create resource "jobs"\n')
    with pytest.raises(ClusterRefusedError) as error:
        client.ask("create", "-f", "-")
    assert 'User "me" cannot create resource' in str(error.value)


def test_an_object_that_is_there_was_made_by_a_call_whose_answer_was_lost(said: Path) -> None:
    said.write_text(
        "Error from server (InternalError): timeout\nError from server (AlreadyExists): jobs.batch is there\n"
    )
    Client(sleep=lambda _: None).create({"kind": "Job"})


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2.0),
        ("500m", 0.5),
        ("1Gi", 2.0**30),
        ("1k", 1e3),
        ("1.5M", 1.5e6),
        ("x", None),
        (None, None),
        ("1kb", None),
    ],
)
def test_quantities_of_quotas_are_read(text: str | None, number: float | None) -> None:
    assert quantity(text) == number


def test_a_quota_below_one_pod_is_a_problem_and_a_full_one_is_not() -> None:
    quota = {
        "metadata": {"name": "lab"},
        "status": {
            "hard": {"pods": "4", "requests.memory": "1Gi", "requests.nvidia.com/gpu": "1", "cpu": "2"},
            "used": {"pods": "4", "requests.memory": "0"},
        },
    }
    assert list(used_up([quota, {}])) == [("lab", ["pods"])]
    nothing = {"metadata": {"name": "none"}, "status": {"hard": {"pods": "0"}, "used": {}}}
    assert list(used_up([nothing])) == [("none", ["pods"])]
    assert not list(over_quota([quota, {}], "edges/spec.yml", Needs(cpu=2.0, memory=2**30, gpus=1)))
    needs = Needs(cpu=3.0, memory=2**31, gpus=2)
    found = list(over_quota([quota], "edges/spec.yml", needs))
    assert [problem.code for problem in found] == ["kubernetes.over-quota"] * 3
