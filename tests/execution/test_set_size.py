"""How many datums go into one set."""

from __future__ import annotations

import heapq
from collections import deque

import pytest

from minipach.execution.set_size import BOOKKEEPING, LEAST, MOST, Pace, Sizer, enough, free_slots
from minipach.model.pipeline import SetSpec
from minipach.model.run_record import MAX_COMMAND


def simulate(
    datums: int, work: float, slots: int, *, cold: float = 1.0, length: int = 200, told: bool = False
) -> list[tuple[float, int]]:
    """The end and size of each set, for datums of so many seconds; the first set of a slot is slower.

    told: whether the sizer is told of what runs, as by the local executor's rounds.
    """
    sizer = Sizer(slots, SetSpec(), lambda _: length, lambda _: 0)
    queue = deque(range(datums))
    running = [(0.0, slot, 0, 0.0) for slot in range(slots)]
    sets = []
    while running:
        now, slot, count, seconds = heapq.heappop(running)
        if count:
            sizer.pace.learn(seconds, count)
            sets.append((now, count))
        if queue:
            pace = sizer.pace.work or 1.0
            at_work = sum(min(of, round((end - now) / pace)) for end, _, of, _ in running)
            count = sizer.take(queue, datums, at_work=at_work if told else None)
            for _ in range(count):
                queue.popleft()
            seconds = BOOKKEEPING + count * work + (0.0 if now else cold)
            heapq.heappush(running, (now + seconds, slot, count, seconds))
    return sets


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("slots", [1, 2, 8])
@pytest.mark.parametrize(("datums", "work"), [(1000, 0.01), (10_000, 0.01), (1000, 0.2), (300, 3.0), (40, 60.0)])
def test_bookkeeping_stays_small_and_slots_end_together(datums: int, work: float, slots: int, told: bool) -> None:
    sets = simulate(datums, work, slots, told=told)
    assert sum(count for _, count in sets) == datums
    assert max(count for _, count in sets) <= MOST
    ideal = datums * work / slots
    end = max(end for end, _ in sets)
    # 5% for bookkeeping, a set's largest size in which tiny datums aren't worth 10 s, the cold start, the last sets
    assert end <= 1.05 * ideal + datums / slots / MOST * BOOKKEEPING + 1.0 + 6 * BOOKKEEPING + work


def test_a_thousand_tiny_datums_are_a_dozen_sets() -> None:
    assert len(simulate(1000, 0.01, 2)) <= 14


def test_what_is_left_of_tiny_datums_is_shared_evenly() -> None:
    *_, (one, few), (other, more) = shared = simulate(1000, 0.02, 2, cold=0.3, told=True)
    assert few == more and one == pytest.approx(other)
    tapered = simulate(1000, 0.02, 2, cold=0.3)
    assert len(shared) < len(tapered) and shared[-1][0] <= tapered[-1][0]


def test_no_slot_gets_all_that_is_left_while_it_is_not_known_how_long_it_takes() -> None:
    sizer = Sizer(2, SetSpec(), lambda _: 1, lambda _: 0)
    sizer.pace.learn(BOOKKEEPING + 0.01, 1)
    assert sizer.take(range(200), 400, at_work=200) == 100
    sizer.pace.learn(BOOKKEEPING + 0.5, 50)
    assert sizer.take(range(200), 400, at_work=200) == 200
    assert sizer.take(range(200), 400, at_work=100) == 150
    sizer.pace.learn(BOOKKEEPING + 60.0, 60)
    assert sizer.take(range(200), 400, at_work=200) < 150, "so much may differ from set to set"


def test_sets_of_tiny_datums_dont_dwindle() -> None:
    """The first ones are cut with what the cold ones taught; the last two share what is left."""
    sizes = [count for _, count in simulate(1000, 0.02, 2)]
    assert [count for count in sizes[4:-2] if count * 0.02 < LEAST] == []


def test_long_datums_are_sets_of_their_own() -> None:
    assert {count for _, count in simulate(50, 60.0, 4)} == {1}


