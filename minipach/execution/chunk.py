"""A chunk: more datums than one set should hold, handed to a worker, which cuts them by what the first ones take."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from minipach.execution.run_set import run_set
from minipach.execution.set_size import Pace, enough
from minipach.git.worktrees import Slot
from minipach.model import run_record
from minipach.model.work_set import Outcome, Streak, WorkSet, tried_again
from minipach.records.job_logs import note_set


def run_work(work: WorkSet, slot: Slot, tell: Callable[[Outcome], None], lost: int = 0) -> None:
    """Run a set, or a chunk in as many sets as it takes.

    tell: gets each outcome as it comes; those of a chunk report some of its datums each (see Outcome.members) · lost:
    how often a set was begun by a worker that is gone.
    """
    if not work.chunk:
        tell(run_set(work, slot, lost))
        return
    todo = list(range(len(work.parts)))
    pace = Pace()
    while todo:
        count = 1 if pace.work is None else enough(pace.work)
        members = todo[: _fitting(work, todo[:count])]
        del todo[: len(members)]
        part = replace(work.part(members), tries=work.tries if len(members) == 1 else 1)
        outcome = _run_part(work, part, members, slot, tell)
        streak, last = Streak(), outcome
        for place, tries in tried_again(outcome, len(members), work.tries).items():
            index = members[place]
            if streak.is_hopeless:  # lost as the last one was, whatever the set itself came to
                log = outcome.log
                tell(replace(last, set_id=work.id, members=(index,), moved=(), before=(), each=(), log=log))
                continue
            part = replace(work.part([index]), tries=tries, tried=work.tries - tries)
            last = _run_part(work, part, [index], slot, tell)
            streak.note(last)
        if outcome.kind == "ok":
            pace.learn(outcome.seconds, len(members))


def _fitting(work: WorkSet, members: Sequence[int]) -> int:
    """Return how many of these fit a command line, at least one."""
    length = 0
    for number, index in enumerate(members):
        length += len(shlex.join(work.parts[index]).encode("utf-8", "surrogateescape")) + 1
        if number and length > run_record.MAX_COMMAND // 2:
            return number
    return len(members)


def _run_part(
    work: WorkSet, part: WorkSet, members: Sequence[int], slot: Slot, tell: Callable[[Outcome], None]
) -> Outcome:
    log = Path(part.log)
    note_set(log.parent, log.name, [str(d["name"]) for d in part.datums])
    outcome = run_set(part, slot)
    tries = outcome.tries + (part.tried if outcome.kind != "lost" else 0)
    tell(replace(outcome, set_id=work.id, members=tuple(members), tries=tries))
    return outcome
