"""Receivers and passes that are killed at random moments: no push is lost, and none is recorded twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import httpx
import pytest

from minipach.project.lock import holder
from minipach.project.project import Project
from tests.fixtures.projects import PATIENCE, Study
from tests.fixtures.receivers import Serving, serving, signed


@pytest.mark.timeout(5400)  # 200 pushes on a busy machine
@pytest.mark.parametrize(
    ("events", "seed"), [pytest.param(6, 1, marks=pytest.mark.slow), pytest.param(200, 2, marks=pytest.mark.soak)]
)
def test_kills_at_random(study: Study, tmp_path: Path, events: int, seed: int) -> None:
    dice = random.Random(seed)
    study.copier()
    study.put("images/first", "first")
    study.schedule()
    bare, other = tmp_path / "images.git", tmp_path / "other"
    study.ok("git", "clone", "-q", "--bare", "images", str(bare))
    study.git("images", "remote", "add", "origin", str(bare))
    study.git(".", "config", "minipach.follow", "origin")
    study.ok("git", "clone", "-q", str(bare), str(other))
    sent, kills = 0, {"receiver": 0, "pass": 0}
    while sent < events:
        with serving(study, tmp_path / "log", "--every", "0") as found:
            while sent < events:
                commit(study, other, f"file{sent}")
                sent += 1
                with contextlib.suppress(httpx.TransportError):
                    headers, body = signed("gitea", str(sent))
                    httpx.post(f"{found.url}/hooks/gitea", content=body, headers=headers)
                time.sleep(dice.choice((0, 0.2, 1.0, 2.5)))
                if dice.random() < 0.4 and kill_pass(study):
                    kills["pass"] += 1
                if dice.random() < 0.3:
                    kills["receiver"] += 1
                    break  # the fixture kills it
    wanted = {"first", *(f"file{number}" for number in range(events))}
    with serving(study, tmp_path / "log", "--every", "0") as found:
        wait_for(study, found, wanted)
    records = study.git("edges", "log", "--format=%s", "--grep=^\\[DATALAD RUNCMD\\]").splitlines()
    assert sorted(line.rpartition(" ")[2] for line in records) == sorted(wanted)
    assert study.plan()["edges"]["counts"]["run"] == 0
    assert kills["receiver"], kills  # whether a pass was running when one was to be killed, the machine decides


def commit(study: Study, other: Path, name: str) -> None:
    """Somebody pushes a file."""
    (other / name).write_text(name)
    study.ok("git", "add", name, cwd=other)
    study.ok("git", "commit", "-q", "--no-verify", "-m", name, cwd=other)
    study.ok("git", "push", "-q", "origin", "HEAD", cwd=other)


def kill_pass(study: Study) -> bool:
    """Kill the pass that runs, and what it has started."""
    found = holder(Project(study.root).local.lock)
    if found is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.killpg(found.pid, signal.SIGKILL)
    return True


def wait_for(study: Study, found: Serving, wanted: set[str]) -> None:
    """Wait until the results are there, and each line is answered."""
    state = Project(study.root).local
    deadline = time.monotonic() + PATIENCE
    while state.heard.exists() or state.taken.exists() or study.outputs("edges").keys() != wanted:
        assert time.monotonic() < deadline, found.log.read_text() + state.passes_log.read_text()
        time.sleep(0.3)
