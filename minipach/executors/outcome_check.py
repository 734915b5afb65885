"""Outcomes of sets that come through an executor's memory, checked against the sets that they are of."""

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
    indices = {one.index for one in outcome.datums}
    if len(indices) != len(outcome.datums) or not indices <= set(range(len(work.parts))):
        raise InvalidError("it names datums that the set does not have")
    if not all(one.part is None or 0 <= one.part < len(work.parts) for one in outcome.datums):
        raise InvalidError("it names parts of a log that the set does not have")
    if not all(one.beside is None or 0 <= one.beside < len(work.parts) for one in outcome.datums):
        raise InvalidError("it names a datum in the way that the set does not have")
    for log in (outcome.log, *(one.log for one in outcome.before)):
        if log and not _is_beside(log, work.log):
            raise InvalidError("its log is not where the set's logs are")
    times = [outcome.started, outcome.ended]
    times += [at for one in outcome.before for at in (one.started, one.ended) if at is not None]
    times += [at for one in outcome.datums if one.took for at in (one.took.began, one.took.ended)]
    if not all(map(is_moment, times)) or outcome.seconds < 0 or outcome.tries < 0:
        raise InvalidError("a time or number is out of range")
    return outcome


def _is_beside(path: str, other: str) -> bool:
    return os.path.dirname(path) == os.path.dirname(other) and os.path.basename(path).endswith(".log")
