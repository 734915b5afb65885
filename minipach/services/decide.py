"""The decision about one service: start, keep, replace, or end its programs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from minipach.records.service_state import ServiceWord

START_LIMIT = 60.0  # seconds in which a program has to answer
FIRST_PAUSE = 1.0  # seconds until a program that has ended is started again; twice as long each time
LONGEST_PAUSE = 60.0
SETTLED = 60.0  # seconds after which earlier ends of a program that serves no longer count

Action = Literal["keep", "start", "switch", "drop", "fail", "lose", "stop"]


@dataclass(frozen=True, slots=True)
class Running:
    """One program. datum: the id of its datum · seconds: since it was started."""

    datum: str
    state: Literal["starting", "ready", "ended"]
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the decision follows from.

    wanted: the id of the datum that is to be served; None: none is · serving: the program that answers · coming: the
    one that is to take its place · failures: how often in a row a program of the wanted datum has ended, or did not
    answer in time · pause: seconds since the last time.
    """

    wanted: str | None
    serving: Running | None = None
    coming: Running | None = None
    failures: int = 0
    pause: float = 0.0


def decide(now: Situation) -> Action:
    """Return what is to be done next.

    keep: nothing · start: start a program of the wanted datum · switch: let the coming program serve, and end the one
    that did · drop: end the coming program, whose datum is no longer wanted · fail: end it, since it has failed ·
    lose: the serving program has ended · stop: end the serving program, since none is wanted.
    """
    if now.coming is not None:
        if now.coming.datum != now.wanted:
            return "drop"
        if now.coming.state == "ended" or (now.coming.state == "starting" and now.coming.seconds > START_LIMIT):
            return "fail"
        if now.coming.state == "ready":
            return "switch"
    if now.serving is not None and now.serving.state == "ended":
        return "lose"
    if now.wanted is None:
        return "stop" if now.serving is not None else "keep"
    if now.coming is not None or (now.serving is not None and now.serving.datum == now.wanted):
        return "keep"
    return "start" if now.pause >= pause_after(now.failures) else "keep"


def pause_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return min(FIRST_PAUSE * 2.0 ** (min(failures, 20) - 1), LONGEST_PAUSE) if failures else 0.0


def state_word(now: Situation, *, is_stopped: bool, problem: str) -> ServiceWord:
    """Return the state to show. problem: what keeps the wanted datum from being known, or the port from being had."""
    if now.serving is not None and now.serving.state != "ended":
        is_next = now.coming is not None or (now.wanted is not None and now.wanted != now.serving.datum)
        return "updating" if is_next else "serving"
    if is_stopped:
        return "stopped"
    if problem:
        return "blocked"
    if now.failures:
        return "crashed"
    return "starting" if now.coming is not None or now.wanted is not None else "waiting"
