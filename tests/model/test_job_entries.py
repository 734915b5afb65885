"""What each datum of a try took, from the launcher's report."""

from __future__ import annotations

import pytest

from minipach.model.job_entries import Took, took

NOW = 1.7e9  # in unix seconds


def test_each_datum_has_its_own_time_and_a_share_of_the_rest() -> None:
    own = [(NOW + 1, NOW + 2, 1.0, 0.3), (NOW + 2, NOW + 6, 4.0, 0.1)]
    first, second = took(own, 2, NOW, seconds=7.0, cpu=1.0)
    assert (first.began, first.ended, second.ended) == (NOW + 1, NOW + 2, NOW + 6)
    assert (first.seconds, second.seconds) == (2.0, 5.0)
    assert (first.cpu, second.cpu) == pytest.approx((0.6, 0.4))


def test_processes_that_nobody_counted_outside_count_all_the_same() -> None:
    (only,) = took([(NOW, NOW + 2, 2.0, 1.5)], 1, NOW, seconds=2.5, cpu=0.2)
    assert only.cpu == 1.5


@pytest.mark.parametrize("known", [0, 1])
def test_without_a_report_of_all_datums_all_count_alike(known: int) -> None:
    own = [(NOW, NOW + 1, 1.0, 0.5)] * known
    assert took(own, 2, NOW, seconds=3, cpu=1) == [Took(NOW, NOW + 3, 1.5, 0.5)] * 2
