"""The decision about a service: the program is replaced when, and only when, the datum is another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.services.decide import (
    LONGEST_PAUSE,
    START_LIMIT,
    Action,
    Running,
    Situation,
    decide,
    pause_after,
    state_word,
)

READY_A, READY_B = Running("a", "ready", 9.0), Running("b", "ready", 9.0)
NEW_A, NEW_B = Running("a", "starting"), Running("b", "starting")
OVER_A, OVER_B = Running("a", "ended", 9.0), Running("b", "ended", 9.0)

CASES: list[tuple[Situation, Action]] = [
    (Situation(None), "keep"),
    (Situation("a"), "start"),
    (Situation("a", coming=NEW_A), "keep"),
    (Situation("a", coming=READY_A), "switch"),
    (Situation("a", serving=READY_A), "keep"),
    (Situation("b", serving=READY_A), "start"),
    (Situation("b", serving=READY_A, coming=NEW_B), "keep"),
    (Situation("b", serving=READY_A, coming=READY_B), "switch"),
    (Situation("a", serving=READY_A, coming=NEW_B), "drop"),  # it was changed back meanwhile
    (Situation("b", serving=READY_A, coming=OVER_B), "fail"),
    (Situation("b", serving=READY_A, coming=replace(NEW_B, seconds=START_LIMIT + 1)), "fail"),
    (Situation("a", serving=OVER_A), "lose"),
    (Situation("b", serving=OVER_A, coming=NEW_B), "lose"),
    (Situation("a", failures=1, pause=0.1), "keep"),
    (Situation("a", failures=1, pause=2.0), "start"),
    (Situation("b", serving=READY_A, failures=3, pause=1.0), "keep"),
    (Situation(None, serving=READY_A), "stop"),
    (Situation(None, serving=READY_A, coming=NEW_B), "drop"),
]


@pytest.mark.parametrize(("situation", "action"), CASES)
def test_each_situation_has_one_action(situation: Situation, action: Action) -> None:
    assert decide(situation) == action


def test_pauses_grow_and_have_an_end() -> None:
    pauses = [pause_after(n) for n in range(12)]
    assert pauses[:4] == [0.0, 1.0, 2.0, 4.0] and pauses[-1] == LONGEST_PAUSE == pause_after(10**9)


WORDS = [
    (Situation("a", serving=READY_A), "serving"),
    (Situation("b", serving=READY_A), "updating"),
    (Situation("b", serving=READY_A, coming=NEW_B, failures=2), "updating"),
    (Situation("a", coming=NEW_A), "starting"),
    (Situation("a", failures=2), "crashed"),
    (Situation(None), "waiting"),
]


@pytest.mark.parametrize(("situation", "word"), WORDS)
def test_each_situation_has_a_word(situation: Situation, word: str) -> None:
    assert state_word(situation, is_stopped=False, problem="") == word


def test_a_problem_is_shown_only_while_nothing_serves() -> None:
    assert state_word(Situation(None), is_stopped=False, problem="no image") == "blocked"
    assert state_word(Situation("a", serving=READY_A), is_stopped=False, problem="no image") == "serving"
    assert state_word(Situation(None), is_stopped=True, problem="") == "stopped"


WISHES = {"want a": "a", "want b": "b", "want c": "c", "want none": None}
EVENTS = st.lists(st.sampled_from([*WISHES, "answers", "ends", "serving ends", "time"]), max_size=40)


def happen(now: Situation, event: str) -> Situation:
    """Return the situation after an event."""
    if event in WISHES:
        return replace(now, wanted=WISHES[event], failures=0, pause=0.0)
    if event == "time":
        return replace(now, pause=now.pause + 100)
    if event == "serving ends" and now.serving is not None:
        return replace(now, serving=replace(now.serving, state="ended"))
    states: dict[str, Literal["ready", "ended"]] = {"answers": "ready", "ends": "ended"}
    if event in states and now.coming is not None and now.coming.state == "starting":
        return replace(now, coming=replace(now.coming, state=states[event]))
    return now


def act(now: Situation, action: Action) -> Situation:
    """Return the situation after an action, which has to be right in it."""
    is_sound = now.serving is not None and now.serving.state == "ready"
    if action == "start":
        assert now.coming is None and (now.serving is None or now.serving.datum != now.wanted)
        return replace(now, coming=Running(str(now.wanted), "starting"))
    if action == "switch":
        assert now.coming is not None and now.coming.state == "ready" and now.coming.datum == now.wanted
        return replace(now, serving=now.coming, coming=None)
    if action in ("drop", "fail"):
        return replace(now, coming=None, failures=now.failures + (action == "fail"), pause=0.0)
    assert is_sound == (action == "stop") and (action == "lose" or now.wanted is None)
    return replace(now, serving=None, failures=now.failures + (action == "lose"), pause=0.0)


@given(EVENTS)
def test_what_serves_stays_until_the_next_one_answers(events: list[str]) -> None:
    """A model of the supervisor: it comes to rest after each event, and no sound program ends before another serves."""
    now = Situation(None)
    for event in events:
        now = happen(now, event)
        actions = 0
        while (action := decide(now)) != "keep":
            now = act(now, action)
            actions += 1
            assert actions < 5
        if now.serving is not None and now.serving.datum == now.wanted:
            assert now.coming is None
        if now.wanted is not None and now.serving is None and now.coming is None:
            assert now.failures
