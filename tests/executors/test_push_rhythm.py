"""The number of pushes for many results, and how long one waits."""

from __future__ import annotations

from minipach.executors.push_rhythm import FIRST, LONGEST, MOST, Rhythm


def _pushes(results: int, pace: float) -> tuple[int, float]:
    """Return the number of pushes for results that come one after the other, and how long one waited at most."""
    rhythm, now, waiting, pushes, longest = Rhythm(), 0.0, [], 0, 0.0
    for _ in range(results):
        now += 1 / pace
        waiting.append(now)
        if rhythm.is_due(now, waiting[0], len(waiting), others=True):
            rhythm.began(now)
            rhythm.ended(now + 0.5)
            longest = max(longest, now - waiting[0])
            waiting, pushes = [], pushes + 1
    return pushes, longest


def test_many_results_make_few_pushes() -> None:
    for pace in (20, 50, 500):
        pushes, longest = _pushes(40_000, pace)
        assert pushes <= 45, pace
        assert longest <= LONGEST + 1


def test_nobody_waits_longer_than_needed() -> None:
    rhythm = Rhythm()
    assert rhythm.is_due(10.0, 10.0, 1, others=True), "all other sets are cut by the very first"
    rhythm.began(10.0)
    rhythm.ended(10.0)
    assert not rhythm.is_due(10.0, 10.0, 1, others=True)
    assert rhythm.is_due(10.0, 10.0, 1, others=False), "no other result will come"
    assert rhythm.is_due(10.0 + FIRST, 10.0, 1, others=True)
    assert rhythm.is_due(10.0, 10.0, MOST, others=True)
    for n in range(10):
        rhythm.began(100.0 + n)
        rhythm.ended(100.5 + n)
    assert rhythm.wait == LONGEST
    rhythm.began(1000.0)
    assert rhythm.wait == FIRST, "after a time of quiet it begins again"
