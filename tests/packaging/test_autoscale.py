"""The example that starts workers in a cloud; `minipach` and the cloud's program are stand-ins."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "cloud" / "autoscale.py"


@pytest.fixture(scope="module")
def autoscale() -> ModuleType:
    spec = importlib.util.spec_from_file_location("autoscale", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def top(waiting: dict[str, int], idle: int = 0, busy: int = 0) -> dict[str, Any]:
    workers = [{"runs": []}] * idle + [{"runs": [{}]}] * busy
    return {"waiting": [{"kind": kind, "sets": sets} for kind, sets in waiting.items()], "workers": workers}


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        (top({}), (0, 0)),
        (top({"gpu1": 1}), (1, 1)),
        (top({"gpu1": 9, "gpu2": 3, "any": 50}), (3, 3)),
        (top({"gpu1": 400}), (10, 10)),
        (top({"gpu1": 8}, busy=3), (5, 2)),
        (top({"gpu1": 8}, idle=2), (2, 0)),
        (top({}, idle=3, busy=20), (10, 0)),
    ],
)
def test_workers_follow_the_queue(autoscale: ModuleType, seen: dict[str, Any], wanted: tuple[int, int]) -> None:
    assert autoscale.Fleet(4, 10, 600).wanted(seen, "gpu*", 0.0) == wanted


def test_what_was_started_is_not_started_again_until_it_had_its_time(autoscale: ModuleType) -> None:
    fleet = autoscale.Fleet(1, 10, 600)
    assert fleet.wanted(top({"any": 4}), "*", 0.0)[1] == 4
    fleet.started(4, 0.0)
    assert fleet.wanted(top({"any": 4}), "*", 100.0)[1] == 0
    assert fleet.wanted(top({"any": 2}, busy=2), "*", 200.0)[1] == 0, "two of four have come"
    assert fleet.wanted(top({"any": 3}, busy=2), "*", 300.0)[1] == 1
    assert fleet.wanted(top({"any": 2}, busy=2), "*", 700.0)[1] == 2, "the others never came"


def test_the_command_is_run_and_what_fails_is_one_line(tmp_path: Path) -> None:
    answer = tmp_path / "minipach"
    answer.write_text(f"#!/bin/sh\necho '{json.dumps(top({'any': 5}))}'\n")
    answer.chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    words = [sys.executable, str(SCRIPT), "--every", "0", "--slots", "2", "--", "echo", "start {start} of {count}"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3 to start, 3 in all\nstart 3 of 3\n")
    for broken in ("echo no json", "exit 3", "echo '{}'"):
        answer.write_text(f"#!/bin/sh\n{broken}\n")
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
