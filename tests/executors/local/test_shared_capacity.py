"""Schedules of one project share the machine: no GPU, CPU or byte is given twice, and what is killed gives all back."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minipach.executors.local.shared_capacity import SharedCapacity
from minipach.executors.resources import Capacity, ResourceClass
from tests.fixtures.projects import Study

GIB = 1 << 30


def rooms(
    folder: Path, count: int = 2, *, slots: int = 9, cpus: float = 4.0, gpus: tuple[str, ...] = ("0", "1")
) -> list[SharedCapacity]:
    return [SharedCapacity(Capacity(gpus, cpus, 8 * GIB), folder / "room", slots) for _ in range(count)]


def test_what_one_has_the_other_has_not(tmp_path: Path) -> None:
    one, two = rooms(tmp_path)
    first = one.take_if_fits(ResourceClass(gpus=1, cpu=3, memory=6 * GIB))
    assert first is not None
    assert first.gpus == ("0",)
    assert two.take_if_fits(ResourceClass(cpu=1.5)) is None
    assert two.take_if_fits(ResourceClass(memory=3 * GIB)) is None
    assert two.take_if_fits(ResourceClass(gpus=2)) is None
    second = two.take_if_fits(ResourceClass(gpus=1, cpu=1, memory=2 * GIB))
    assert second is not None
    assert second.gpus == ("1",)
    one.release(first)
    third = two.take_if_fits(ResourceClass(gpus=1, cpu=3, memory=6 * GIB))
    assert third is not None
    assert third.gpus == ("0",)
    two.release(second)
    two.release(third)
    assert list((tmp_path / "room").glob("*.set")) == []


def test_slots_are_shared_and_each_has_one_in_any_case(tmp_path: Path) -> None:
    one, two = rooms(tmp_path, slots=2)
    anything = ResourceClass()
    held = [one.take_if_fits(anything), one.take_if_fits(anything)]
    assert all(held)
    assert one.take_if_fits(anything) is None
    assert two.take_if_fits(anything) is not None
    assert two.take_if_fits(anything) is None
    for share in held:
        assert share is not None
        one.release(share)
    assert two.take_if_fits(anything) is not None


def test_a_killed_schedule_gives_everything_back(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; sys.path[:0] = [sys.argv[2]]\n"
        "from tests.executors.local.test_shared_capacity import rooms\n"
        "from minipach.executors.resources import ResourceClass\n"
        "(room,) = rooms(Path(sys.argv[1]), 1); share = room.take_if_fits(ResourceClass(cpu=4.0))\n"
        "print(share is not None, flush=True); time.sleep(600)\n"
    )
    top = str(Path(__file__).parents[3])
    child = subprocess.Popen([sys.executable, "-c", code, tmp_path, top], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "True\n"
    (room,) = rooms(tmp_path, 1)
    assert room.take_if_fits(ResourceClass(cpu=1.0)) is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert room.take_if_fits(ResourceClass(cpu=1.0)) is not None


@pytest.mark.parametrize("text", ["", "[]", '{"cpu": "all", "memory": -1, "gpus": 3}', "\0"])
def test_a_spoilt_file_takes_nothing(tmp_path: Path, text: str) -> None:
    one, two = rooms(tmp_path)
    assert one.take_if_fits(ResourceClass(cpu=1.0)) is not None
    (file,) = (tmp_path / "room").glob("*.set")
    file.write_text(text)
    with (tmp_path / "room" / "other.set").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(text)
        held.flush()
        assert two.take_if_fits(ResourceClass(cpu=3.0)) is not None


def test_without_a_folder_nothing_is_shared(tmp_path: Path) -> None:
    (tmp_path / "room").write_text("a file")
    one, two = rooms(tmp_path)
    assert one.take_if_fits(ResourceClass(cpu=4.0)) is not None
    assert one.take_if_fits(ResourceClass(cpu=1.0)) is None
    assert two.take_if_fits(ResourceClass(cpu=4.0)) is not None


@pytest.mark.slow
def test_two_schedules_never_use_more_than_there_is(study: Study) -> None:
    study.put("images/a", "a")
    script = 'date +%s.%N > "$PFS/out/$NAME"; sleep 1; date +%s.%N >> "$PFS/out/$NAME"\n'
    all_of_them = len(os.sched_getaffinity(0))
    for name in ("one", "two"):
        spec = (
            'input: {pfs: {repo: images, glob: "/*"}}\n'
            f"transform: {{cmd: [sh, code/step.sh], env: {{NAME: {name}}}}}\n"
            f"resource_requests: {{cpu: {all_of_them}}}\n"
        )
        study.pipeline(name, spec, step=script)
    study.save(".")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "minipach", "schedule", name], cwd=study.root, stderr=subprocess.DEVNULL
        )
        for name in ("one", "two")
    ]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    times = sorted([float(t) for t in study.read(f"{name}/{name}").split()] for name in ("one", "two"))
    assert times[0][1] <= times[1][0], "both had all CPUs at once"
    assert not list((study.root / ".git/minipach/room").glob("*.set"))
