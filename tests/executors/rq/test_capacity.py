"""What a worker may be told to take of its machine; what can't be meant is one line that says what is allowed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.executors.gpus import gpus_there, own_gpus
from minipach.executors.resources import Room, own_cpus
from minipach.executors.rq.capacity import check_queues, make_room, size_of
from minipach.support.errors import UserError
from tests.fixtures.projects import Study


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"gpus": "a,b"}, r'--gpus a,b: "a" is no GPU. Fix: use indexes, as 0,1, or ids'),
        ({"gpus": "0,1,0"}, "--gpus 0,1,0: names a GPU twice"),
        ({"gpus": "0,"}, '"" is no GPU'),
        ({"gpus": "-1"}, '"-1" is no GPU'),
        ({"gpus": "00"}, '"00" is no GPU'),
        ({"gpu_type": ""}, '--gpu-type "": not a GPU type'),
        ({"gpu_type": "::"}, '--gpu-type "::": not a GPU type'),
        ({"cpus": 0.0}, r"--cpus 0: not a number of CPUs \(this machine has \d+\). Fix: use 0.1 or more"),
        ({"cpus": float("nan")}, "--cpus nan: not a number"),
        ({"cpus": float("inf")}, "--cpus inf: not a number"),
        ({"memory": "0"}, "--memory 0: less than 1Mi .*. Fix: use 32G"),
        ({"memory": "1k"}, "--memory 1k: less than 1Mi"),
        ({"memory": "abc"}, "--memory abc: not a size. Fix: use 32G or 512Mi"),
        ({"memory": ""}, "--memory : not a size"),
    ],
)
def test_what_cannot_be_meant(options: dict[str, str | float], problem: str) -> None:
    asked: dict[str, object] = {"gpus": None, "gpu_type": None, "cpus": None, "memory": None, **options}
    with pytest.raises(UserError, match=problem):
        make_room(**asked)  # type: ignore[arg-type]


def test_more_than_is_to_be_seen_is_taken_with_a_remark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nvidia_smi(tmp_path, monkeypatch, "exit 9")
    said: list[str] = []
    room = make_room("0,GPU-1a2b", "A100", 4096, "900T", said.append)
    assert (room.gpus, room.gpu_type, room.cpus, room.memory) == (("0", "GPU-1a2b"), "a100", 4096, 900 * 10**12)
    assert [line.partition(":")[0] for line in said] == ["--gpus 0,GPU-1a2b", "--cpus 4096", "--memory 900T"]
    assert f"this machine has {own_cpus():g}" in said[1]
    assert make_room("", None, 1, "1G", said.append).gpus == () and len(said) == 3


def test_gpus_must_be_among_those_that_the_driver_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nvidia_smi(tmp_path, monkeypatch, "echo 0, GPU-aaaa-1; echo 1, GPU-bbbb-2")
    said: list[str] = []
    assert make_room("1,GPU-aaaa,MIG-x", None, None, None, said.append).gpus == ("1", "GPU-aaaa", "MIG-x")
    for wrong in ("2", "GPU-cccc"):
        with pytest.raises(
            UserError, match=rf'--gpus {wrong}: this machine has no GPU "{wrong}". Fix: use one of: 0, 1'
        ):
            make_room(wrong, None, None, None)
    assert said == []


CUDA, NVIDIA = "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"


@pytest.mark.parametrize(
    ("environ", "offered"),
    [
        ({}, "0 1 2 3"),
        ({CUDA: "2,0"}, "2 0"),
        ({CUDA: "GPU-b,MIG-x"}, "GPU-b MIG-x"),
        ({CUDA: "1,7,2"}, "1"),  # CUDA stops there, too
        ({CUDA: "-1"}, ""),
        ({CUDA: ""}, ""),
        ({CUDA: "1", NVIDIA: "all"}, "1"),
        ({NVIDIA: "all"}, "0 1 2 3"),
        ({NVIDIA: "1,GPU-dddd-4"}, "1 GPU-dddd-4"),
        ({NVIDIA: "4,5,6,7"}, "0 1 2 3"),  # a container's, made of four of the machine's
        ({NVIDIA: "void"}, ""),
    ],
)
def test_what_is_offered_is_there_and_may_be_used(environ: dict[str, str], offered: str) -> None:
    there = ["0", "GPU-aaaa-1", "1", "GPU-bbbb-2", "2", "GPU-cccc-3", "3", "GPU-dddd-4"]
    said: list[str] = []
    assert " ".join(own_gpus(environ, there, said.append)) == offered
    assert said == (
        [f"{CUDA}=1,7,2: 7 and what follows is not offered, it has 0, 1, 2, 3; or say --gpus IDS"]
        if "7," in environ.get(CUDA, "")
        else []
    )


def test_the_only_gpu_of_a_container_is_0_whatever_its_device_is_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nvidia_smi(tmp_path, monkeypatch, "exit 9")
    for name in ("nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    (tmp_path / "nvidia3").mkdir()  # one that can't be opened
    there = gpus_there(tmp_path)
    said: list[str] = []
    assert own_gpus({}, there, said.append) == own_gpus({NVIDIA: "2"}, there, said.append) == ("0",)
    assert own_gpus({CUDA: "2"}, there, said.append) == ()
    assert own_gpus({CUDA: "0"}, [], said.append) == own_gpus({NVIDIA: "all"}, [], said.append) == ()
    assert [line.partition(":")[0] for line in said] == [f"{CUDA}=2", f"{CUDA}=0"]


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A driver's program that says this, first on PATH."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_classes_that_there_can_be() -> None:
    room = Room(["0"], 4, 2**33)
    asked = ["any", "gpu*", "*", "[ac]*", "c?u*", "gpu1~cpu*", "minipach.0123456789ab.cpu2", "max3:edges", "g*4"]
    assert check_queues(asked, room)[6] == "cpu2"
    for wrong in ("nosuch", "nosuch*", "gpu", "publish", "", "gpux*"):
        with pytest.raises(UserError, match=r"no class of sets has this name. Fix: use any, cpu4"):
            check_queues([wrong], room)
    with pytest.raises(UserError, match="can never run such sets, it has 4 CPUs, 9 GB, GPUs 0"):
        check_queues(["gpu2"], room)


def test_a_size_names_its_option() -> None:
    assert size_of("--cache", "1k") == 1000
    with pytest.raises(UserError, match="--cache much: not a size"):
        size_of("--cache", "much")


def test_a_worker_says_it_before_it_asks_for_redis(study: Study) -> None:
    away = {"MINIPACH_REDIS": "unix:///nowhere"}
    done = study.minipach("worker", "--gpus", "a,b", env=away)
    assert done.code == 2 and done.err.startswith("--gpus a,b: ") and done.err.count("\n") == 1
    done = study.minipach("up", env={"MINIPACH_JOBS": "x"})
    assert (done.code, done.err) == (
        2,
        'MINIPACH_JOBS: "x" is not a valid number of slots. Fix: set it to 4, or unset it\n',
    )
    assert not (study.root / ".git/minipach/redis").exists()


def test_a_worker_takes_no_folder_that_is_somebodys(study: Study, tmp_path: Path) -> None:
    """Its clones are private and forget what isn't needed: they must never be made of what was there."""
    away = {"MINIPACH_REDIS": "unix:///nowhere"}
    clone = f"file://{study.root}"
    study.ok("git", "init", "--quiet", str(tmp_path / "other"))
    study.ok("git", "clone", "--quiet", clone, str(tmp_path / "mine"))  # of that very project, but not a worker's
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for name, what in (("other", "a repository, but"), ("mine", "a repository, but"), ("full", "not empty, and")):
        done = study.minipach("-C", str(tmp_path / name), "worker", "--clone", clone, env=away)
        assert done.code == 2, done.err
        assert done.err.startswith(f"{tmp_path / name}: {what} not a worker's clone. Fix: take another folder"), (
            done.err
        )
    (tmp_path / "new").mkdir()
    done = study.minipach("-C", str(tmp_path / "new"), "worker", "--clone", f"{clone}-not", env=away)
    assert "can't be cloned: '" in done.err and "does not" in done.err, done.err  # git's own words
    # what a wrong address has left is no hindrance
    assert "Redis at" in study.minipach("-C", str(tmp_path / "new"), "worker", "--clone", clone, env=away).err
