"""Which logs to show: of a datum, of what failed, of a job; or all of a running job as one stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from minipach import goal
from minipach.errors import UserError
from minipach.follow import follow
from minipach.jobs import as_they_are, open_ledger, read_job
from minipach.ledger import Attempt, JobRow, Used
from minipach.lock import holder
from minipach.project import Project, suggest

_PAUSE = 0.2  # seconds between two looks
_GOING = ("running", "submitted")  # states of a job that isn't over


class Logged(Protocol):
    """An attempt that left a log."""

    @property
    def datum(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def log(self) -> str: ...
    @property
    def ended(self) -> float: ...


def choose_logs(project: Project, path: str, datum: str | None, job: str | None) -> list[Logged]:
    """The last attempt of a datum, or of all that failed, or (if none did) the last of all; of one job, all of its.

    UserError if there is none.
    """
    name = project.name_of(path)
    attempts: Mapping[str, Attempt | Used]
    if job is not None:
        attempts = {used.datum: used for _, used in read_job(project, job, name).attempts}
    else:
        ledger = open_ledger(project)
        attempts = ledger.last_attempts(name)
        ledger.close()
    if datum is not None:
        if datum not in attempts:
            where = f"in job {job}" if job is not None else "on this machine"
            raise UserError(f'{name}: no attempt of a datum "{datum}" {where}' + suggest(datum, attempts))
        return [attempts[datum]]
    chosen: list[Logged] = [a for a in attempts.values() if a.kind != "ok" or job is not None]
    if not chosen and attempts:
        chosen = [max(attempts.values(), key=lambda a: a.ended)]
    if not chosen:
        raise UserError(f"{name}: nothing has run on this machine yet; minipach schedule {name}")
    return chosen


def stream(
    project: Project, path: str, datum: str | None, job: str | None, tell: Callable[[str], None]
) -> Iterator[tuple[str, str]]:
    """(datum, line) of all logs of the job that runs now (or the job named), as they grow, until it has ended.

    While a schedule runs that has not come to this pipeline: waits for it. UserError if nothing runs.
    """
    name = project.name_of(path)
    row = read_job(project, job, name).job if job is not None else _running(project, name, tell)
    if row is None:
        raise UserError(f"{name}: no job runs now; minipach logs {name}, or minipach jobs {name}")

    def ended() -> bool:
        now = _row(project, row.id, row.key)
        return now is None or now.state not in _GOING

    for found, line in follow(project.state_dir / "logs" / name / str(row.key), ended):
        if datum is None or found == datum:
            yield found, line


def _row(project: Project, ident: str, key: int) -> JobRow | None:
    ledger = open_ledger(project)
    try:
        rows = as_they_are(project, ledger.jobs_called(ident))
    finally:
        ledger.close()
    return next((row for row in rows if row.key == key), None)


def _running(project: Project, name: str, tell: Callable[[str], None]) -> JobRow | None:
    """The job of a pipeline that runs; the next one, if the schedule that runs comes to it."""
    lock = project.state_dir / "lock"
    told = False
    while True:
        who = holder(lock)
        ledger = open_ledger(project)
        try:
            rows = as_they_are(project, ledger.jobs(name, 1))
        finally:
            ledger.close()
        if rows and rows[0].state in _GOING:
            return rows[0]
        if who is None and project.path_of(name) not in goal.paths(project):
            return None
        if not told:
            tell(f"{name}: no job runs yet; waiting for {who or 'what comes before it'}")
            told = True
        time.sleep(_PAUSE)
