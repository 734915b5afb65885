"""The current activity: open jobs, workers, what they run, and where a set waits and why."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from minipach.executors.registry import chosen
from minipach.executors.view import Waiting, Worker
from minipach.model.attempt import JobRow
from minipach.model.states import OPEN
from minipach.project.project import Project
from minipach.records import pending_work
from minipach.records.job_history import as_they_are, open_ledger
from minipach.views.progress import Progress, Sheet

_MOST = 20  # workers that are shown as text


@dataclass(frozen=True, slots=True)
class Going:
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
    def of(row: JobRow, progress: Progress, now: float) -> Going:
        """Return a job, by how far it is."""
        took = now - (progress.since or row.started)
        ended = progress.done + progress.failed + progress.ran
        each = took / ended if ended and took > 0 else None
        left = progress.running + progress.waiting
        return Going(
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
class Look:
    """All at one moment. note: what else is to be said of the engine, or "" · next: pipelines that come after these."""

    executor: str
    jobs: tuple[Going, ...] = ()
    workers: tuple[Worker, ...] = ()
    waiting: tuple[Waiting, ...] = ()
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
        """UserError where its engine is away."""
        self._project = project
        backend = chosen(project)
        self._executor = backend.name
        self._look_at_engine = backend.view(project)
        self._sheets: dict[int, Sheet] = {}

    def look(self) -> Look:
        """Return what continues now. UserError where its engine is away."""
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
            Going.of(row, self._sheets[row.key].progress(row, seen.running, seen.outcomes), now)
            for row in reversed(rows)
        ]
        begun = {row.pipeline for row in rows}
        after = tuple(name for path in pending_work.paths(project) if (name := project.name_of(path)) not in begun)
        return Look(self._executor, tuple(jobs), seen.workers, seen.waiting, seen.note, now, after)

    def _sets(self, rows: Sequence[JobRow]) -> Mapping[str, str]:
        return {
            ident: f"{row.pipeline}: {what}"
            for row in rows
            for ident, what in self._sheets[row.key].open_sets().items()
        }


def lines(look: Look) -> Iterator[str]:
    """Yield the look as text."""
    clock = time.strftime("%H:%M:%S", time.localtime(look.when))
    yield f"{clock}  executor {look.executor}" + (f"; {look.note}" if look.note else "")
    if not (look.jobs or look.workers or look.waiting or look.next):
        yield "nothing runs"
        return
    yield from _table(  # what matters most comes first: a narrow terminal cuts the rest off
        ["JOB", "PIPELINE", "STATE", "TIME", "DONE", "FAILED", "TO-GO", "RAN", "RUNNING", "WAITING", "PER-MINUTE"],
        [_job_row(job) for job in look.jobs],
    )
    if look.next:
        yield ""
        yield f"then: {', '.join(look.next)}"
    rows = []
    for worker in look.workers[:_MOST]:
        runs = [f"{what} ({_time(seconds)})" for what, seconds in worker.runs] or ["-"]
        rows += [[worker.name if n == 0 else "", worker.has if n == 0 else "", run] for n, run in enumerate(runs)]
    yield from _table(["WORKER", "HAS", "RUNS"], rows)
    if len(look.workers) > _MOST:
        yield f"and {len(look.workers) - _MOST} more; --json has all"
    yield from _table(["WAITING", "KIND", "WHY"], [[str(w.sets), w.kind, w.why] for w in look.waiting])


def _job_row(job: Going) -> list[str]:
    rate = "-" if job.rate is None else f"{job.rate:g}"
    done = f"{job.done} of {job.total}" if job.total else str(job.done)
    waiting = str(job.waiting) + (f" ({job.behind} in sets that run)" if job.behind else "")
    now = [str(job.ran), str(job.running), waiting]
    to_go = "-" if job.eta is None else _time(job.eta)
    return [job.id[:12], job.pipeline, job.state, _time(job.seconds), done, str(job.failed), to_go, *now, rate]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    yield ""
    for row in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
