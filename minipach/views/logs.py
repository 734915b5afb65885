"""The choice of logs: of a datum, of what failed, of a job; or all running datums as one stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from minipach.executors.registry import chosen
from minipach.model.job_entries import Attempt, JobRow, Try
from minipach.model.messages import NEXT_TRY
from minipach.model.states import OPEN
from minipach.project.lock import holder
from minipach.project.project import Project
from minipach.project.targets import matching, suggest_datum
from minipach.records import pending_work
from minipach.records.job_history import all_tries, as_they_are, open_ledger, read_job
from minipach.records.log_stream import PAUSE, STREAM_MARK, Following, follow
from minipach.scheduling.stalled import Remarking
from minipach.support.errors import Problem, UserError
from minipach.support.text import many

_LAST = 50  # jobs among which are those that began since the last look
# what a worker writes between two tries (see execution.run_set)


def choose_logs(project: Project, path: str, datum: str | None, job: str | None) -> list[Attempt]:
    """Return the last attempt of a datum, of all that failed, or (if none did) the last of all; of a job, all of its.

    datum: a name or a glob. UserError if there is none.
    """
    name = project.name_of(path)
    attempts: Mapping[str, Attempt]
    if job is not None:
        attempts = {attempt.datum: attempt for _, attempt in read_job(project, job, name).attempts}
    else:
        ledger = open_ledger(project)
        attempts = ledger.last_attempts(name)
        ledger.close()
    if datum is not None:
        return [attempts[which] for which in _named(name, datum, attempts, job)]
    chosen: list[Attempt] = [a for a in attempts.values() if a.kind != "ok" or job is not None]
    if not chosen and attempts:
        chosen = [max(attempts.values(), key=lambda a: a.ended)]
    if not chosen:
        raise UserError(
            Problem("log.nothing-ran", name, "nothing has run on this machine yet", f"minipach schedule {name}")
        )
    return chosen


def _named(name: str, word: str, known: Iterable[str], job: str | None) -> list[str]:
    """Return the datums among these that a word means; UserError if there is none."""
    there = list(known)
    found = matching(word, there)
    if not found:
        where = f"in job {job}" if job is not None else "on this machine"
        raise UserError(
            Problem("datum.no-attempt", name, f'no attempt of a datum "{word}" {where}', suggest_datum(word, there))
        )
    return found


def log_of_try(project: Project, path: str, datum: str, job: str | None, number: int) -> bytes:
    """Return what the datum's command printed at its N-th try (from 1), in its last job or the job named. UserError.

    datum: its name, or a glob that only its name matches.
    """
    name = project.name_of(path)
    datum, tries = _tries(project, name, datum, job)
    if not 0 < number <= len(tries):
        raise UserError(
            Problem(
                "log.no-such-try",
                name,
                f"{datum} has had {many(len(tries), 'try', 'tries')}",
                f"use --try {len(tries) or 1}",
            )
        )
    one = tries[number - 1]
    there = Path(one.log)
    if not one.log or not there.is_file():
        raise UserError(
            Problem(
                "log.not-kept", name, f"what {datum} printed at try {number} was not kept ({one.message or one.kind})"
            )
        )
    return part_of_try(there.read_bytes(), tries, number)


def part_of_try(data: bytes, tries: Sequence[Try], number: int) -> bytes:
    """Return what a try printed, of a log with all tries in that file; all of it, where that is not known.

    number: of the try, from 1. It is not known where the command itself prints lines that separate tries, or where the
    begin of the log is missing. Of the last try it is known also then, if there are no more of these lines than tries.
    """
    parts = NEXT_TRY.split(data)
    same = [place for place, other in enumerate(tries) if other.log == tries[number - 1].log]
    if len(parts) == len(same):
        return parts[same.index(number - 1)]
    return parts[-1] if len(parts) < len(same) and same[-1] == number - 1 else data


def _tries(project: Project, name: str, word: str, job: str | None) -> tuple[str, Sequence[Try]]:
    if job is not None:
        story = read_job(project, job, name)
        last = {attempt.datum: tries for (_, attempt), tries in zip(story.attempts, story.tries, strict=True)}
        datum = _one(name, _named(name, word, last, job))
        return datum, last[datum]
    ledger = open_ledger(project)
    try:
        known = ledger.last_attempts(name)
        datum = _one(name, _named(name, word, known, job))
        attempt = known[datum]
        return datum, all_tries(attempt, ledger.tries_of(attempt.pass_key, datum))
    finally:
        ledger.close()


def _one(name: str, datums: Sequence[str]) -> str:
    if len(datums) > 1:
        raise UserError(
            Problem(
                "option.needs-datum",
                name,
                f"--try: of which of {len(datums)} datums? ({', '.join(datums[:3])}{', ...' * (len(datums) > 3)})",
            )
        )
    return datums[0]


def stream(
    project: Project, path: str, datum: str | None, job: str | None, notify: Callable[[str], None]
) -> Iterator[tuple[str, str]]:
    """Yield (datum, line) of all logs of the job that runs now (or the job named), as they grow, until it has ended.

    While a schedule runs that has not come to this pipeline: waits for it. UserError if nothing runs.
    """
    name = project.name_of(path)
    row = read_job(project, job, name).job if job is not None else _running(project, name, notify)
    if row is None:
        raise UserError(
            Problem("log.no-job-runs", name, "no job runs now", f"minipach logs {name}, or minipach jobs {name}")
        )

    remarking = Remarking(project, notify)

    def ended() -> bool:
        remarking.look()
        now = _row(project, row.id, row.key)
        return now is None or now.state not in OPEN

    backend = chosen(project)
    lines = backend.stream(project, path, ended)
    if lines is not None:
        yield from _of_workers(lines, datum)
        return
    with backend.remote_logs(project) as elsewhere:
        for found, line in follow(_folder(project, row), ended, elsewhere):
            if datum is None or matching(datum, [found]):
                yield found, line


def stream_all(project: Project, notify: Callable[[str], None]) -> Iterator[tuple[str, str, str]]:
    """Yield (pipeline, datum, line) of the logs of all jobs, as they grow, until nothing runs and nothing is submitted.

    UserError if that is so from the beginning.
    """
    following: dict[int, tuple[JobRow, Following]] = {}
    newest: int | None = None
    reported = False
    remarking = Remarking(project, notify)
    backend = chosen(project)

    def is_idle() -> bool:
        remarking.look()
        return holder(project.local.lock) is None and not pending_work.exists(project)

    if not is_idle() and (lines := backend.stream(project, None, is_idle)) is not None:
        for worker, line in lines:
            yield worker, *_datum_of(line)
        return
    with backend.remote_logs(project) as elsewhere:
        while True:
            who = holder(project.local.lock)  # asked before the look, so that nothing is missed after it
            busy = who is not None or pending_work.exists(project)
            rows = {row.key: row for row in _last_rows(project)}
            for key, row in sorted(rows.items()):
                # what began since the last look counts though it has ended by now
                if key not in following and (row.state in OPEN or (newest is not None and key > newest)):
                    following[key] = row, Following(_folder(project, row), elsewhere)
            newest = max([newest or 0, *rows])
            if not busy and not following and not reported:
                raise UserError(
                    Problem(
                        "log.nothing-runs",
                        "",
                        "nothing runs now",
                        "run minipach logs for what failed last time, minipach jobs for what ran",
                    )
                )
            if not following and not reported:
                notify(f"no job runs yet; waiting for {who or 'what was left to be done'}")
            reported = True
            for key, (row, logs) in list(following.items()):
                last = key not in rows or rows[key].state not in OPEN
                for datum, line in logs.look(last=last):
                    yield row.pipeline, datum, line
                if last:
                    del following[key]
            if not busy and not following:
                return
            remarking.look()
            time.sleep(PAUSE)


def _of_workers(lines: Iterator[tuple[str, str]], wanted: str | None) -> Iterator[tuple[str, str]]:
    """Yield (worker: datum, line) of what workers print, of datums that were asked for."""
    for worker, text in lines:
        datum, line = _datum_of(text)
        if wanted is None or matching(wanted, [datum]):
            yield f"{worker}: {datum}" if datum else worker, line


def _datum_of(text: str) -> tuple[str, str]:
    """Return the datum and the line of what a worker printed; "" for what is the worker's own."""
    datum, mark, line = text.partition(STREAM_MARK)
    return (datum, line) if mark else ("", text)


