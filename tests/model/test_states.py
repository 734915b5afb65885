"""States, and the words for counts of datums."""

from __future__ import annotations

from minipach.model.states import counted


def test_counts_say_that_those_that_ran_succeeded() -> None:
    counts = {"ran": 39, "reused": 0, "current": 2, "removed": 0, "recovered": 0, "failed": 1}
    assert counted(counts) == "39 computed, 2 current, 1 failed"
    assert counted({"ran": 0}) == ""
