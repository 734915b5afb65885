"""Each process that ends another one waits longer than that one may take to end its own."""

from __future__ import annotations

from minipach.model import launch_protocol as protocol


def test_who_ends_something_waits_longer_than_what_it_ends() -> None:
    children = (protocol.WORKER_GRACE, protocol.SET_GRACE, protocol.CLONE_GRACE)
    assert protocol.GRACE < protocol.LAUNCHER_GRACE < min(children)


def test_who_keeps_or_sends_results_gets_more_time() -> None:
    assert protocol.WORKER_GRACE < protocol.SET_GRACE < protocol.CLONE_GRACE


def test_a_trial_waits_for_its_launcher() -> None:
    assert protocol.GRACE < protocol.TRIAL_GRACE
