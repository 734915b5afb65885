"""One processor for what is started, and all of them again afterwards."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from minipach.support.cpu_affinity import on_one_processor

ASK = "import os; print(sorted(os.sched_getaffinity(0)))"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing changes")
@pytest.mark.parametrize("number", [0, 1, 1000])
def test_what_is_started_meanwhile_has_one_and_then_all_again(number: int) -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), on_one_processor(number):
        told = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout
        raise KeyError
    assert told.strip() == str([sorted(before)[number % len(before)]])
    assert os.sched_getaffinity(0) == before
