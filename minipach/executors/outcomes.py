"""Outcomes of sets that come through an engine's memory, checked against the sets that they are of."""

from __future__ import annotations

import os

from minipach.model.work_set import Outcome, WorkSet
from minipach.support.validation import InvalidError, is_moment


def check_outcome(outcome: Outcome, work: WorkSet) -> Outcome:
    """Return the outcome. Raises InvalidError if it can't be one of this set.

    Its indices are those of the set's datums, and its logs are in the folder of the set's log: `minipach logs` shows
    what is there.
    """
    if outcome.set_id != work.id:
        raise InvalidError("another set's")
    members = outcome.members if outcome.members is not None else tuple(range(len(work.parts)))
    count = len(members)
    if len(set(members)) != count or not all(0 <= index < len(work.parts) for index in members):
        raise InvalidError("it names datums that the set does not have")
    told = [index for index, _, _ in (*outcome.bad, *outcome.recovered)]
    if len(set(told)) != len(told) or not all(0 <= index < count for index in told):
        raise InvalidError("it names datums that the set does not have")
    if any(len(rows) not in (0, count) for rows in (outcome.moved, outcome.each)):
        raise InvalidError("it tells of more or fewer datums than the set has")
    for log in (outcome.log, *(one.log for one in outcome.before)):
        if log and not _is_beside(log, work.log):
            raise InvalidError("its log is not where the set's logs are")
    times = [outcome.started, outcome.ended]
    times += [at for one in outcome.before for at in (one.started, one.ended) if at is not None]
    times += [at for took in outcome.each for at in (took.began, took.ended)]
    if not all(map(is_moment, times)) or outcome.seconds < 0 or outcome.tries < 0:
        raise InvalidError("a time or number is out of range")
    return outcome


def _is_beside(path: str, other: str) -> bool:
    return os.path.dirname(path) == os.path.dirname(other) and os.path.basename(path).endswith(".log")