def test_a_set_fits_a_command_line() -> None:
    assert max(count for _, count in simulate(1000, 0.001, 1, length=1000)) <= MAX_COMMAND // 2 // 1000 + 1


def test_a_cold_start_is_soon_forgotten() -> None:
    pace = Pace()
    pace.learn(3.0, 1)
    assert pace.work == 2.5
    pace.learn(BOOKKEEPING + 0.1, 10)
    assert pace.work is not None and pace.work < 0.3
    pace.learn(BOOKKEEPING + 0.1, 10)
    pace.learn(BOOKKEEPING + 1.0, 10)
    assert pace.work > 0.03, "what comes later counts too"


def test_a_cold_set_of_one_tiny_datum_does_not_make_the_others_small() -> None:
    pace = Pace()
    pace.learn(2.4, 1, 0.01)  # all others may be cut by this one
    assert pace.work is not None and enough(pace.work) > 20
    pace = Pace()
    pace.learn(1.5, 1, 0.01)
    assert pace.work is not None and enough(pace.work) == MOST


def test_what_datums_took_themselves_counts_in_any_case() -> None:
    pace = Pace()
    pace.learn(60.4, 1, 60.0)
    assert pace.work == 60.0
    pace = Pace()
    pace.learn(22.0, 1, 0.01)  # a command that is short, on outputs that take long to be kept
    assert pace.work == 20.0


def test_datums_are_shared_among_the_slots_that_others_leave_free() -> None:
    assert [free_slots(4, 4, others) for others in (-1, 0, 1, 3, 4, 9)] == [4, 4, 3, 1, 1, 1]
    assert free_slots(2, 8, 5) == 2, "a pipeline has its own limit"
    sizer = Sizer(4, SetSpec(), lambda _: 1, lambda _: 0)
    queue = deque(range(12))
    assert sizer.take(queue, 12, 1) == 1, "it is not known how long they take"
    sizer.pace.learn(BOOKKEEPING + 1.5, 1)
    assert [sizer.take(queue, 12, free) for free in (None, 4, 2, 1)] == [3, 3, 6, 12]


def test_a_trial_is_a_slots_share_of_all() -> None:
    sizer = Sizer(2, SetSpec(), lambda _: 100, lambda _: 0, trials=True)
    assert sizer.is_trial
    assert sizer.take(range(10), 10) == 5
    assert sizer.take(range(5), 10) == 5
    assert sizer.take(range(10), 10, 1) == 10, "the other slot is taken"
    assert sizer.take(range(10), 10, others=True) == 10, "the other slot will be another pipeline's"
    assert sizer.take(range(5000), 5000) == MOST
    sizer.pace.learn(BOOKKEEPING + 3600, 1)
    assert not sizer.is_trial
    assert sizer.take(range(10), 10, 2, others=True) == 1, "what is known counts"


def test_a_trial_waits_for_no_large_inputs() -> None:
    sizer = Sizer(2, SetSpec(), lambda _: 100, lambda mb: mb << 20, trials=True)
    assert sizer.take([5] * 100, 100) == 6
    assert sizer.take([3000] * 100, 100) == 1, "there is always one"
    sizer.pace.learn(BOOKKEEPING + 0.1, 1)
    assert sizer.take([3000] * 100, 100) > 6


def test_who_is_not_there_to_cut_the_rest_makes_no_trials() -> None:
    sizer = Sizer(2, SetSpec(), lambda _: 100, lambda _: 0)
    assert not sizer.is_trial
    assert sizer.take(range(10), 10) == 1


def test_the_last_sets_end_together() -> None:
    sizer = Sizer(2, SetSpec(), lambda _: 1, lambda _: 0)
    sizer.pace.learn(BOOKKEEPING + 0.6, 100)
    assert sizer.take(range(160), 300, at_work=0) == 80, "half a second each, rather than one of a second"
    assert sizer.take(range(8), 300, at_work=0) == 8, "what costs less than its set is not cut"
