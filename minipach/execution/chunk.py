"""A chunk: more datums than one set should hold, handed to a worker, which cuts them by what the first ones take."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from minipach.execution.run_set import is_stopping, run_set
from minipach.execution.set_size import Pace, enough
from minipach.git.worktrees import Slot
from minipach.model import run_record
from minipach.model.job_entries import DatumResult
from minipach.model.work_set import Outcome, Streak, WorkSet, tried_again
from minipach.records.job_logs import note_set


def run_work(work: WorkSet, slot: Slot, notify: Callable[[Outcome], None], lost: int = 0) -> None:
    """Run a set, or a chunk in as many sets as it takes.

    notify: gets each outcome as it comes; those of a chunk report some of its datums each (see Outcome.datums) · lost:
    how often a set was begun by a worker that is gone.
    """
    if not work.chunk:
        notify(run_set(work, slot, lost))
        return
    todo = list(range(len(work.parts)))
    pace = Pace()
    while todo and not is_stopping():
        count = 1 if pace.work is None else enough(pace.work)
        members = todo[: _fitting(work, todo[:count])]
        del todo[: len(members)]
        part = replace(work.part(members), tries=work.tries if len(members) == 1 else 1)
        outcome = _run_part(work, part, members, slot, notify)
        streak, last = Streak(), outcome
        results = outcome.as_part_of(work.id, members).datums
        for index, tries in tried_again(results, work.tries).items():
            if streak.is_hopeless:  # lost as the last one was, whatever the set itself came to
                one = DatumResult(index, last.kind, last.exit, last.message)
                notify(replace(last, set_id=work.id, datums=(one,), before=(), log=outcome.log))
                continue
            part = replace(work.part([index]), tries=tries, tried=work.tries - tries)
            last = _run_part(work, part, [index], slot, notify)
            streak.note(last)
        if outcome.kind == "ok":
            pace.learn(outcome.seconds, len(members), outcome.own_seconds)


def run_rest(work: WorkSet, left: Sequence[int], slot: Slot, notify: Callable[[Outcome], None], lost: int = 0) -> None:
    """Run the datums of a set or chunk that have no result yet.

    Args:
        work: The set or chunk.
        left: The indices of these datums.
        slot: The worktree in which they run.
        notify: Called with each outcome, as one of the whole set or chunk.
        lost: How often it was begun by a worker that is gone.
    """
    if len(left) == len(work.parts):
        run_work(work, slot, notify, lost)
    elif left:
        run_work(replace(work.part(left), chunk=work.chunk), slot, as_members(work, left, notify), lost)


def as_members(work: WorkSet, indices: Sequence[int], notify: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
    """Report outcomes of a part as outcomes of the whole. indices: of the part's datums in the whole."""

    def notify_of_members(outcome: Outcome) -> None:
        notify(outcome.as_part_of(work.id, indices))

    return notify_of_members


def done_before(work: WorkSet, indices: Sequence[int] = ()) -> Outcome:
    """Return the outcome of datums (none named: all) that have a result: their worker was lost after it kept that."""
    datums = tuple(DatumResult(index, "ok") for index in indices)
    return Outcome(work.id, "ok", 0, "", 0.0, 1, work.log, platform.node(), datums=datums)


def _fitting(work: WorkSet, members: Sequence[int]) -> int:
    """Return how many of these fit a command line, at least one."""
    length = 0
    for number, index in enumerate(members):
        length += len(shlex.join(work.parts[index]).encode("utf-8", "surrogateescape")) + 1
        if number and length > run_record.MAX_COMMAND // 2:
            return number
    return len(members)


def _run_part(
    work: WorkSet, part: WorkSet, members: Sequence[int], slot: Slot, notify: Callable[[Outcome], None]
) -> Outcome:
    log = Path(part.log)
    note_set(log.parent, log.name, [str(d["name"]) for d in part.datums])
    outcome = run_set(part, slot)
    tries = outcome.tries + (part.tried if outcome.kind != "lost" else 0)
    notify(replace(outcome.as_part_of(work.id, members), tries=tries))
    return outcome
