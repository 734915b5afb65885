"""The pages of jobs, and of one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minipach.console import gantt
from minipach.console.pages.page import PER_PAGE, Asked, Page
from minipach.git.repo import Repo, is_dataset
from minipach.model.attempt import JobRow
from minipach.project.project import Project
from minipach.records.branch_history import publishes
from minipach.records.job_history import JobStory, job_json, last_jobs, read_job
from minipach.support.errors import UserError
from minipach.views.diff import compare_states

_MOST_BARS = 5000


def jobs(asked: Asked) -> Page:
    """Return the page of the last jobs."""
    project = asked.reading.project()
    path = asked.pipeline(project) if asked.value("pipeline") else None
    rows = last_jobs(project, project.name_of(path) if path else None, 200)
    return Page("Jobs", "jobs.html", {"jobs": [job_json(row) for row in rows]})


def job(asked: Asked) -> Page:
    """Return the page of a job: what it changed, and its tries over time."""
    project = asked.reading.project()
    read = read_job(project, asked.value("id"))
    by = "worker" if asked.value("lanes") == "worker" else "datum"
    found = _bars(read, by)
    bars = found[:_MOST_BARS]
    critical = gantt.critical_path(found)
    every = gantt.rows_of(bars, by_name=by == "worker")
    pages = max(1, -(-len(every) // PER_PAGE))
    at = asked.number("page", 1, pages)
    rows = every[(at - 1) * PER_PAGE : at * PER_PAGE]
    path = _path_of(project, read)
    is_cut = len(found) > len(bars) or len(every) > len(rows)

    def link(bar: gantt.Bar) -> str:
        if path is None:
            return asked.url("jobs")
        return asked.url("log", pipeline=path, name=bar.datum, job=read.job.id, **{"try": bar.number})

    attempts = [
        {"datum": a.datum, "kind": a.kind, "message": a.message, "seconds": round(a.took.seconds, 3), "host": a.host}
        for _, a in read.attempts
    ]
    first = (at - 1) * PER_PAGE
    data = {
        **job_json(read.job),
        "passes": [job_json(p) for p in read.passes],
        "changed": _changed(project, path, read.job) if path else None,
        "cpu": round(sum(one.cpu for tries in read.tries for one in tries), 3),
        "memory": max((one.memory or 0 for tries in read.tries for one in tries), default=0) or None,
        "lanes": by,
        "tries_drawn": len(bars),
        "tries_in_all": len(found),
        "critical_path": {"tries": len(critical), "seconds": round(sum(b.end - b.start for b in critical), 3)},
        "page": at,
        "pages": max(pages, -(-len(attempts) // PER_PAGE)),
        "attempts_in_all": len(attempts),
        "attempts": attempts[first : first + PER_PAGE],
    }
    return Page(
        f"Job {read.job.id[:12]}",
        "job.html",
        data,
        {
            "chart": gantt.as_svg(bars, rows, link, read.job.ended, critical),
            "path": path,
            "bars": asked.url("", id=read.job.id, lanes=by).partition("?")[2] if is_cut else "",
        },
    )


def job_bars(asked: Asked) -> dict[str, Any]:
    """Return all tries of a job as columns, for the canvas. link: of a log, to which the name and the try are added."""
    project = asked.reading.project()
    read = read_job(project, asked.value("id"))
    by = "worker" if asked.value("lanes") == "worker" else "datum"
    found = _bars(read, by)
    rows = gantt.rows_of(found, by_name=by == "worker")
    path = _path_of(project, read)
    link = asked.url("log", pipeline=path, job=read.job.id) if path else None
    return {"schema": 1, "link": link, **gantt.as_columns(found, rows, read.job.ended, gantt.critical_path(found))}


def _path_of(project: Project, read: JobStory) -> str | None:
    return next((p for p in project.order if project.name_of(p) == read.job.pipeline), None)


def _bars(read: JobStory, by: str) -> list[gantt.Bar]:
    """Return all tries of a job, by their start. by: `worker` or `datum`, which is the row of a bar."""
    ran = [attempt for _, attempt in read.attempts if attempt.took.began]
    spans = [((a.host, a.started), a.started or a.took.began, a.took.began, a.took.ended) for a in ran]
    staged = {id(a): at for a, at in zip(ran, gantt.staged(spans), strict=True)}
    found = []
    for (key, attempt), tries in zip(read.attempts, read.tries, strict=True):
        for number, one in enumerate(tries, 1):
            if one.started is None or one.ended is None:
                continue
            row = attempt.datum if by == "datum" else one.host or "unknown"
            what = f"try {number}, {max(0.0, one.ended - one.started):.1f} s"
            bar = gantt.Bar(row, attempt.datum, one.kind, one.started, one.ended, what, number=number)
            if number == 1 and id(attempt) in staged:
                begin = min(staged[id(attempt)], one.started)
                bar = replace(bar, queued=read.passes[key].started, staged=begin)
            if number == len(tries):
                bar = replace(bar, kept=attempt.ended or None)
            found.append(bar)
    return sorted(gantt.lanes(found) if by == "worker" else found, key=lambda b: (b.start, b.row))


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
