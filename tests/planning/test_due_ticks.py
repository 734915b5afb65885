"""The rule of clocks, as properties: what is missing follows from what is wanted and what is there."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from minipach.model.clock import Clock, tick_name
from minipach.model.ticks import Ticks
from minipach.planning.due_ticks import MOST, Due, TickState, due, needs_states

HOUR = 3600
NOON = 1_770_000_000 // 86400 * 86400 + 12 * HOUR
CLOCK = Clock("0 * * * *", start=NOON - 6 * HOUR)
LINES = st.sampled_from(["0 * * * *", "*/20 * * * *", "30 2 * * *", "@every 50m", "0 0 * * 1"])
NOWS = st.integers(NOON, NOON + 36 * HOUR)
TICKS = st.frozensets(st.integers(-80, 80).map(lambda n: NOON + n * 1200), max_size=12)
CLOCKS = st.builds(
    Clock,
    line=LINES,
    zone=st.sampled_from(["UTC", "Europe/Berlin"]),
    start=st.none() | st.integers(NOON - 86400, NOON + 86400),
    end=st.none() | st.integers(NOON, NOON + 2 * 86400),
    overwrite=st.booleans(),
    depends_on_past=st.booleans(),
    max_active_runs=st.integers(0, 3),
    expired_limit=st.none() | st.integers(1, 86400),
)
SETS = st.builds(Ticks, there=TICKS, skipped=TICKS, began=st.integers(NOON - 86400, NOON))
STATES = st.dictionaries(
    st.integers(-80, 80).map(lambda n: NOON + n * 1200),
    st.sampled_from(["done", "pending", "failed", "left"]),
    max_size=12,
)


def free(clock: Clock) -> Clock:
    """The clock without a policy that asks how ticks ended."""
    return replace(clock, depends_on_past=False, max_active_runs=0)


@settings(deadline=None)
@given(CLOCKS, SETS, NOWS, STATES)
def test_to_apply_it_twice_is_to_apply_it_once(
    clock: Clock, ticks: Ticks, now: int, states: dict[int, TickState]
) -> None:
    first = due(clock, ticks, now, states)
    known = {tick: state for tick, state in states.items() if tick in ticks.there}
    again = due(clock, first.applied(ticks), now, known)
    assert (again.add, again.remove) == ((), ())


@settings(deadline=None)
@given(CLOCKS, SETS, NOWS, st.integers(0, 86400))
def test_two_daemons_are_one(clock: Clock, ticks: Ticks, now: int, later: int) -> None:
    """Both look at the same ticks, at two moments; their commits are merged, and one of them looks again."""
    clock = free(replace(clock, expired_limit=None))
    one, two = due(clock, ticks, now), due(clock, ticks, now + later)
    gone = set(one.remove) | set(two.remove)
    merged = replace(ticks, there=(ticks.there - gone) | set(one.add) | set(two.add))
    merged = due(clock, merged, now + later).applied(merged)
    assert merged.there == two.applied(ticks).there


def test_the_newest_tick_that_is_not_skipped_is_wanted() -> None:
    """Else it would depend on the moments of the looks which tick is there."""
    clock = Clock("0 * * * *", overwrite=True)
    hours = [1_770_040_800 + 3600 * number for number in range(3)]
    ticks = Ticks(began=hours[0], skipped=frozenset(hours[1:]))
    assert due(clock, ticks, hours[2]).add == (hours[0],)
    assert due(clock, replace(ticks, skipped=frozenset(hours)), hours[2]).add == ()


@settings(deadline=None)
@given(CLOCKS, SETS, st.lists(NOWS, min_size=1, max_size=5))
def test_clock_jumps_and_the_order_of_looks_make_no_difference(clock: Clock, ticks: Ticks, nows: list[int]) -> None:
    clock = free(replace(clock, expired_limit=None))
    jumping = ticks
    for now in nows:
        jumping = due(clock, jumping, now).applied(jumping)
    assert jumping.there == due(clock, ticks, max(nows)).applied(ticks).there
    if not clock.overwrite:
        assert jumping.there >= ticks.there


@settings(deadline=None)
@given(CLOCKS, SETS, NOWS, st.integers(0, 86400))
def test_more_time_makes_no_fewer_ticks(clock: Clock, ticks: Ticks, now: int, later: int) -> None:
    clock = free(replace(clock, overwrite=False, expired_limit=None))
    assert set(due(clock, ticks, now).add) <= set(due(clock, ticks, now + later).add)


@settings(deadline=None)
@given(CLOCKS, LINES, SETS, NOWS)
def test_another_line_never_removes_a_tick_nor_adds_one_that_is_there(
    clock: Clock, line: str, ticks: Ticks, now: int
) -> None:
    done = due(free(clock), ticks, now).applied(ticks)
    change = due(replace(clock, line=line), done, now, dict.fromkeys(done.there, "done"))
    assert not set(change.add) & done.there
    if not clock.overwrite:
        assert change.remove == ()


@settings(deadline=None)
@given(CLOCKS, SETS, NOWS, STATES)
def test_nothing_is_added_that_is_not_wanted(
    clock: Clock, ticks: Ticks, now: int, states: dict[int, TickState]
) -> None:
    found = due(clock, ticks, now, states)
    begin = clock.start if clock.start is not None else ticks.began
    assert begin is not None
    for tick in (*found.add, *(tick for tick, _ in found.blocked)):
        assert begin <= tick <= min(now, clock.end or now) and tick not in ticks.skipped
        assert clock.expired_limit is None or now - tick < clock.expired_limit
    assert not set(found.add) & {tick for tick, _ in found.blocked}
    assert list(found.add) == sorted(found.add)
    assert found.following is None or found.following > now
    if clock.overwrite:
        assert len(found.applied(ticks).there) <= 1


@settings(deadline=None)
@given(CLOCKS, SETS, NOWS, STATES)
def test_the_limit_of_active_runs_holds(clock: Clock, ticks: Ticks, now: int, states: dict[int, TickState]) -> None:
    clock = replace(clock, overwrite=False, max_active_runs=max(1, clock.max_active_runs))
    found = due(clock, ticks, now, states)
    active = sum(states.get(tick, "pending") in ("pending", "failed") for tick in ticks.there)
    assert active + len(found.add) <= max(active, clock.max_active_runs)


@settings(deadline=None, max_examples=30)
@given(CLOCKS, SETS, st.integers(NOON, NOON + 6 * HOUR), STATES)
def test_a_backlog_is_worked_off_however_the_policy_is(
    clock: Clock, ticks: Ticks, now: int, states: dict[int, TickState]
) -> None:
    """Each round's ticks succeed; then what is wanted is there, as without a policy."""
    clock = replace(clock, overwrite=False)
    everything = due(free(clock), ticks, now).applied(ticks).there
    for _ in range(400):
        change = due(clock, ticks, now, dict.fromkeys(ticks.there, "done"))
        if not change.add:
            break
        ticks = change.applied(ticks)
    assert ticks.there == everything and not change.blocked


