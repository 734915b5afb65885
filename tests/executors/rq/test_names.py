"""What a worker has to give, what a queue's name says, and how addresses are shown: pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.executors.resources import Capacity, ResourceClass
from minipach.executors.rq.connection import shown
from minipach.executors.rq.names import Names
from minipach.model.work_set import Needs
from minipach.support.sizes import parse_size
from tests.fixtures.refusals import refused

needs = st.builds(
    Needs,
    cpu=st.floats(0, 1000),
    memory=st.integers(0, 2**42),
    gpus=st.integers(0, 16),
    gpu_type=st.sampled_from(["", "nvidia.com/gpu", "NVIDIA A100-SXM", "a100", "~:~"]),
)


@given(needs, st.none() | st.integers(1, 9))
def test_a_queues_name_says_all_of_its_class(asked: Needs, limit: int | None) -> None:
    kind = ResourceClass.of(asked, "my-pipe_line", limit)
    names = Names("0123456789ab")
    assert names.kind(names.queue(kind)) == kind
    assert names.kind("minipach.another." + kind.name) is None
    assert kind.memory >= asked.memory and kind.cpu >= asked.cpu
    assert "," not in kind.name, "RQ separates the queues of a worker with it"


@pytest.mark.parametrize("name", ["publish", "", "gpu", "cpux", "any~cpu1", "mem1G", "cpu1.2.3"])
def test_other_names_are_no_class(name: str) -> None:
    assert ResourceClass.parse(name) is None


def test_classes_read_well() -> None:
    kind = ResourceClass.of(Needs(cpu=4, memory=2**32, gpus=1, gpu_type="A100"), "edges", 3)
    assert kind.name == "gpu1:a100~cpu4~mem4096M~max3:edges"
    assert ResourceClass.of(Needs(gpus=2, gpu_type="nvidia.com/gpu"), "edges", None).name == "gpu2"
    assert ResourceClass.of(Needs(), "edges", None).name == "any"


def test_a_gpu_is_one_sets_at_a_time() -> None:
    room = Capacity(["0", "1", "GPU-7"], 8, 2**30)
    one, two = ResourceClass(gpus=1), ResourceClass(gpus=2)
    first = room.take(two)
    assert (first.gpus, first.env["CUDA_VISIBLE_DEVICES"]) == (("0", "1"), "0,1")
    assert room.fits(one) and not room.fits(two)
    second = room.take(one)
    assert second.gpus == ("GPU-7",) and not room.fits(one)
    room.release(first)
    assert room.take(one).gpus == ("0",)
    assert room.take(ResourceClass()).env["CUDA_VISIBLE_DEVICES"] == ""


def test_memory_cpus_and_types_must_fit() -> None:
    room = Capacity(["0"], 2, 2**30, "NVIDIA A100")
    assert room.can_ever(ResourceClass(cpu=2, memory=2**30))
    assert not room.can_ever(ResourceClass(cpu=2.5))
    assert not room.can_ever(ResourceClass(memory=2**30 + 1))
    assert room.can_ever(ResourceClass(gpus=1, gpu_type="nvidia-a100"))
    assert not room.can_ever(ResourceClass(gpus=1, gpu_type="h100"))
    share = room.take(ResourceClass(cpu=1.5))
    assert not room.fits(ResourceClass(cpu=1)) and room.fits(ResourceClass(cpu=0.5)) and room.fits(ResourceClass())
    room.release(share)
    assert room.fits(ResourceClass(cpu=2))


@pytest.mark.parametrize(
    ("text", "size"), [("32G", 32 * 10**9), ("512Mi", 2**29), ("1.5k", 1500), ("7", 7), ("2 GiB", 2**31)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "32X", "-1", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with refused("option.not-a-size", text):
        parse_size(text)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("redis://:pw@host:6379/2", "redis://host:6379/2"),
        ("rediss://me:p%40w@host", "rediss://me@host"),
        ("redis://host?password=pw&username=x", "redis://host"),
        ("unix://me:pw@/run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, safe: str) -> None:
    assert shown(url) == safe
