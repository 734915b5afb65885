"""Each process that ends another one waits longer than that one may take to end its own."""

from __future__ import annotations

from minipach.executors import child_process
from minipach.executors.local import executor as local
from minipach.executors.rq import supervisor
from minipach.model.launch_protocol import GRACE
from minipach.rerun import trial


def test_a_child_waits_for_its_launcher_and_an_executor_for_its_child() -> None:
    assert GRACE < child_process.LAUNCHERS_END < min(supervisor._GRACE, local._GRACE)


def test_a_trial_waits_for_its_launcher() -> None:
    assert GRACE < trial._GRACE
