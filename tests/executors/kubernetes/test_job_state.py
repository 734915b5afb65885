"""The state of a Job, as the cluster reports it."""

from __future__ import annotations

import pytest

from minipach.executors.kubernetes.job_state import parse_indexes


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", set()), (None, set()), ("0", {0}), ("1,3-5,7", {1, 3, 4, 5, 7}), ("x,2-,9", {9}), ("0-99999999999", set())],
)
def test_lists_of_indices_are_read_and_what_is_none_is_skipped(text: object, numbers: set[int]) -> None:
    assert parse_indexes(text) == numbers
