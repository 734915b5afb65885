"""What goes on now: the jobs that are not over, the workers, what they run, and where a set waits and why."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from minipach.executors.looks import Waiting, Worker
from minipach.jobs import as_they_are, open_ledger
from minipach.ledger import Ledger
from minipach.lock import holder
from minipach.project import Project
from minipach.settings import local_setting

_GOING = ("running", "submitted")


@dataclass(frozen=True, slots=True)
class Going:
    """A job that is not over. done, failed: datums of it so far · rate: datums per minute (None: none yet)."""

    id: str
    pipeline: str
    state: str
    seconds: float
    done: int
    failed: int
    rate: float | None


@dataclass(frozen=True, slots=True)
class Look:
    """All at one moment. note: what else is to be said of the engine, or ""."""

    executor: str
    jobs: tuple[Going, ...] = ()
    workers: tuple[Worker, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    note: str = ""
    when: float = field(default_factory=time.time)

    def as_json(self) -> dict[str, Any]:
        """As documented for `minipach top --json`."""
        workers = [
            {"name": w.name, "has": w.has, "runs": [{"what": r, "seconds": round(s, 1)} for r, s in w.runs]}
            for w in self.workers
        ]
        return {
            "executor": self.executor,
            "jobs": [asdict(job) for job in self.jobs],
            "workers": workers,
            "waiting": [asdict(row) for row in self.waiting],
            "note": self.note,
        }


def look(project: Project) -> Look:
    """What goes on in a project now. UserError where its engine is away."""
    name = local_setting(project.repo, "executor") or "local"
    jobs = tuple(_jobs(project))
    if name == "rq":
        from minipach.executors.rqlook import workers_and_waiting

        return Look(name, jobs, *workers_and_waiting(project))
    if name == "slurm":
        from minipach.executors.slurmlook import tasks_and_waiting

        return Look(name, jobs, *tasks_and_waiting())
    who = holder(project.state_dir / "lock")
    return Look(name, jobs, note=f"{who} runs them" if who else "")


def remarks(project: Project) -> Iterator[str]:
    """What is to be said of jobs that are on their way: whose sets wait and will not run as things are.

    Costs next to nothing where no job is on its way.
    """
    if local_setting(project.repo, "executor") != "rq" or not (project.state_dir / "ledger.sqlite").is_file():
        return
    ledger = open_ledger(project)
    rows = ledger.open_jobs()
    ledger.close()
    if rows:
        from minipach.executors.rqlook import waiting_in_vain

        for row in waiting_in_vain(project):
            yield f"{row.sets} {'set waits' if row.sets == 1 else 'sets wait'}: {row.why}; minipach top"


def _jobs(project: Project) -> Iterator[Going]:
    ledger = open_ledger(project)
    try:
        for row in as_they_are(project, ledger.jobs(None, 50)):
            if row.state in _GOING:
                yield _going(ledger, row.key, row.id, row.pipeline, row.state, time.time() - row.started)
    finally:
        ledger.close()


def _going(ledger: Ledger, key: int, name: str, pipeline: str, state: str, seconds: float) -> Going:
    kinds = Counter(used.kind for used in ledger.attempts(key))
    done, failed = kinds["ok"] + kinds["recovered"], kinds["failed"] + kinds["lost"]
    rate = round(done / seconds * 60, 1) if done and seconds > 0 else None
    return Going(name, pipeline, state, round(seconds, 1), done, failed, rate)


def lines(look: Look) -> Iterator[str]:
    """The look as text."""
    clock = time.strftime("%H:%M:%S", time.localtime(look.when))
    yield f"{clock}  executor {look.executor}" + (f"; {look.note}" if look.note else "")
    if not (look.jobs or look.workers or look.waiting):
        yield "nothing goes on"
        return
    yield from _table(
        ["JOB", "PIPELINE", "STATE", "TIME", "DONE", "FAILED", "PER-MINUTE"], [_job_row(job) for job in look.jobs]
    )
    rows = []
    for worker in look.workers:
        runs = [f"{what} ({_time(seconds)})" for what, seconds in worker.runs] or ["-"]
        rows += [[worker.name if n == 0 else "", worker.has if n == 0 else "", run] for n, run in enumerate(runs)]
    yield from _table(["WORKER", "HAS", "RUNS"], rows)
    yield from _table(["WAITING", "KIND", "WHY"], [[str(w.sets), w.kind, w.why] for w in look.waiting])


def _job_row(job: Going) -> list[str]:
    rate = "-" if job.rate is None else f"{job.rate:g}"
    return [job.id[:12], job.pipeline, job.state, _time(job.seconds), str(job.done), str(job.failed), rate]


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
