"""The rule of branch triggers: which commit is released follows from the history, the spec and the present."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minipach.model.pipeline import BranchTrigger
from minipach.planning.branch_triggers import Deferral, Revision, released

HOUR = 3600
NOON = 1_770_000_000 // 86400 * 86400 + 12 * HOUR
TRIGGERS = st.builds(
    BranchTrigger,
    commits=st.integers(0, 4),
    size=st.sampled_from([0, 50, 300]),
    cron_spec=st.sampled_from(["", "0 3 * * *", "*/30 * * * *"]),
    all=st.booleans(),
).filter(lambda trigger: bool(trigger.commits or trigger.size or trigger.cron_spec))


@st.composite
def histories(draw: st.DrawFn) -> list[Revision]:
    gaps = draw(st.lists(st.integers(1, 9 * HOUR), max_size=12))
    whens = [NOON + sum(gaps[:n]) for n in range(len(gaps))]
    return [Revision(f"c{n}", when, draw(st.integers(0, 900))) for n, when in enumerate(whens)]


def walk(trigger: BranchTrigger, history: list[Revision], base: int, now: int) -> int:
    """The index of the released commit, given that `base` (-1: none) was released before."""
    size = history[base].size if base >= 0 else 0
    found = released(trigger, history[base + 1 :], size, now)
    return base if found.sha is None else int(found.sha[1:])


@settings(deadline=None)
@given(TRIGGERS, histories(), st.data(), st.integers(0, 40 * HOUR))
def test_looks_at_any_time_come_to_what_one_look_at_the_end_does(
    trigger: BranchTrigger, history: list[Revision], data: st.DataObject, later: int
) -> None:
    """Commits arrive at their dates; looks come at any time, or not at all."""
    assume(history)
    end = history[-1].when + later
    base = -1
    for count in sorted(data.draw(st.sets(st.integers(1, len(history))))):
        until = history[count].when - 1 if count < len(history) else end
        now = data.draw(st.integers(history[count - 1].when, until))
        base = walk(trigger, history[:count], base, now)
    assert walk(trigger, history, base, end) == walk(trigger, history, -1, end)


@settings(deadline=None)
@given(TRIGGERS, histories(), st.integers(0, 90 * HOUR), st.integers(0, 90 * HOUR))
def test_what_is_released_never_goes_back(trigger: BranchTrigger, history: list[Revision], one: int, two: int) -> None:
    first = walk(trigger, history, -1, NOON + one)
    assert walk(trigger, history, first, NOON + two) >= first  # the clock may jump
    if not history or history[-1].when <= NOON + one:  # a tick before a commit of the future is not known at first
        assert walk(trigger, history, -1, NOON + one + two) >= first


@given(TRIGGERS, histories())
def test_a_look_changes_nothing_for_the_next_one(trigger: BranchTrigger, history: list[Revision]) -> None:
    now = NOON + 200 * HOUR
    base = walk(trigger, history, -1, now)
    assert walk(trigger, history, base, now) == base


def history_of(*whens: int, size: int = 100) -> list[Revision]:
    return [Revision(f"c{n}", NOON + when, (n + 1) * size) for n, when in enumerate(whens)]


def test_commits() -> None:
    trigger = BranchTrigger(commits=3)
    history = history_of(*range(8))
    assert [walk(trigger, history[:n], -1, NOON + 99) for n in range(9)] == [-1, -1, -1, 2, 2, 2, 5, 5, 5]
    assert released(trigger, history, 0, NOON + 99).commits == 2


def test_size_counts_from_what_was_released() -> None:
    trigger = BranchTrigger(size=250)
    assert [walk(trigger, history_of(*range(n)), -1, NOON) for n in range(8)] == [-1, -1, -1, 2, 2, 2, 5, 5]


def test_a_time_releases_what_waits_then_without_a_new_commit() -> None:
    trigger = BranchTrigger(cron_spec="0 15 * * *")
    history = history_of(0, HOUR, 4 * HOUR)
    assert walk(trigger, history[:2], -1, NOON + 3 * HOUR - 1) == -1
    assert walk(trigger, history[:2], -1, NOON + 3 * HOUR) == 1
    assert walk(trigger, history, -1, NOON + 26 * HOUR) == 1
    state = released(trigger, history, 0, NOON + 26 * HOUR)
    assert (state.sha, state.commits, state.following) == ("c1", 1, NOON + 27 * HOUR)
    assert walk(trigger, history, -1, NOON + 27 * HOUR) == 2


def test_all_conditions_or_one() -> None:
    history = history_of(0, HOUR, 4 * HOUR)
    either = BranchTrigger(commits=2, cron_spec="0 15 * * *")
    assert walk(either, history, -1, NOON + 2 * HOUR) == 1
    both = replace(either, all=True)
    assert walk(both, history[:2], -1, NOON + 2 * HOUR) == -1
    assert walk(both, history[:2], -1, NOON + 3 * HOUR) == 1
    assert walk(both, history[:1], -1, NOON + 30 * HOUR) == -1
    assert released(both, history[:1], 0, NOON + 30 * HOUR).is_due


def test_dates_that_go_back_and_dates_in_the_future_release_nothing_early() -> None:
    trigger = BranchTrigger(cron_spec="0 15 * * *")
    assert walk(trigger, history_of(HOUR, -90 * HOUR), -1, NOON + 2 * HOUR) == -1
    assert walk(trigger, history_of(90 * HOUR), -1, NOON + 6 * HOUR) == -1


def test_the_text() -> None:
    trigger = BranchTrigger(commits=10, size=10**9, cron_spec="CRON_TZ=Europe/Berlin 0 3 * * *")
    state = released(trigger, history_of(0, 1, 2, size=133_400_000), 0, NOON + 9)
    text = Deferral("images", "images", trigger, "c2", state).text
    assert text.startswith("3 of 10 commits, 0.4 of 1 GB, next at ") and text.endswith(" 03:00 Europe/Berlin")
    assert Deferral("i", "i", replace(trigger, all=True), "c2", state).text.endswith(" (all of them needed)")
