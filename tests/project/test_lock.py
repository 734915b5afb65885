"""One `schedule` at a time per pipeline, and an end at any moment: Ctrl-C, SIGTERM."""

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
from minipach.project.lock import holders, project_lock, register
from minipach.support.errors import UserError
from tests.fixtures.leftovers import Background, hold, leftovers, no_leftovers, result_of, two_pipelines, until
from tests.fixtures.refusals import refused

HOLDER = """
import sys
from pathlib import Path
from minipach.project.lock import project_lock
with project_lock(Path(sys.argv[1]), wait=True, notify=print):
    print("held", flush=True)
    sys.stdin.read()
"""


SCHEDULE = """
import sys
from pathlib import Path
from minipach.project.lock import register
with register(Path(sys.argv[1]), sys.argv[2:], wait=True, notify=print) as claims:
    claims.take(sys.argv[2])
    print("held", flush=True)
    sys.stdin.read()
"""


def schedule_of(lock: Path, *pipelines: str) -> subprocess.Popen[bytes]:
    """A process that is registered as a schedule of these pipelines, and works on the first."""
    command = [sys.executable, "-c", SCHEDULE, str(lock), *pipelines]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


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
        with pytest.raises(UserError) as error, project_lock(tmp_path / "lock", wait=False, notify=print):
            pass
        assert f"process {other.pid} on " in str(error.value)
    finally:
        other.communicate()
    with project_lock(tmp_path / "lock", wait=False, notify=print):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    other = holder(tmp_path / "lock")
    other.kill()
    other.communicate()
    assert json.loads((tmp_path / "lock").read_text())["pid"] == other.pid  # its name is still in it
    told: list[str] = []
    with project_lock(tmp_path / "lock", wait=False, notify=told.append):
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
    with project_lock(lock, wait=False, notify=print):
        assert str(lock_holder(lock)).startswith(f"process {os.getpid()} ")
    over.join()


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), project_lock(tmp_path / "lock", wait=True, notify=print):
        raise ZeroDivisionError
    with project_lock(tmp_path / "lock", wait=False, notify=print):
        pass
    assert (tmp_path / "lock").read_text() == ""


def test_schedules_of_different_pipelines_are_registered_beside_each_other(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    told: list[str] = []
    other = schedule_of(lock, "edges", "montage")
    try:
        with register(lock, ["masks", "montage"], wait=True, notify=told.append) as claims:
            assert claims.take("masks") and claims.take("montage")
            assert not claims.take("edges") and not claims.take("edges")
            (line,) = told  # it is said once
            assert line.startswith(f"edges: waiting for process {other.pid} on ")
            assert [sorted(one.held) for one in holders(lock)] in (
                [["edges"], ["masks", "montage"]],
                [["masks", "montage"], ["edges"]],
            )
            claims.release("montage")
            other.communicate()
            assert claims.take("edges")
        assert holders(lock) == []
    finally:
        other.kill()
        other.communicate()


def test_who_does_not_wait_leaves_if_a_schedule_has_one_of_its_pipelines(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    other = schedule_of(lock, "edges", "montage")
    try:
        leaves = register(lock, ["masks", "montage"], wait=False, notify=print)
        with refused("project.locked", None, str(other.pid)), leaves:
            pass
        with register(lock, ["masks"], wait=False, notify=print):
            pass
    finally:
        other.communicate()


def test_who_must_be_alone_waits_for_schedules_and_a_step_for_those_of_its_pipelines(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    other = schedule_of(lock, "edges", "montage")
    try:
        with refused("project.locked"), project_lock(lock, wait=False, notify=print):
            pass
        with pytest.raises(UserError), project_lock(lock, wait=False, notify=print, without=["edges"]):
            pass
        with project_lock(lock, wait=False, notify=print, without=["montage"]):
            assert len(holders(lock)) == 2
    finally:
        other.communicate()
    with project_lock(lock, wait=False, notify=print):
        pass


def test_what_a_killed_schedule_held_is_free_and_cleared_up(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    other = schedule_of(lock, "edges")
    other.kill()
    other.communicate()
    (left,) = (tmp_path / "schedules").glob("*.lock")
    (tmp_path / "schedules" / f"{left.stem}.json.{other.pid}").write_text("{")  # it was just being written
    assert holders(lock) == []
    with register(lock, ["edges"], wait=False, notify=print) as claims:
        assert claims.take("edges")
        assert [one.pid for one in holders(lock)] == [os.getpid()]
        assert len(list((tmp_path / "schedules").iterdir())) == 2
    assert list((tmp_path / "schedules").iterdir()) == []


def test_who_does_not_wait_lets_a_schedule_end_its_step(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with register(lock, ["edges"], wait=True, notify=print) as claims:
        over = threading.Event()

        def step() -> None:
            with claims.locked():
                over.wait(1)  # longer than somebody who only looks has the lock

        other = threading.Thread(target=step)
        other.start()
        until("the step has begun", lambda: lock.exists() and lock.read_text())
        with project_lock(lock, wait=False, notify=print, without=["montage"]):
            other.join()


@pytest.mark.slow
def test_of_two_schedules_one_waits_and_one_leaves_and_both_say_for_whom(tmp_path: Path) -> None:
    study = two_pipelines(tmp_path / "study")
    study.put("images/new.txt", "new\n")
    gate = hold(study)
    first = Background(study, "schedule").waiting()
    leaves = study.minipach("schedule", "--no-wait")
    assert leaves.code == 2
    assert leaves.reports("project.locked", None, f"process {first.process.pid} on ")
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
