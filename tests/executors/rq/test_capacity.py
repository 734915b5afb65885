"""What a worker may be told to take of its machine; what can't be meant is one line that says what is allowed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.executors.gpus import gpus_there, own_gpus
from minipach.executors.resources import Capacity, own_cpus
from minipach.executors.rq.capacity import check_queues, make_capacity, size_of
from tests.fixtures.projects import Study
from tests.fixtures.refusals import refused


@pytest.mark.parametrize(
    ("options", "code", "location"),
    [
        ({"gpus": "a,b"}, "option.not-a-gpu", "--gpus a,b"),
        ({"gpus": "0,1,0"}, "option.gpu-twice", "--gpus 0,1,0"),
        ({"gpus": "0,"}, "option.not-a-gpu", "--gpus 0,"),
        ({"gpus": "-1"}, "option.not-a-gpu", "--gpus -1"),
        ({"gpus": "00"}, "option.not-a-gpu", "--gpus 00"),
        ({"gpu_type": ""}, "option.not-a-gpu-type", '--gpu-type ""'),
        ({"gpu_type": "::"}, "option.not-a-gpu-type", '--gpu-type "::"'),
        ({"cpus": 0.0}, "option.not-a-cpu-count", "--cpus 0"),
        ({"cpus": float("nan")}, "option.not-a-cpu-count", "--cpus nan"),
        ({"cpus": float("inf")}, "option.not-a-cpu-count", "--cpus inf"),
        ({"memory": "0"}, "option.memory-too-small", "--memory 0"),
        ({"memory": "1k"}, "option.memory-too-small", "--memory 1k"),
        ({"memory": "abc"}, "option.not-a-size", "--memory abc"),
        ({"memory": ""}, "option.not-a-size", "--memory "),
    ],
)
def test_what_cannot_be_meant(options: dict[str, str | float], code: str, location: str) -> None:
    asked: dict[str, object] = {"gpus": None, "gpu_type": None, "cpus": None, "memory": None, **options}
    with refused(code, location):
        make_capacity(**asked)  # type: ignore[arg-type]


def test_more_than_is_to_be_seen_is_taken_with_a_remark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nvidia_smi(tmp_path, monkeypatch, "exit 9")
    said: list[str] = []
    room = make_capacity("0,GPU-1a2b", "A100", 4096, "900T", said.append)
    assert (room.gpus, room.gpu_type, room.cpus, room.memory) == (("0", "GPU-1a2b"), "a100", 4096, 900 * 10**12)
    assert [line.partition(":")[0] for line in said] == ["--gpus 0,GPU-1a2b", "--cpus 4096", "--memory 900T"]
    assert f"this machine has {own_cpus():g}" in said[1]
    assert make_capacity("", None, 1, "1G", said.append).gpus == () and len(said) == 3


def test_gpus_must_be_among_those_that_the_driver_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nvidia_smi(tmp_path, monkeypatch, "echo 0, GPU-aaaa-1; echo 1, GPU-bbbb-2")
    said: list[str] = []
    assert make_capacity("1,GPU-aaaa,MIG-x", None, None, None, said.append).gpus == ("1", "GPU-aaaa", "MIG-x")
    for wrong in ("2", "GPU-cccc"):
        with refused("option.no-such-gpu", f"--gpus {wrong}", f'"{wrong}"', "0, 1"):
            make_capacity(wrong, None, None, None)
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
    room = Capacity(["0"], 4, 2**33)
    asked = ["any", "gpu*", "*", "[ac]*", "c?u*", "gpu1~cpu*", "minipach.0123456789ab.cpu2", "max3:edges", "g*4"]
    assert check_queues(asked, room)[6] == "cpu2"
    for wrong in ("nosuch", "nosuch*", "gpu", "publish", "", "gpux*"):
        with refused("option.no-such-class", f"--queue {wrong}", "any, cpu4"):
            check_queues([wrong], room)
    with refused("option.class-never-fits", "--queue gpu2", "4 CPUs, 9 GB, GPUs 0"):
        check_queues(["gpu2"], room)


def test_a_size_names_its_option() -> None:
    assert size_of("--cache", "1k") == 1000
    with refused("option.not-a-size", "--cache much"):
        size_of("--cache", "much")


def test_a_worker_says_it_before_it_asks_for_redis(study: Study) -> None:
    away = {"MINIPACH_REDIS": "unix:///nowhere"}
    done = study.minipach("worker", "--gpus", "a,b", env=away)
    assert (done.code, done.refusals) == (2, [("option.not-a-gpu", "--gpus a,b")])
    done = study.minipach("up", env={"MINIPACH_JOBS": "x"})
    assert (done.code, done.refusals) == (2, [("setting.bad-value", "MINIPACH_JOBS")])
    assert not (study.root / ".git/minipach/redis").exists()


def test_a_worker_takes_no_folder_that_is_somebodys(study: Study, tmp_path: Path) -> None:
    """Its clones are private and forget what isn't needed: they must never be made of what was there."""
    away = {"MINIPACH_REDIS": "unix:///nowhere"}
    clone = f"file://{study.root}"
    study.ok("git", "init", "--quiet", str(tmp_path / "other"))
    study.ok("git", "clone", "--quiet", clone, str(tmp_path / "mine"))  # of that very project, but not a worker's
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for name, code in (("other", "foreign-repository"), ("mine", "foreign-repository"), ("full", "folder-not-empty")):
        done = study.minipach("-C", str(tmp_path / name), "worker", "--clone", clone, env=away)
        assert (done.code, done.refusals) == (2, [(f"clone.{code}", str(tmp_path / name))])
    (tmp_path / "new").mkdir()
    done = study.minipach("-C", str(tmp_path / "new"), "worker", "--clone", f"{clone}-not", env=away)
    assert done.reports("clone.failed"), done.err  # git's own words
    # what a wrong address has left is no hindrance
    assert study.minipach("-C", str(tmp_path / "new"), "worker", "--clone", clone, env=away).reports("redis.away")
