"""Whether processes are alive."""

from __future__ import annotations

import os
import subprocess

import pytest

from minipach.support.processes import is_alive


def test_a_process_is_alive_until_it_is_waited_for() -> None:
    process = subprocess.Popen(["sleep", "60"])
    assert is_alive(process.pid) and is_alive(str(process.pid)) and is_alive(os.getpid())
    process.kill()
    process.wait()
    assert not is_alive(process.pid)


@pytest.mark.parametrize("pid", ["", "x", "1.5", "9" * 30])
def test_what_is_no_process_is_not_alive(pid: str) -> None:
    assert not is_alive(pid)