def test_a_tick_waits_for_the_one_before_it_and_holds_no_place() -> None:
    clock = replace(CLOCK, depends_on_past=True, max_active_runs=2)
    first = due(clock, Ticks(), NOON)
    assert first.add == (NOON - 6 * HOUR,)
    assert len(first.blocked) == 6 and "waits for" in first.blocked[0][1]
    ticks = Ticks(frozenset(first.add))
    failed = due(clock, ticks, NOON, {first.add[0]: "failed"})
    assert failed.add == ()
    assert failed.blocked[0][1] == f"waits for {tick_name(first.add[0])}, which failed"
    assert due(clock, ticks, NOON, {first.add[0]: "done"}).add == (NOON - 5 * HOUR,)
    # a skipped tick is passed over
    after = due(clock, replace(ticks, there=frozenset(), skipped=ticks.there), NOON)
    assert after.add == (NOON - 5 * HOUR,)


def test_a_manual_tick_that_failed_blocks_nothing() -> None:
    clock = replace(CLOCK, depends_on_past=True)
    by_hand = NOON - HOUR // 2
    there = frozenset({*range(NOON - 6 * HOUR, NOON, HOUR), by_hand})
    states: dict[int, TickState] = dict.fromkeys(there, "done")
    states[by_hand] = "failed"
    assert due(clock, Ticks(there, manual=frozenset({by_hand})), NOON, states).add == (NOON,)


def test_three_days_of_sleep_are_made_up_by_policy() -> None:
    there = Ticks(frozenset({NOON - 6 * HOUR}))
    now = NOON + 72 * HOUR
    assert len(due(CLOCK, there, now).add) == 78
    assert len(due(replace(CLOCK, expired_limit=24 * HOUR), there, now).add) == 24
    newest = due(replace(CLOCK, overwrite=True), there, now)
    assert (newest.add, newest.remove) == ((now,), (NOON - 6 * HOUR,))


def test_a_line_of_seconds_is_stopped() -> None:
    found = due(Clock("* * * * * *", start=NOON), Ticks(), NOON + 2 * MOST)
    assert found == Due(following=NOON + 2 * MOST + 1, too_many=True)


def test_nothing_is_due_before_the_repo_of_ticks_begins() -> None:
    clock = replace(CLOCK, start=None)
    assert due(clock, Ticks(), NOON).add == ()
    assert due(clock, Ticks(began=NOON - HOUR), NOON).add == (NOON - HOUR, NOON)
    assert not needs_states(clock) and needs_states(replace(clock, max_active_runs=1))
