"""The rule of clocks: which ticks are to be added now, which are to be removed, and which wait. Pure.

The ticks that are wanted follow from the clock and the present. The ones that are there are files in a repo. What is
wanted and not there is missing. Nothing else is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from minipach.model.clock import Clock, tick_name
from minipach.model.ticks import Ticks
from minipach.spec.cron_line import parse_line

MOST = 10_000  # missing ticks that are added without a question: a cron line of seconds makes more by mistake

TickState = Literal["done", "pending", "failed", "left"]


@dataclass(frozen=True, slots=True)
class Due:
    """The result of the rule.

    add, remove: ticks, oldest first · blocked: those that are missing and wait, with the reason · following: when the
    next tick is due (None: never) · too_many: more are missing than may be added.
    """

    add: tuple[int, ...] = ()
    remove: tuple[int, ...] = ()
    blocked: tuple[tuple[int, str], ...] = ()
    following: int | None = None
    too_many: bool = False

    def applied(self, ticks: Ticks) -> Ticks:
        """Return the ticks after the change."""
        return replace(ticks, there=(ticks.there | set(self.add)) - set(self.remove))


def needs_states(clock: Clock) -> bool:
    """Return whether the rule asks how the ticks that are there ended."""
    return clock.depends_on_past or clock.max_active_runs > 0


def due(clock: Clock, ticks: Ticks, now: int, states: Mapping[int, TickState] | None = None) -> Due:
    """Return what is to be done about a clock's ticks.

    Args:
        clock: The clock.
        ticks: Those of its repo.
        now: The present, in seconds since 1970.
        states: How the ticks that are there stand; one that is left out is pending. `left`: it failed repeatedly, and
            is not run again.
    """
    line = parse_line(clock.line, clock.zone)
    begin = clock.start if clock.start is not None else ticks.began
    if begin is None:
        return Due(following=_following(clock, now, now))
    following = _following(clock, max(now, begin - 1), begin)
    first = begin if clock.expired_limit is None else max(begin, now - clock.expired_limit + 1)
    last = now if clock.end is None else min(now, clock.end)
    states = states or {}
    if clock.overwrite:
        wanted = line.newest(first, last, begin)
        while wanted in ticks.skipped:  # it is as if there were no such tick
            wanted = line.newest(first, wanted - 1, begin)
        return _newest(clock, ticks, wanted, states, following)
    known = ticks.there | ticks.skipped
    missing = list(islice((tick for tick in line.between(first, last, begin) if tick not in known), MOST + 1))
    if len(missing) > MOST:
        return Due(following=following, too_many=True)
    add, blocked = _eligible(clock, ticks, missing, states)
    return Due(tuple(add), (), tuple(blocked), following)


def _following(clock: Clock, after: int, origin: int) -> int | None:
    found = parse_line(clock.line, clock.zone).following(after, origin)
    return None if found is None or (clock.end is not None and found > clock.end) else found


def _newest(
    clock: Clock, ticks: Ticks, wanted: int | None, states: Mapping[int, TickState], following: int | None
) -> Due:
    """Return the change after which the newest tick alone is there."""
    there = max(ticks.there, default=None)
    if wanted is not None and (there is None or wanted > there):
        if clock.depends_on_past and there is not None and states.get(there) != "done":
            rest = tuple(sorted(ticks.there - {there}))
            return Due((), rest, ((wanted, _waits(there, states)),), following)
        return Due((wanted,), tuple(sorted(ticks.there)), (), following)
    return Due((), tuple(sorted(ticks.there - {there})) if there is not None else (), (), following)


def _eligible(
    clock: Clock, ticks: Ticks, missing: list[int], states: Mapping[int, TickState]
) -> tuple[list[int], list[tuple[int, str]]]:
    """Return the missing ticks that can be added, and those that wait; oldest first."""
    active = sum(states.get(tick, "pending") not in ("done", "left") for tick in ticks.there)
    add: list[int] = []
    blocked: list[tuple[int, str]] = []
    past = sorted(ticks.there - ticks.manual)
    before = 0
    previous: int | None = None
    for tick in missing:
        while before < len(past) and past[before] < tick:
            previous = past[before] if previous is None else max(previous, past[before])
            before += 1
        # one that is not there yet has no state
        if clock.depends_on_past and previous is not None and states.get(previous) != "done":
            blocked.append((tick, _waits(previous, states)))
        elif clock.max_active_runs and active >= clock.max_active_runs:
            blocked.append((tick, f"max_active_runs: {clock.max_active_runs} in progress"))
        else:
            add.append(tick)
            active += 1
        previous = tick
    return add, blocked


def _waits(previous: int, states: Mapping[int, TickState]) -> str:
    failed = states.get(previous) in ("failed", "left")
    return f"waits for {tick_name(previous)}" + (", which failed" if failed else "")
