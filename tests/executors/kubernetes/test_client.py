"""Calls of kubectl: which are tried again, and what a failure says."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.executors.kubernetes.client import Client, ClusterAwayError, ClusterRefusedError


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
