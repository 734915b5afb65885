"""The rows of the job database, read as entries. A row that has a value of another kind is left out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from minipach.model.job_entries import (
    Attempt,
    DatumResult,
    JobRow,
    Took,
    Try,
)
from minipach.model.states import DatumKind
from minipach.support.validation import conforming, is_moment, is_text, rows


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """A row of the table `attempt`, as it is stored."""

    job: int | None
    datum: str
    datum_id: str
    kind: str
    exit: int
    message: str
    tries: int
    seconds: float
    cpu: float
    memory: int | None
    bytes_in: int | None
    bytes_out: int | None
    host: str
    log: str
    ended: float
    started: float | None
    began: float | None
    finished: float | None
    disk: int | None
    forced: int | None
    outside: str | None


_KINDS: Mapping[str, DatumKind] = {"ok": "ok", "lost": "lost", "recovered": "recovered"}
ATTEMPT = ", ".join(field.name for field in fields(AttemptRow))
TRY = "kind, exit, message, started, ended, seconds, cpu, memory, host, log"


# What a chart needs of an attempt: datum, kind, tries, host, end and begin of its set, begin and end of the command,
# CPU seconds, bytes of memory; and of an earlier try: datum, kind, begin, end, host, CPU seconds, bytes of memory.
Run = tuple[str, str, int, str, float, float | None, float | None, float | None, float, int | None]
EarlierTry = tuple[str, str, float | None, float | None, str, float, int | None]
RUN = "datum, kind, tries, host, ended, started, began, finished, cpu, memory"
EARLIER = "datum, kind, started, ended, host, cpu, memory"
_NONE = type(None)
RUN_KINDS = ({str}, {str}, {int}, {str}, {float}, *({float, _NONE},) * 3, {float}, {int, _NONE})
EARLIER_KINDS = ({str}, {str}, {float, _NONE}, {float, _NONE}, {str}, {float}, {int, _NONE})


def plain_rows(found: list[tuple[Any, ...]], kinds: Sequence[set[Any]]) -> list[Any]:
    """Return the rows whose values are of these types, and numbers that can be shown.

    All rows are looked at together: one at a time takes a second for 100,000.
    """
    if _are_plain(found, kinds):
        return found
    return [row for row in found if _are_plain([row], kinds)]


def _are_plain(found: list[tuple[Any, ...]], kinds: Sequence[set[Any]]) -> bool:
    for column, kind in zip(zip(*found, strict=True), kinds, strict=False):
        if not set(map(type, column)) <= kind:
            return False
        if str in kind:
            if not is_text(max(column, key=len)):
                return False
            continue
        known = [value for value in column if value is not None]
        if known and (min(known) < 0 or (float in kind and not is_moment(max(known)))):
            return False
    return True


def as_attempts(found: Iterable[tuple[Any, ...]]) -> list[Attempt]:
    """Return the rows as attempts; one that has a value of another kind is left out."""
    made = map(_attempt, conforming(AttemptRow, list(found)))
    return [attempt for attempt in made if attempt is not None]


def _attempt(row: Sequence[Any]) -> Attempt | None:
    """Return an attempt from the columns of `AttemptRow`; None if a time is none.

    A kind that this version does not know counts as failed.
    """
    job, datum, ident, kind, code, message, tries, seconds, cpu, memory, *more = row
    bytes_in, bytes_out, host, log, ended, started, began, finished, disk, forced, outside = more
    if not is_moment(ended) or not all(at is None or is_moment(at) for at in (started, began, finished)):
        return None
    took = Took(began or 0.0, finished or 0.0, seconds, cpu, memory, disk)
    result = DatumResult(0, _KINDS.get(kind, "failed"), code, message, None, took, bytes_in, bytes_out)
    return Attempt(datum, ident, result, tries, host, log, started, ended, bool(forced), (), job or 0, outside or "")


COUNTS = ("ran", "reused", "current", "removed", "recovered", "failed")
JOB = (
    "key, id, pipeline, state, started, ended, ifnull(commit_id, ''), ifnull(asked, 0), ifnull(cause, ''), "
    + ", ".join(COUNTS)
)


def as_jobs(found: Iterable[tuple[Any, ...]]) -> list[JobRow]:
    """Return the rows as jobs; one that has a value of another kind is left out."""
    split = [(row[:9], {name: n or 0 for name, n in zip(COUNTS, row[9:], strict=True)}) for row in found]
    made = rows(JobRow, [(*head[:7], counts, *head[7:]) for head, counts in split])
    return [row for row in made if is_moment(row.started) and (row.ended is None or is_moment(row.ended))]


def as_tries(found: Iterable[tuple[Any, ...]]) -> list[Try]:
    made = rows(Try, list(found))
    return [one for one in made if all(at is None or is_moment(at) for at in (one.started, one.ended))]
