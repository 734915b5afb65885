"""The pages of jobs, and of one of them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minipach.console import gantt
from minipach.console.pages.page import PER_PAGE, Asked, Page
from minipach.console.timeline import Timeline, as_columns, by_datum, by_worker, critical_path, timeline_of
from minipach.git.repo import Repo, is_dataset
from minipach.model.job_entries import Attempt, JobRow
from minipach.project.project import Project
from minipach.records.branch_history import publishes
from minipach.records.job_history import job_json, last_jobs, open_ledger, passes_of
from minipach.support.errors import UserError
from minipach.views.diff import compare_states

_MOST_BARS = 5000


def jobs(asked: Asked) -> Page:
    """Return the page of the last jobs."""
    project = asked.reading.project()
    path = asked.pipeline(project) if asked.value("pipeline") else None
    rows = last_jobs(project, project.name_of(path) if path else None, 200)
    return Page("Jobs", "jobs.html", {"jobs": [job_json(row) for row in rows]})


@dataclass(frozen=True, slots=True)
class _Job:
    """A job as its page shows it. passes: over the same state, the last one last · counts: of attempts in each."""

    passes: tuple[JobRow, ...]
    counts: tuple[int, ...]
    attempts: tuple[Attempt, ...]
    page: int
    pages: int

    @property
    def last(self) -> JobRow:
        """The last pass, which stands for the job."""
        return self.passes[-1]


def _read(asked: Asked, project: Project) -> tuple[_Job, Timeline, object]:
    """Return a job with the attempts of one page, its tries, and what is another value when these are others."""
    ledger = open_ledger(project)
    try:
        passes = passes_of(project, ledger, asked.value("id"))
        noted = [ledger.noted(row.key) for row in passes]
        of = tuple((row.key, row.started, *found) for row, found in zip(passes, noted, strict=True))
        tries = asked.reading.made(
            "tries",
            of,
            lambda: timeline_of([(p.started, ledger.runs(p.key), ledger.earlier_tries(p.key)) for p in passes]),
        )
        counts = tuple(found[0] for found in noted)
        pages = max(1, -(-sum(counts) // PER_PAGE), -(-len(set(tries.datum[:_MOST_BARS])) // PER_PAGE))
        page = asked.number("page", 1, pages)
        attempts: list[Attempt] = []
        left = (page - 1) * PER_PAGE
        for row, count in zip(passes, counts, strict=True):
            if left < count and len(attempts) < PER_PAGE:
                attempts += ledger.some_attempts(row.key, left, PER_PAGE - len(attempts))
            left = max(0, left - count)
        return _Job(passes, counts, tuple(attempts), page, pages), tries, of
    finally:
        ledger.close()


def job(asked: Asked) -> Page:
    """Return the page of a job: what it changed, and its tries over time."""
    project = asked.reading.project()
    read, tries, of = _read(asked, project)
    by = "worker" if asked.value("lanes") == "worker" else "datum"
    drawn = tries.first(_MOST_BARS)
    drawn = drawn.for_workers() if by == "worker" else drawn
    rows = by_worker(drawn) if by == "worker" else by_datum(drawn)
    first = (read.page - 1) * PER_PAGE
    shown = range(len(rows.names))[first : first + PER_PAGE]
    critical = asked.reading.made("critical path", of, lambda: critical_path(tries))
    path = _path_of(project, read.last)
    is_cut = len(tries) > len(drawn) or len(rows.names) > len(shown)

    def link(bar: gantt.Bar) -> str:
        if path is None:
            return asked.url("jobs")
        return asked.url("log", pipeline=path, name=bar.datum, job=read.last.id, **{"try": bar.number})

    data = {
        **_data(read, tries, critical),
        "changed": _changed(project, path, read.last) if path else None,
        "lanes": by,
        "tries_drawn": len(drawn),
    }
    base = asked.url("")
    chart = asked.reading.made(
        f"chart by {by}",
        (of, read.page, read.last.ended, path, base),
        lambda: gantt.as_svg(drawn, rows, shown, link, read.last.ended, critical),
    )
    return Page(
        f"Job {read.last.id[:12]}",
        "job.html",
        data,
        {
            "chart": chart,
            "path": path,
            "bars": asked.url("", id=read.last.id, lanes=by).partition("?")[2] if is_cut else "",
        },
    )


def _data(read: _Job, tries: Timeline, critical: Sequence[int]) -> dict[str, Any]:
    """Return a job and its tries as JSON objects. critical: the tries of the critical path."""
    return {
        **job_json(read.last),
        "passes": [job_json(p) for p in read.passes],
        "cpu": round(tries.cpu, 3),
        "memory": tries.memory,
        "tries_in_all": len(tries),
        "critical_path": {
            "tries": len(critical),
            "seconds": round(sum(tries.end[at] - tries.start[at] for at in critical), 3),
        },
        "page": read.page,
        "pages": read.pages,
        "attempts_in_all": sum(read.counts),
        "attempts": [
            {
                "datum": a.datum,
                "kind": a.kind,
                "message": a.message,
                "seconds": round(a.took.seconds, 3),
                "host": a.host,
            }
            for a in read.attempts
        ],
    }


def job_bars(asked: Asked) -> bytes:
    """Return all tries of a job as JSON, for the canvas, compressed: it is kept, and sent to many tabs.

    link: of a log; the name and the try are added to it.
    """
    project = asked.reading.project()
    read, tries, of = _read(asked, project)
    by = "worker" if asked.value("lanes") == "worker" else "datum"
    path = _path_of(project, read.last)
    link = asked.url("log", pipeline=path, job=read.last.id) if path else None

    critical = asked.reading.made("critical path", of, lambda: critical_path(tries))

    def make() -> bytes:
        drawn = tries.for_workers() if by == "worker" else tries
        rows = by_worker(drawn) if by == "worker" else by_datum(drawn)
        columns = as_columns(drawn, rows, read.last.ended, critical)
        found = {"schema": 1, "link": link, **columns}
        text = json.dumps(found, ensure_ascii=True, separators=(",", ":"))
        return gzip.compress(text.encode(), compresslevel=1, mtime=0)

    return asked.reading.made(f"bars by {by}", (of, read.last.ended, link), make)


def _path_of(project: Project, row: JobRow) -> str | None:
    return next((p for p in project.order if project.name_of(p) == row.pipeline), None)


def _changed(project: Project, path: str, row: JobRow) -> dict[str, Any] | None:
    """Return what the publish of a job changed; None: it published nothing that is here."""
    if not row.commit or not is_dataset(project.root / path):
        return None
    repo = Repo(project.root / path)
    try:
        head = repo.head()
        found = next((p for p in publishes(repo, head) if p.job == row.id), None) if head else None
        if found is None or found.before is None:
            return None
        seen = compare_states(project, path, found.before, found.commit)
    except UserError:
        return None
    finally:
        repo.close()
    kinds = [d.kind for d in seen.datums]
    outputs = seen.outputs
    return {
        "old": seen.old,
        "new": seen.new,
        "inputs": [{"repo": i.repo, "old": i.old, "new": i.new} for i in seen.inputs],
        "code": [f"{status} {where}" for status, where in seen.code],
        "datums": {kind: kinds.count(kind) for kind in ("added", "removed", "changed")} | {"as before": seen.kept},
        "outputs": {
            "added": len(outputs.added),
            "removed": len(outputs.removed),
            "changed": len(outputs.changed),
            "renamed": len(outputs.moved),
        },
    }
