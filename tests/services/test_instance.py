"""What the supervisor asks before it starts a program."""

from __future__ import annotations

import os

import pytest

from minipach.services.instance import _inside, refusal


@pytest.mark.parametrize(
    ("runtime", "runs"), [("bubblewrap", True), ("none", True), ("podman", False), ("docker", False)]
)
def test_runtimes_whose_ports_are_not_reached_are_refused(runtime: str, runs: bool) -> None:
    assert (refusal(runtime) == "") == runs


def test_a_process_without_another_network_below_it_has_no_inside() -> None:
    assert _inside(os.getpid()) is None
