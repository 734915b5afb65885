"""Jobs of earlier and now, as the job database of this machine remembers them; what failed last time. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from minipach.model.job_entries import Attempt, JobRow, Try
from minipach.project.lock import holders
from minipach.project.project import Project
from minipach.records.job_database import Ledger
from minipach.support.errors import Problem, UserError
from minipach.support.text import near_id

_LISTED = "run minipach jobs for a list"


def open_ledger(project: Project) -> Ledger:
    """Return the project's job database."""
    return Ledger(project.local.database)


def last_jobs(project: Project, pipeline: str | None, most: int) -> list[JobRow]:
    """Return the last jobs, the newest first. A job whose schedule was killed reads `interrupted`."""
    ledger = open_ledger(project)
    try:
        return as_they_are(project, ledger.jobs(pipeline, most))
    finally:
        ledger.close()


def as_they_are(project: Project, rows: Sequence[JobRow]) -> list[JobRow]:
    """Return the rows, `running` only where a schedule works on the pipeline."""
    if not any(row.state == "running" for row in rows):
        return list(rows)
    working = holders(project.local.lock)
    held = {project.name_of(path) for one in working for path in one.held}
    alone = any(not one.targets for one in working)  # it holds the lock: its pipelines are not known
    newest: set[str] = set()
    found = []
    for row in sorted(rows, key=lambda r: -r.key):
        gone = row.state == "running" and (not (alone or row.pipeline in held) or row.pipeline in newest)
        found.append(replace(row, state="interrupted") if gone else row)
        newest.add(row.pipeline)
    return found


@dataclass(frozen=True, slots=True)
class JobStory:
    """A job: its last pass, all passes over the same state, and what happened to its datums in each.

    attempts: each with the index of its pass · tries: for each of them all tries that are on record, the last one last.
    """

    job: JobRow
    passes: tuple[JobRow, ...]
    attempts: tuple[tuple[int, Attempt], ...]
    tries: tuple[tuple[Try, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach job --json`."""
        pairs = zip(self.attempts, self.tries, strict=True)
        rows = [{"pass": index, **attempt_json(attempt, tries)} for (index, attempt), tries in pairs]
        return {**job_json(self.job), "passes": [job_json(p) for p in self.passes], "attempts": rows}


def read_job(project: Project, start: str, pipeline: str | None = None) -> JobStory:
    """Return the job whose id begins so, or the last one of the pipeline that is called so.

    UserError if there is none, or if there are several.
    """
    ledger = open_ledger(project)
    try:
        passes = passes_of(project, ledger, start, pipeline)
        found = []
        for number, row in enumerate(passes):
            before = ledger.tries(row.key)
            found += [((number, one), all_tries(one, before.pop(one.datum, ()))) for one in ledger.attempts(row.key)]
        return JobStory(passes[-1], passes, tuple(a for a, _ in found), tuple(t for _, t in found))
    finally:
        ledger.close()


def passes_of(project: Project, ledger: Ledger, start: str, pipeline: str | None = None) -> tuple[JobRow, ...]:
    """Return the passes of the job whose id begins so, or of the last one of the pipeline that is called so.

    UserError if there is none, or if there are several.
    """
    called = ledger.jobs_called(start, pipeline)
    if not called and pipeline in (None, start):
        called = [row for last in ledger.jobs(start, 1) for row in ledger.jobs_called(last.id, start)]
    rows = as_they_are(project, called)
    ids = sorted({row.id for row in rows})
    if not start or not ids:
        known = {row.id for row in ledger.jobs(pipeline, 100)}
        raise UserError(
            Problem("job.unknown", "", f'no job "{start}" on this machine', near_id(start, known) or _LISTED)
        )
    if len(ids) > 1:
        raise UserError(
            Problem(
                "job.ambiguous",
                "",
                f'''"{start}" begins the ids of {len(ids)} jobs: {", ".join(i[:12] for i in ids[:5])}''',
            )
        )
    return tuple(reversed(rows))


def job_json(row: JobRow) -> dict[str, Any]:
    """Return the JSON object of `minipach jobs --json`. Times are ISO 8601 in UTC; seconds is null while it runs."""
    return {
        "id": row.id,
        "pipeline": row.pipeline,
        "state": row.state,
        "started": iso(row.started),
        "ended": iso(row.ended) if row.ended is not None else None,
        "seconds": round(row.ended - row.started, 3) if row.ended is not None else None,
        "counts": row.counts,
        "commit": row.commit,
        "cause": row.cause or None,
    }


def all_tries(attempt: Attempt, before: Iterable[Try]) -> tuple[Try, ...]:
    """Return the tries of a datum in a job; one that was never begun may have none."""
    return (*before, *([attempt.last_try] if attempt.tries else []))


def attempt_json(attempt: Attempt, tries: Sequence[Try]) -> dict[str, Any]:
    """Return the JSON object of `minipach job --json`."""
    return {
        "datum": attempt.datum,
        "id": attempt.datum_id,
        "kind": attempt.kind,
        "exit": attempt.result.exit,
        "message": attempt.message,
        "tries": attempt.tries,
        "seconds": round(attempt.took.seconds, 3),
        "cpu": round(attempt.took.cpu, 3),
        "memory": attempt.took.memory,
        "bytes_in": attempt.result.bytes_in,
        "bytes_out": attempt.result.bytes_out,
        "disk": attempt.took.disk,
        "host": attempt.host,
        "log": attempt.log,
        "started": iso(attempt.started) if attempt.started is not None else None,
        "ended": iso(attempt.ended),
        "tried": [try_json(number, one) for number, one in enumerate(tries, 1)],
    }


def try_json(number: int, one: Try) -> dict[str, Any]:
    """Return one try of an attempt, as documented for `minipach job --json`; its times have fractions."""
    return {
        "number": number,
        "kind": one.kind,
        "exit": one.exit,
        "message": one.message,
        "started": iso(one.started, "milliseconds") if one.started is not None else None,
        "ended": iso(one.ended, "milliseconds") if one.ended is not None else None,
        "seconds": round(one.seconds, 3),
        "cpu": round(one.cpu, 3),
        "memory": one.memory,
        "host": one.host,
        "log": one.log,
    }


def iso(moment: float, precision: str = "seconds") -> str:
    """Return seconds since 1970 as ISO 8601, UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec=precision)


# --- the datums of now, by how they stand --------------------------------------------------------------------


def last_attempts_json(project: Project, pipeline: str) -> dict[str, dict[str, Any]]:
    """Return the last attempt of each datum that has one, with its tries, by name."""
    ledger = open_ledger(project)
    try:
        last = ledger.last_attempts(pipeline)
        before = {key: ledger.tries(key) for key in {one.pass_key for one in last.values()}}
        return {n: attempt_json(one, all_tries(one, before[one.pass_key].get(n, ()))) for n, one in last.items()}
    finally:
        ledger.close()
