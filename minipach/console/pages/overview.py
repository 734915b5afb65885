"""The first page: the graph, the pipelines, what runs, and what is wrong."""

from __future__ import annotations

from collections import Counter

from minipach.console.pages.page import Asked, Page
from minipach.project.pauses import paused
from minipach.records.job_history import job_json, last_jobs
from minipach.support.errors import UserError
from minipach.views.dag import Node
from minipach.views.dag_svg import as_svg

_JOBS = 200  # the last ones, among which the last one of each pipeline is looked for


def index(asked: Asked) -> Page:
    """Return the first page: the graph, the pipelines, what runs, and what is wrong."""
    reading = asked.reading
    project = reading.project()
    waits = paused(project)
    try:
        look = reading.look()
        now, note = look.as_json(), ""
    except UserError as error:  # the executor is away; what is in git can be shown all the same
        now, note = {"jobs": [], "workers": [], "waiting": [], "next": [], "executor": "", "note": ""}, str(error)
    running = {job["pipeline"]: job for job in now["jobs"]}
    summary = asked.summary()
    dag, details = summary.dag, {status.name: status.details for status in summary.status}
    last = {job.pipeline: job for job in reversed(last_jobs(project, None, _JOBS))}
    rows = []
    for node in dag.nodes:
        if node.kind == "pipeline":
            known = project.pipelines.get(node.path)
            more = {"description": known.description if known else "", "paused": node.path in waits}
            progress = running.get(node.name)
            rows.append(
                {"name": node.name, "path": node.path, "state": node.state, "counts": node.counts, **more}
                | {"summary": node.summary, "job": progress, "details": list(details.get(node.name, ()))}
                | {"last_job": job_json(last[node.name]) if node.name in last else None}
            )
    data = {
        "project": reading.name,
        "commit": project.repo.head() or "",
        "pipelines": rows,
        "states": dict(Counter(row["state"] for row in rows)),
        "dag": dag.as_json(),
        "now": now,
        "remarks": [*dag.remarks, *([note] if note else [])],
    }

    def link(node: Node) -> str:
        return asked.url("pipeline", pipeline=node.path) if node.kind == "pipeline" else ""

    return Page("Overview", "index.html", data, {"svg": as_svg(dag, link)})
