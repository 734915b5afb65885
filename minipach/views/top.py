"""The current activity: open jobs, workers, what they run, and where a set waits and why."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from minipach.executors.registry import chosen
from minipach.executors.view import WaitingSets, Worker
from minipach.model.job_entries import JobRow
from minipach.model.states import OPEN
from minipach.project.project import Project
from minipach.records import pending_work
from minipach.records.job_history import as_they_are, open_ledger
from minipach.views.progress import JobProgress, Sheet


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that is not over.

    done, failed, ran, running, waiting: datums of `total`, also what no pass has recorded yet; ran: their commands
    have ended, and their sets have not · behind: of those that wait, those whose set runs · rate: datums per minute
    since its first set began (None: none yet) · eta: seconds to go at that rate (None: not known).
    """

    id: str
    pipeline: str
    state: str
    seconds: float
    done: int
    failed: int
    rate: float | None
    total: int = 0
    running: int = 0
    waiting: int = 0
    eta: float | None = None
    ran: int = 0
    behind: int = 0

    @staticmethod
    def of(row: JobRow, progress: JobProgress, now: float) -> OpenJob:
        """Return an open job with its progress, rate and estimated time to go."""
        took = now - (progress.since or row.started)
        ended = progress.done + progress.failed + progress.ran
        each = took / ended if ended and took > 0 else None
        left = progress.running + progress.waiting
        return OpenJob(
            row.id,
            row.pipeline,
            row.state,
            round(now - row.started, 1),
            progress.done,
            progress.failed,
            round(60 / each, 1) if each else None,
            progress.total,
            progress.running,
            progress.waiting,
            round(left * each, 1) if each is not None else None,
            progress.ran,
            progress.behind,
        )


@dataclass(frozen=True, slots=True)
class Activity:
    """All at one moment. note: a remark about the executor, or "" · next: pipelines that come after these."""

    executor: str
    jobs: tuple[OpenJob, ...] = ()
    workers: tuple[Worker, ...] = ()
    waiting: tuple[WaitingSets, ...] = ()
    note: str = ""
    when: float = field(default_factory=time.time)
    next: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach top --json`."""
        workers = [
            {"name": w.name, "has": w.has, "runs": [{"what": r, "seconds": round(s, 1)} for r, s in w.runs]}
            for w in self.workers
        ]
        return {
            "executor": self.executor,
            "jobs": [asdict(job) for job in self.jobs],
            "workers": workers,
            "waiting": [asdict(row) for row in self.waiting],
            "next": list(self.next),
            "note": self.note,
        }


class Top:
    """Looks at a project, again and again; each look reads what is new since the one before."""

    def __init__(self, project: Project) -> None:
        """Raise UserError where the executor is away."""
        self._project = project
        backend = chosen(project)
        self._executor = backend.name
        self._look_at_engine = backend.view(project)
        self._sheets: dict[int, Sheet] = {}

    def look(self) -> Activity:
        """Return what continues now. Raise UserError where the executor is away."""
        now = time.time()
        project = self._project
        ledger = open_ledger(project)
        try:
            rows = [row for row in as_they_are(project, ledger.jobs(None, 50)) if row.state in OPEN]
            logs = project.local.logs
            self._sheets = {
                r.key: self._sheets.get(r.key) or Sheet(logs / r.pipeline / str(r.key), r.key) for r in rows
            }
            for sheet in self._sheets.values():
                sheet.read(ledger)
        finally:
            ledger.close()
        seen = self._look_at_engine(self._sets(rows))
        jobs = [
            OpenJob.of(row, self._sheets[row.key].progress(row, seen.running, seen.outcomes), now)
            for row in reversed(rows)
        ]
        begun = {row.pipeline for row in rows}
        after = tuple(name for path in pending_work.paths(project) if (name := project.name_of(path)) not in begun)
        return Activity(self._executor, tuple(jobs), seen.workers, seen.waiting, seen.note, now, after)

    def _sets(self, rows: Sequence[JobRow]) -> Mapping[str, str]:
        return {
            ident: f"{row.pipeline}: {what}"
            for row in rows
            for ident, what in self._sheets[row.key].open_sets().items()
        }
