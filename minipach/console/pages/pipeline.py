"""The page of a pipeline: its datums as a table and a strip, its jobs, its spec."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from minipach.console.pages.log import log_tail
from minipach.console.pages.page import PER_PAGE, Asked, Page
from minipach.console.reading import Reading
from minipach.console.strip import cells, legend
from minipach.model.pipeline import Pipeline
from minipach.project.pauses import paused
from minipach.project.project import Project
from minipach.project.spec_file import read_text
from minipach.records.job_history import job_json, last_jobs, open_ledger
from minipach.records.service_state import log_of, read_state
from minipach.services.actions import states
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.text import quoted
from minipach.views.datum_table import SORTS, STATES
from minipach.views.project_report import command_of
from minipach.views.usage import MOST, Usage, usage_of

_JOBS = 20
_SERVICE_LOG = 3000  # bytes of a service's log, at its end


def pipeline(asked: Asked) -> Page:
    """Return the page of a pipeline: its spec, its datums as a table, jobs and resources."""
    project = asked.reading.project()
    path = asked.pipeline(project)
    name = project.name_of(path)
    table = asked.table(path)
    state, text, sort = asked.value("state"), asked.value("find"), asked.value("sort", "name")
    sort = sort if sort in SORTS else "name"
    reverse = asked.value("order") == "down"
    found = table.select(state=state if state in STATES else "", text=text, sort=sort, reverse=reverse)
    pages = max(1, -(-len(found) // PER_PAGE))
    at = asked.number("page", 1, pages)
    known = project.pipelines.get(path)
    summary = asked.summary()
    node = next((n for n in summary.dag.nodes if n.path == path), None)
    blocked = next((s.details for s in summary.status if s.name == name and s.state == "blocked"), ())
    usage = _usage(asked.reading, project, name)
    problems = [
        *project.problems.get(path, ()),
        *(p for p in table.problems if p not in project.problems.get(path, ())),
    ]
    data = {
        "name": name,
        "path": path,
        "state": node.state if node else "unknown",
        "paused": path in paused(project),
        "description": known.description if known else "",
        "command": command_of(known) if known else "",
        "image": (known.transform.image or "the host environment") if known else "",
        "inputs": [{"name": p.name, "repo": p.repo, "branch": p.branch, "glob": p.glob} for p in known.pfs_inputs()]
        if known
        else [],
        "counts": table.counts,
        "waits": table.waits or "; ".join(blocked),
        "hints": list(table.hints),
        "problems": problems_json(problems),
        "expected": table.cost,
        "reasons": [
            {"state": s, "reason": r, "datums": len(names)} for (s, r), names in list(table.reasons.items())[:50]
        ],
        "usage": usage.as_json() if usage else None,
        "jobs": [job_json(row) for row in last_jobs(project, name, _JOBS)],
        "service": _service(project, known) if known and known.service else None,
        "selected": len(found),
        "page": at,
        "pages": pages,
        "rows": [row.as_json() for row in found[(at - 1) * PER_PAGE : at * PER_PAGE]],
    }
    filters = {"pipeline": path, "state": state, "find": text, "sort": sort, "order": "down" if reverse else ""}
    spec = _spec(project, path)
    context: dict[str, Any] = {"usage": usage, "filters": filters, "target": quoted(name)}
    context |= {"spec": spec, "spec_name": project.spec_path(path), "states": STATES}
    marked = _marked(problems, project.spec_path(path))
    query = asked.url("", pipeline=path, state=state if state in STATES else "", find=text).partition("?")[2]
    strip = {"cells": cells(table.rows), "strip": query, "legend": json.dumps(legend())}
    return Page(name, "pipeline.html", data, {**context, **strip, "marked": marked, "sorts": SORTS})


def _service(project: Project, pipeline: Pipeline) -> dict[str, Any]:
    """Return a service as `minipach services --json` shows it, with its ports, its health check and its last lines."""
    problem = ""
    try:
        (found,) = states(project, (pipeline.path,))
    except UserError as error:  # the cluster is away
        found, problem = read_state(project.local, pipeline.path), str(error)
    wanted = pipeline.service
    assert wanted is not None
    last = log_tail(log_of(project.local, pipeline.path), _SERVICE_LOG)
    name = quoted(pipeline.name)
    commands = {
        "start it": f"minipach services start {name}",
        "stop it": f"minipach services stop {name}",
        "follow its log": f"minipach services logs {name} --follow",
    }
    more = {"internal_port": wanted.port, "external_port": wanted.external, "health": wanted.health, "problem": problem}
    return {**found.as_json(), **more, "log": last.text, "commands": commands}


def _spec(project: Project, path: str) -> str:
    place = next((p for p in project.places if p.path == path), None)
    if place is None:
        return ""
    source = f"{path}/{place.spec}"
    try:
        found: Any = read_text(project.root / path, source, project.cache, is_dataset=place.is_dataset)
    except UserError:
        return ""
    return found if isinstance(found, str) else str(getattr(found, "text", found))


def _marked(problems: Sequence[Problem], source: str) -> dict[int, list[str]]:
    """Return the problems of a spec by their lines."""
    found: dict[int, list[str]] = {}
    for problem in problems:
        place = problem.location.removeprefix(f"{source}:").split(":")
        if problem.location.startswith(f"{source}:") and place[0].isdecimal():
            found.setdefault(int(place[0]), []).append(str(problem))
    return found


def _usage(reading: Reading, project: Project, name: str) -> Usage | None:
    """Return the resources of the last runs."""
    ledger = open_ledger(project)

    def read() -> Usage | None:
        runs = ledger.successes(name, MOST)
        return usage_of(name, runs) if runs else None

    try:
        return reading.made("usage", (name, ledger.last_key()), read)
    finally:
        ledger.close()
