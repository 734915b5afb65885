"""One `schedule` at a time per project, and an end at any moment: Ctrl-C, SIGTERM."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from minipach.project.lock import holder as lock_holder
from minipach.project.lock import project_lock
from minipach.support.errors import UserError
from tests.fixtures.leftovers import Background, hold, leftovers, no_leftovers, result_of, two_pipelines, until

HOLDER = """
import sys
from pathlib import Path
from minipach.project.lock import project_lock
with project_lock(Path(sys.argv[1]), wait=True, tell=print):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[bytes]:
    """A process that holds the lock until its stdin ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), "as", "a", "command"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_who_does_not_wait_is_told_who_has_the_lock(tmp_path: Path) -> None:
    other = holder(tmp_path / "lock")
    try:
        with pytest.raises(UserError) as error, project_lock(tmp_path / "lock", wait=False, tell=print):
            pass
        assert f"process {other.pid} on " in str(error.value)
    finally:
        other.communicate()
    with project_lock(tmp_path / "lock", wait=False, tell=print):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    other = holder(tmp_path / "lock")
    other.kill()
    other.communicate()
    assert json.loads((tmp_path / "lock").read_text())["pid"] == other.pid  # its name is still in it
    told: list[str] = []
    with project_lock(tmp_path / "lock", wait=False, tell=told.append):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert told == []


def test_who_only_looks_keeps_nobody_from_the_lock(tmp_path: Path) -> None:
    """What a killed holder left in the file makes others ask the kernel: a look has the lock for a moment."""
    lock = tmp_path / "lock"
    lock.write_text('{"pid": 1, "host": "here", "since": "then", "command": "minipach schedule"}')
    look = lock.open()
    fcntl.flock(look, fcntl.LOCK_SH)
    assert lock_holder(lock) is None  # another look
    over = threading.Timer(0.05, look.close)
    over.start()
    with project_lock(lock, wait=False, tell=print):
        assert str(lock_holder(lock)).startswith(f"process {os.getpid()} ")
    over.join()


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), project_lock(tmp_path / "lock", wait=True, tell=print):
        raise ZeroDivisionError
    with project_lock(tmp_path / "lock", wait=False, tell=print):
        pass
    assert (tmp_path / "lock").read_text() == ""


@pytest.mark.slow
def test_of_two_schedules_one_waits_and_one_leaves_and_both_say_for_whom(tmp_path: Path) -> None:
    study = two_pipelines(tmp_path / "study")
    study.put("images/new.txt", "new\n")
    gate = hold(study)
    first = Background(study, "schedule").waiting()
    leaves = study.minipach("schedule", "--no-wait")
    assert leaves.code == 2
    assert f"held by process {first.process.pid} on " in leaves.err
    assert "(minipach schedule, since " in leaves.err
    second = Background(study, "schedule")
    until("the second says for whom it waits", lambda: f"waiting for process {first.process.pid} on " in second.err)
    assert first.process.poll() is None
    with no_leftovers(study):
        gate.unlink()
        assert first.end().code == 0
        done = second.end()
    assert (done.code, done.out) == (0, "nothing to do\n")
    result_of(study)
    assert study.read("edges/new.txt") == b"new\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_an_interrupted_schedule_ends_its_processes_and_keeps_what_was_finished(tmp_path: Path, number: int) -> None:
    study = two_pipelines(tmp_path / "study")
    study.put("images/a first.txt", "first\n", save=False)
    study.put("images/new.txt", "new\n")
    gate = hold(study)
    running = Background(study, "schedule", "-j", "1")
    until("the first result", lambda: study.git("edges", "for-each-ref", "refs/minipach/results"))
    running.waiting()
    if number == signal.SIGINT:
        os.killpg(running.process.pid, number)  # as a terminal does
    else:
        os.kill(running.process.pid, number)
    done = running.end()
    assert done.code == 130
    assert done.err.splitlines()[-1] == "interrupted; the same command continues from here"
    assert "Traceback" not in done.err
    assert [path for path in leftovers(study) if not path.endswith("/minipach/working")] == []
    gate.unlink()
    with no_leftovers(study):
        assert study.schedule()["edges"]["counts"] == {
            "ran": 1,
            "reused": 1,
            "current": 2,
            "removed": 0,
            "recovered": 0,
            "failed": 0,
        }
    result_of(study)


@pytest.mark.soak
def test_two_interrupts_in_a_row_leave_nothing_running_either(tmp_path: Path) -> None:
    study = two_pipelines(tmp_path / "study")
    study.put("images/new.txt", "new\n")
    gate = hold(study)
    running = Background(study, "schedule").waiting()
    os.killpg(running.process.pid, signal.SIGINT)
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.end().code == 130  # waits until nothing of it runs
    gate.unlink()
    with no_leftovers(study):
        study.schedule()
    result_of(study)
