"""Failures at limits, and in the way of another datum: which still count."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from minipach.model.outside import Outside, at_limits, beside, limits_of, limits_of_set, outlived, seen_by
from minipach.model.work_set import Needs, WorkSet

DEFAULTS = {"processes": 4096.0, "retry": 1.0}


def now(**limits: float) -> Outside:
    return Outside({**DEFAULTS, **limits}, "/")


def work(*head: str, raised: int = 0, memory: int = 0) -> WorkSet:
    return WorkSet(
        "s", "edges", "", "", "", head, (), (), (), (), (), (), "", False, 1, "",
        needs=Needs(memory=memory), timeout=60.0, more_memory=1.5,
    ).with_memory(raised)  # fmt: skip


def test_the_last_option_of_a_kind_counts_and_none_is_taken_for_the_value_of_another() -> None:
    options = ("-L", "disk=5", "-e", "-L", "-L", "disk=7", "-L", "memory=x")
    assert limits_of(2.5, options, Needs(memory=9), 2.0) == {
        "processes": 4096.0, "retry": 2.0, "disk": 7.0, "time": 2.5, "request": 9.0
    }  # fmt: skip


@pytest.mark.parametrize("memory", [1000, 1001, 7, (1 << 31) + 1])
@pytest.mark.parametrize("raised", [0, 1, 2, 5])
def test_a_set_whose_memory_was_raised_is_compared_by_what_the_spec_gives(memory: int, raised: int) -> None:
    found = limits_of_set(work("-L", f"memory={memory}", raised=raised, memory=memory + 3))
    assert (found["memory"], found["request"]) == (memory, memory + 3)


@pytest.mark.parametrize(
    ("hit", "code", "limits", "kept"),
    [
        ("time", 124, {"time": 60.0}, "time=60"),
        ("time", 124, {"time": 0.25}, "time=0.25"),
        ("time", 124, {}, ""),
        ("memory", 137, {"memory": 1e9, "request": 2e9}, "memory=1000000000,request=2000000000,retry=1"),
        ("", 1, {"file-size": 5.0}, "processes?=4096,file-size?=5"),
        ("", 1, {"memory": 5.0}, "processes?=4096,memory?=5,retry?=1"),
        ("", 126, {"file-size": 5.0}, ""),
        ("", 127, {}, ""),
    ],
)
def test_what_is_kept_of_a_failure(hit: str, code: int, limits: Mapping[str, float], kept: str) -> None:
    assert at_limits(hit, code, {**DEFAULTS, **limits}) == kept


@pytest.mark.parametrize(
    ("kept", "limits", "why"),
    [
        ("time=60", {"time": 120.0}, "failed at the limit of 60 s, which is 120 s now: runs again"),
        ("time=60", {}, "failed at the limit of 60 s, which is gone now: runs again"),
        ("time=60", {"time": 60.0}, ""),
        ("time=60", {"time": 59.0}, ""),
        ("time=0.333", {"time": 1 / 3}, ""),  # as it was kept
        ("disk=1000", {"disk": 2e6}, "failed at the limit of 1.0 kB of disk, which is 2.0 MB now: runs again"),
        ("disk=1000", {"disk": 1001.0}, "failed at the limit of 1000 B of disk, which is 1001 B now: runs again"),
        ("processes=4096", {}, ""),
        ("processes?=64", {}, "failed with a limit of 64 processes, which is 4096 processes now: runs again"),
        ("memory=1000,request=1000,retry=1", {"memory": 1000.0, "request": 500.0}, ""),
        ("memory=1000,request=1000,retry=1", {"memory": 1000.0}, ""),
        (
            "memory=1000,request=1000,retry=1",
            {"memory": 1000.0, "retry": 2.0},
            "failed at the limit of 1x the memory (retry.memory), which is 2x now: runs again",
        ),
        ("", {"time": 120.0}, ""),
        ("brightness=3", {}, ""),  # of a later version
        ("\x00=;--", {}, ""),
        ("time=" + "9" * 400, {"time": 3.0}, ""),
    ],
)
def test_a_failure_counts_until_its_limit_is_higher(kept: str, limits: Mapping[str, float], why: str) -> None:
    assert outlived(kept, "a", Outside({**DEFAULTS, **limits}, "/"), {}) == why


def test_a_failure_counts_while_the_command_sees_the_same() -> None:
    seen = seen_by(("-L", "disk=5", "-E", "LICENCE", "-e", "-N", "-R", "/data"))
    assert seen == seen_by(("-R", "/data", "-E", "LICENCE", "-t", "5"))
    kept = at_limits("", 127, DEFAULTS, seen)
    assert kept == f"settings:{seen}"
    assert outlived(kept, "a", Outside(DEFAULTS, "/", seen), {}) == ""
    for options in ((), ("-E", "LICENCE"), ("-E", "LICENCE", "-R", "/data", "-N")):
        why = outlived(kept, "a", Outside(DEFAULTS, "/", seen_by(options)), {})
        assert why.startswith("failed with other settings")
    assert at_limits("time", 124, {"time": 60.0}, seen) == "time=60"


def test_a_failure_beside_another_datum_counts_while_that_one_is_there() -> None:
    kept = beside("ab" * 32, "b\udcff", "a", "/")
    there = {"ab" * 32: {"b\udcff", "c"}}
    assert outlived(kept, "a", now(), there) == ""
    for name, outside, names in [
        ("a", now(), {}),
        ("a", now(), {"ab" * 32: {"c"}}),
        ("a", now(), {"cd" * 32: {"b\udcff"}}),
        ("other", now(), there),
        ("a", Outside(DEFAULTS, "/{1}"), there),
    ]:
        assert outlived(kept, name, outside, names).endswith("is gone or has changed: runs again")