def _last_rows(project: Project) -> list[JobRow]:
    ledger = open_ledger(project)
    try:
        return as_they_are(project, [*ledger.jobs(None, _LAST), *ledger.open_jobs()])
    finally:
        ledger.close()


def _folder(project: Project, row: JobRow) -> Path:
    return project.local.logs / row.pipeline / str(row.key)


def failures_of_last_jobs(project: Project) -> list[tuple[str, Attempt]]:
    """Return (pipeline, attempt) of the datums that did not succeed in the last job of each pipeline.

    While that one is not over, the one before it counts for the datums that it has not come to yet.
    """
    found: list[tuple[str, Attempt]] = []
    ledger = open_ledger(project)
    try:
        for path in project.order:
            name = project.name_of(path)
            known: set[str] = set()
            for row in as_they_are(project, ledger.jobs(name, _LAST)):
                found += [(name, a) for a in ledger.last_failed(row.key) if a.datum not in known]
                if row.state not in OPEN:
                    break
                known |= ledger.datums_of(row.key)
    finally:
        ledger.close()
    return found


def _row(project: Project, ident: str, key: int) -> JobRow | None:
    ledger = open_ledger(project)
    try:
        rows = as_they_are(project, ledger.jobs_called(ident))
    finally:
        ledger.close()
    return next((row for row in rows if row.key == key), None)


def _running(project: Project, name: str, notify: Callable[[str], None]) -> JobRow | None:
    """Return the job of a pipeline that runs; the next one, if the schedule that runs comes to it."""
    lock = project.local.lock
    reported = False
    while True:
        who = holder(lock)
        ledger = open_ledger(project)
        try:
            rows = as_they_are(project, ledger.jobs(name, 1))
        finally:
            ledger.close()
        if rows and rows[0].state in OPEN:
            return rows[0]
        if who is None and project.path_of(name) not in pending_work.paths(project):
            return None
        if not reported:
            notify(f"{name}: no job runs yet; waiting for {who or 'what comes before it'}")
            reported = True
        time.sleep(PAUSE)
