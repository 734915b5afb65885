"""What each datum of a try took, from the datum script's marks."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from minipach.tries import Mark, Took, took

NOW = 1.7e9  # in unix seconds, as the clock of the marks where there is no /proc/uptime


def test_each_datum_has_its_own_time_and_a_share_of_the_rest() -> None:
    marks = [Mark(NOW + 1, 0.1), Mark(NOW + 2, 0.4), Mark(NOW + 6, 0.5)]
    first, second = took(marks, 2, NOW, seconds=7.0, cpu=1.0)
    assert (first.began, first.ended, second.ended) == (NOW + 1, NOW + 2, NOW + 6)
    assert (first.seconds, second.seconds) == (2.0, 5.0)
    assert (first.cpu, second.cpu) == pytest.approx((0.6, 0.4))


def test_processes_that_nobody_counted_outside_count_all_the_same() -> None:
    (only,) = took([Mark(NOW, 0.0), Mark(NOW + 2, 1.5)], 1, NOW, seconds=2.5, cpu=0.2)
    assert only.cpu == 1.5


def test_the_clock_may_count_from_the_machines_start() -> None:
    up = float(Path("/proc/uptime").read_text().split()[0])
    began = time.time() - 3
    (only,) = took([Mark(up - 2, 0), Mark(up - 1, 0)], 1, began, seconds=3, cpu=0)
    assert only.began == pytest.approx(began + 1, abs=0.5)


def test_a_container_may_have_a_clock_of_its_own() -> None:
    (only,) = took([Mark(5, 0), Mark(6, 0)], 1, NOW, seconds=3, cpu=0)
    assert (only.began, only.ended) == (NOW + 2, NOW + 3)


@pytest.mark.parametrize("marks", [[], [Mark(NOW, 0)], [Mark(NOW + 2, 0), Mark(NOW + 1, 0), Mark(NOW + 3, 0)]])
def test_without_marks_that_make_sense_all_count_alike(marks: list[Mark]) -> None:
    assert took(marks, 2, NOW, seconds=3, cpu=1) == [Took(NOW, NOW + 3, 1.5, 0.5)] * 2
