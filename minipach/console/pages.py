"""The pages of the console: what each one shows, as data. Templates make HTML of it; it is JSON and text as it stands.

A page is a function of the project and of the values in its address. It changes nothing.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from minipach.console import compose as form
from minipach.console import gantt, plot
from minipach.console.addresses import address
from minipach.console.previews import MOST as PREVIEW_MOST
from minipach.console.previews import preview as preview_of
from minipach.console.reading import Known, Reading, Summary
from minipach.console.strip import cells, legend
from minipach.experiments.metrics import rows as experiment_rows
from minipach.experiments.record import experiments as known_experiments
from minipach.experiments.record import find as find_experiment
from minipach.git.repo import Repo, is_dataset
from minipach.model.attempt import Attempt, JobRow, Try
from minipach.model.failures import Way, folded, without_name
from minipach.model.repo_layout import SPEC
from minipach.project.project import Project
from minipach.project.spec_file import read_text
from minipach.publish.cleanup import Cleanup
from minipach.records.branch_history import publishes
from minipach.records.job_history import JobStory, all_tries, iso, job_json, last_jobs, open_ledger, read_job, try_json
from minipach.storage.store import stores
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.text import quoted
from minipach.templates.edit import NEW, Preview, SpecText, preview
from minipach.triggers.overview import overview
from minipach.triggers.pause import paused
from minipach.views.dag import Node, read_dag
from minipach.views.dag_svg import as_svg
from minipach.views.datum_files import DatumFile, files_of_datum, read_file, versions_of
from minipach.views.datum_story import story
from minipach.views.datum_table import SORTS, STATES, DatumTable
from minipach.views.diff import compare
from minipach.views.disk_usage import by_kind, disk_usage, shown_place
from minipach.views.good_run import GoodRun, last_good
from minipach.views.logs import failures_of_last_jobs
from minipach.views.report import command_of
from minipach.views.usage import MOST, Usage, usage_of

T = TypeVar("T")
PER_PAGE = 100  # rows of a table on one page
_JOBS = 20
_USES = 200  # rows of what takes space
_KEEP_DAYS = 30.0  # as `minipach gc`
VERSIONS = 100  # of a file, in its history
_FILES = 200  # files of a datum that are listed
_PREVIEWS = 6  # of them with a preview
_TAIL = 20_000  # bytes of a log at its end that a page shows
_LOG = 2_000_000  # bytes of a log that the page of a log reads
_LINE = 4_000  # characters of a line of a log
_GROUPS = 50  # failures that are shown, of one kind each
_NAMED = 20
_MOST_BARS = 5000


@dataclass(frozen=True, slots=True)
class Page:
    """One page. data: as JSON, and as text · context: what only its template needs."""

    title: str
    template: str
    data: dict[str, Any]
    context: dict[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a page.

    values: in its address · waits: whether what takes long to read is waited for; else what was last known is shown ·
    older: the parts of the page for which this is so · can_act: whether actions work.
    """

    reading: Reading
    values: Mapping[str, str]
    prefix: str
    waits: bool = True
    older: list[str] = field(default_factory=list)
    can_act: bool = False

    def summary(self) -> Summary:
        """Return the graph and the states."""
        return self._known(self.reading.soon_summary(), "states") if not self.waits else self.reading.summary()

    def table(self, path: str) -> DatumTable:
        """Return the datums of a pipeline."""
        return self._known(self.reading.soon_table(path), path) if not self.waits else self.reading.table(path)

    def _known(self, known: Known[T], what: str) -> T:
        if not known.is_of_now:
            self.older.append(what)
        return known.value

    def url(self, page: str, /, **values: object) -> str:
        """Return the address of a page."""
        return address(self.prefix, page, **values)

    def value(self, name: str, default: str = "") -> str:
        """Return a value of the address."""
        return self.values.get(name, default)

    def number(self, name: str, default: int, most: int = 10**9) -> int:
        """Return a whole number from 1 in the address; the default, where it is none."""
        text = self.values.get(name, "")
        return min(max(int(text), 1), most) if text.isdecimal() and len(text) < 10 else default

    def pipeline(self, project: Project) -> str:
        """Return the path of the pipeline that is asked for. Raises UserError."""
        return project.path_of(self.value("pipeline"))


def index(asked: Asked) -> Page:
    """Return the first page: the graph, the pipelines, what runs, and what is wrong."""
    reading = asked.reading
    project = reading.project()
    dag = asked.summary().dag
    waits = paused(project)
    try:
        look = reading.look()
        now, note = look.as_json(), ""
    except UserError as error:  # the executor is away; what is in git can be shown all the same
        now, note = {"jobs": [], "workers": [], "waiting": [], "next": [], "executor": "", "note": ""}, str(error)
    running = {job["pipeline"]: job for job in now["jobs"]}
    rows = []
    for node in dag.nodes:
        if node.kind == "pipeline":
            known = project.pipelines.get(node.path)
            more = {"description": known.description if known else "", "paused": node.path in waits}
            progress = running.get(node.name)
            rows.append(
                {"name": node.name, "path": node.path, "state": node.state, "counts": node.counts, **more}
                | {"summary": node.summary, "job": progress}
            )
    data = {
        "project": reading.name,
        "commit": project.repo.head() or "",
        "pipelines": rows,
        "dag": dag.as_json(),
        "now": now,
        "remarks": [*dag.remarks, *([note] if note else [])],
    }

    def link(node: Node) -> str:
        return asked.url("pipeline", pipeline=node.path) if node.kind == "pipeline" else ""

    return Page("Overview", "index.html", data, {"svg": as_svg(dag, link)})


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
    node = next((n for n in asked.summary().dag.nodes if n.path == path), None)
    usage = _usage(project, name)
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
        "waits": table.waits,
        "hints": list(table.hints),
        "problems": problems_json(problems),
        "expected": table.cost,
        "reasons": [
            {"state": s, "reason": r, "datums": len(names)} for (s, r), names in list(table.reasons.items())[:50]
        ],
        "usage": usage.as_json() if usage else None,
        "jobs": [job_json(row) for row in last_jobs(project, name, _JOBS)],
        "selected": len(found),
        "page": at,
        "pages": pages,
        "rows": [row.as_json() for row in found[(at - 1) * PER_PAGE : at * PER_PAGE]],
    }
    filters = {"pipeline": path, "state": state, "find": text, "sort": sort, "order": "down" if reverse else ""}
    spec = _spec(project, path)
    context = {"usage": usage, "filters": filters, "spec": spec, "spec_name": project.spec_path(path), "states": STATES}
    marked = _marked(problems, project.spec_path(path))
    query = asked.url("", pipeline=path, state=state if state in STATES else "", find=text).partition("?")[2]
    strip = {"cells": cells(table.rows), "strip": query, "legend": json.dumps(legend())}
    return Page(name, "pipeline.html", data, {**context, **strip, "marked": marked, "sorts": SORTS})


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


def _usage(project: Project, name: str) -> Usage | None:
    ledger = open_ledger(project)
    try:
        runs = ledger.successes(name, MOST)
    finally:
        ledger.close()
    return usage_of(name, runs) if runs else None


# --- one datum ---


def datum(asked: Asked) -> Page:
    """Return the page of a datum: why it would run or not, its files, its tries, its log, and commands for it."""
    project = asked.reading.project()
    path = asked.pipeline(project)
    name = asked.value("name")
    facts = story(project, path, name)
    row = asked.table(path).row(name)
    files = files_of_datum(project, path, name)
    last, tries = _last(project, facts.pipeline, name)
    good = last_good(project, path, name)
    target = quoted(f"{facts.pipeline}:{name}")
    commands = {
        "run it in a scratch folder": f"minipach run-one {target}",
        "open a shell in its environment": f"minipach shell {target}",
        "explain the plan": f"minipach plan {quoted(facts.pipeline)} --why {quoted(name)}",
        "show the log": f"minipach logs {quoted(facts.pipeline)} {quoted(name)}",
    }
    if facts.record:
        commands["make the published output again"] = f"datalad rerun -d {quoted(path)} {facts.record.split()[0][:12]}"
    data = {
        **facts.as_json(),
        "state": row.state if row else facts.step.action,
        "failure": row.reason if row and row.reason != row.why else "",
        "attempt": _attempt_json(last, tries) if last else None,
        "inputs": [_file_json(f) for f in files if f.side == "input"][:_FILES],
        "outputs": [_file_json(f) for f in files if f.side == "output"][:_FILES],
        "files_in_all": len(files),
        "commands": commands,
        "last_good": _good_json(good) if good else None,
    }
    shown = [n for n, f in enumerate(files) if f.side == "output"] + [
        n for n, f in enumerate(files) if f.side == "input"
    ]
    previews = [(n, files[n], _preview(files[n])) for n in shown[:_PREVIEWS]]
    log = log_text(project, last.log if last else "", _TAIL) if last else None
    beside = None
    if good is not None and good.attempt is not None:
        beside = log_text(project, good.attempt.log, _TAIL // 4)
    numbers = {f.path: n for n, f in enumerate(files) if f.side == "output"}
    context: dict[str, Any] = {"previews": previews, "log": log, "path": path, "good": good, "good_log": beside}
    context |= {"numbers": numbers, "target": target}
    return Page(f"{facts.pipeline}: {name}", "datum.html", data, context)


def _good_json(good: GoodRun) -> dict[str, Any]:
    attempt = _attempt_json(good.attempt, ()) if good.attempt else None
    return {**good.as_json(), "attempt": attempt}


def file_history(asked: Asked) -> Page:
    """Return the page of an output's history: the commits of the pipeline branch that changed it, and its contents."""
    project = asked.reading.project()
    path = asked.pipeline(project)
    name, number = asked.value("name"), asked.value("file")
    file = chosen_file(project, path, name, number)
    if file.side != "output":
        raise UserError(Problem("console.no-file", number, "the file is an input", "look at its own repository"))
    versions = versions_of(file, VERSIONS)
    data = {
        "pipeline": project.name_of(path),
        "datum": name,
        "path": file.path,
        "file": int(number),
        "versions": [one.as_json() for one in versions],
    }
    return Page(f"History of {file.path}", "history.html", data, {"path": path})


def chosen_file(project: Project, path: str, name: str, number: str) -> DatumFile:
    """Return a file of a datum by its number among them: no path is asked for. Raises UserError."""
    files = files_of_datum(project, path, name)
    if not number.isdecimal() or len(number) > 9 or int(number) >= len(files):
        raise UserError(Problem("console.no-file", number, "the datum has no such file", "go back to its page"))
    return files[int(number)]


def _last(project: Project, pipeline: str, name: str) -> tuple[Attempt | None, tuple[Try, ...]]:
    ledger = open_ledger(project)
    try:
        last = ledger.last_attempts(pipeline).get(name)
        return last, all_tries(last, ledger.tries_of(last.pass_key, name)) if last else ()
    finally:
        ledger.close()


def _attempt_json(last: Attempt, tries: Sequence[Try]) -> dict[str, Any]:
    return {
        "kind": last.kind,
        "exit": last.result.exit,
        "message": last.message,
        "seconds": round(last.took.seconds, 3),
        "cpu": round(last.took.cpu, 3),
        "memory": last.took.memory,
        "bytes_in": last.result.bytes_in,
        "bytes_out": last.result.bytes_out,
        "host": last.host,
        "ended": iso(last.ended),
        "id": last.datum_id,
        "tries": [try_json(number, one) for number, one in enumerate(tries, 1)],
    }


def _file_json(file: DatumFile) -> dict[str, str]:
    return {"input": file.input, "path": file.path, "content": file.content}


def _preview(file: DatumFile) -> Any:
    content = read_file(file, PREVIEW_MOST)
    return {"shown": preview_of(file.path, content.data, whole=content.is_whole), "size": content.size}


@dataclass(frozen=True, slots=True)
class Log:
    """The output of a command: the lines that are shown, of how many; cut: bytes before them that are left out."""

    lines: tuple[str, ...]
    all: int
    cut: int
    here: bool = True

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)


def log_text(project: Project, file: str, most: int, find: str = "") -> Log:
    """Return the end of a log. A file that is not among the project's logs counts as one that is not there."""
    there = log_file(project, file)
    if there is None:
        return Log((), 0, 0, here=False)
    with there.open("rb") as opened:
        size = opened.seek(0, 2)
        opened.seek(max(0, size - most))
        data = opened.read(most)
    every = data.decode("utf-8", "replace").rstrip("\n").split("\n") if data else []
    shown = [line if len(line) <= _LINE else line[:_LINE] + " …" for line in every if find in line]
    return Log(tuple(shown), len(every), max(0, size - most))


def log_file(project: Project, file: str) -> Path | None:
    """Return a log of the project's own; None, if it is another file, a link, or gone."""
    there = Path(file)
    logs = project.local.logs.resolve()
    if not file or not there.is_file() or there.is_symlink() or logs not in there.resolve().parents:
        return None
    return there


def log(asked: Asked) -> Page:
    """Return the page of a log: of the last attempt of a datum, of one of its tries, or of that in a job."""
    project = asked.reading.project()
    path = asked.pipeline(project)
    pipeline, name = project.name_of(path), asked.value("name")
    last, tries = _last(project, pipeline, name)
    if asked.value("job"):
        read = read_job(project, asked.value("job"), pipeline)
        pairs = [(a, t) for (_, a), t in zip(read.attempts, read.tries, strict=True) if a.datum == name]
        last, tries = pairs[-1] if pairs else (None, ())
    if last is None:
        raise UserError(Problem("datum.no-attempt", pipeline, f'no attempt of a datum "{name}" on this machine'))
    number = asked.number("try", len(tries), max(len(tries), 1))
    file = tries[number - 1].log if tries else last.log
    found = log_text(project, file or last.log, _LOG, asked.value("find"))
    data = {
        "pipeline": pipeline,
        "datum": name,
        "try": number,
        "tries": len(tries),
        "find": asked.value("find"),
        "shown": len(found.lines),
        "lines_in_all": found.all,
        "bytes_left_out": found.cut,
        "here": found.here,
        "lines": list(found.lines),
    }
    return Page(f"Log of {pipeline}: {name}", "log.html", data, {"log": found, "path": path})


# --- failures ---


def failures(asked: Asked) -> Page:
    """Return the page of failures: those that are alike as one, with the end of a log, and what differs."""
    project = asked.reading.project()
    groups = []
    by_pipeline: dict[str, list[Attempt]] = {}
    for pipeline, attempt in failures_of_last_jobs(project):
        by_pipeline.setdefault(pipeline, []).append(attempt)
    for pipeline, attempts in by_pipeline.items():
        first = {a.datum: a for a in attempts}
        alike = folded((Way(a.kind, a.result.exit, without_name(a.message, a.datum)), a.datum) for a in attempts)
        path = project.path_of(pipeline)
        table = _table_or_none(asked, path)
        for names in sorted(alike.values(), key=len, reverse=True):
            attempt = first[names[0]]
            row = table.row(names[0]) if table else None
            groups.append(
                {
                    "pipeline": pipeline,
                    "path": path,
                    "kind": attempt.kind,
                    "exit": attempt.result.exit,
                    "message": attempt.message,
                    "count": len(names),
                    "datums": names[:_NAMED],
                    "memory": attempt.took.memory,
                    "seconds": round(attempt.took.seconds, 3),
                    "host": attempt.host,
                    "tries": attempt.tries,
                    "why": row.why if row else "",
                    "log": log_text(project, attempt.log, 3000).text,
                    "retry": f"minipach retry {quoted(pipeline)}",
                }
            )
    data = {"groups": groups[:_GROUPS], "groups_in_all": len(groups)}
    return Page("Failures", "failures.html", data)


def _table_or_none(asked: Asked, path: str) -> DatumTable | None:
    try:
        return asked.table(path)
    except UserError:
        return None


# --- jobs ---


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
    bars = sorted(_bars(read, by), key=lambda b: (b.start, b.row))[:_MOST_BARS]
    critical = gantt.critical_path(bars)
    every = list(dict.fromkeys(bar.row for bar in bars))
    pages = max(1, -(-len(every) // PER_PAGE))
    at = asked.number("page", 1, pages)
    rows = every[(at - 1) * PER_PAGE : at * PER_PAGE]
    path = next((p for p in project.order if project.name_of(p) == read.job.pipeline), None)

    def link(bar: gantt.Bar) -> str:
        return asked.url("log", pipeline=path, name=bar.datum, job=read.job.id) if path else asked.url("jobs")

    attempts = [
        {"datum": a.datum, "kind": a.kind, "message": a.message, "seconds": round(a.took.seconds, 3), "host": a.host}
        for _, a in read.attempts
    ]
    first = (at - 1) * PER_PAGE
    data = {
        **job_json(read.job),
        "passes": [job_json(p) for p in read.passes],
        "changed": _changed(project, path, read.job) if path else None,
        "lanes": by,
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
        {"chart": gantt.as_svg(bars, rows, link, read.job.ended), "path": path},
    )


def _bars(read: JobStory, by: str) -> list[gantt.Bar]:
    """Return all tries of a job. by: `worker` or `datum`, which is the row of a bar."""
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
            bar = gantt.Bar(row, attempt.datum, one.kind, one.started, one.ended, what)
            if number == len(tries) and id(attempt) in staged:
                queued = tries[number - 2].ended if number > 1 else read.passes[key].started
                bar = replace(bar, queued=queued, staged=staged[id(attempt)], kept=attempt.ended or None)
            found.append(bar)
    return found


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
        seen = compare(project, path, found.before, found.commit)
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


def workers(asked: Asked) -> Page:
    """Return the page of workers, queues and triggers."""
    project = asked.reading.project()
    data: dict[str, Any]
    try:
        data = {"now": asked.reading.look().as_json(), "problem": ""}
    except UserError as error:
        data = {"now": None, "problem": str(error)}
    triggers = overview(project).as_json()
    triggers["hooks"] = [{"repo": hook["repo"], "state": hook["state"]} for hook in triggers["hooks"]]
    return Page("Workers and triggers", "workers.html", {**data, "triggers": triggers})


def experiments(asked: Asked) -> Page:
    """Return the page of experiments: the points of one as a table, and a metric over a parameter as a plot."""
    project = asked.reading.project()
    every = known_experiments(project)
    word = asked.value("name")
    chosen = find_experiment(project, word) if word else every[-1] if every else None
    data: dict[str, Any] = {
        "experiments": [
            {"name": e.name, "pipeline": e.pipeline, "created": e.created, "points": len(e.trials)} for e in every
        ],
        "name": chosen.name if chosen else "",
        "points": [row.as_json() for row in experiment_rows(project, chosen)] if chosen else [],
    }
    params = list(dict.fromkeys(name for row in data["points"] for name in row["params"]))
    metrics = list(dict.fromkeys(name for row in data["points"] for name in row["metrics"]))
    numbers = [m for m in metrics if any(isinstance(row["metrics"].get(m), float) for row in data["points"])]
    x, y = asked.value("x"), asked.value("y")
    x = x if x in params else params[0] if params else ""
    y = y if y in numbers else numbers[0] if numbers else ""
    drawn = [
        plot.Point(row["params"][x], row["metrics"][y], f"point {row['point']}: {x}={row['params'][x]}, {y}={value}")
        for row in data["points"]
        if x in row["params"] and isinstance(value := row["metrics"].get(y), float)
    ]
    commands = {}
    if chosen:
        commands = {
            "show this table": f"minipach exp show {quoted(chosen.name)}",
            "compare two points": f"minipach exp diff {quoted(f'{chosen.name}:1')} {quoted(f'{chosen.name}:2')}",
            "write the values of a point into params.yml": f"minipach exp apply {quoted(f'{chosen.name}:1')}",
        }
    data |= {"x": x, "y": y, "commands": commands}
    context = {"params": params, "metrics": metrics, "numbers": numbers, "plot": plot.as_svg(drawn, x, y)}
    return Page("Experiments", "experiments.html", data, context)


def storage(asked: Asked) -> Page:
    """Return the page of storage: the stores, what takes space here, and on request what gc would free."""
    project = asked.reading.project()
    uses = disk_usage(project)
    found: list[dict[str, Any]] | None = None
    problems: list[Problem] = []
    if asked.value("gc"):
        cleanup = Cleanup(project, keep_days=_KEEP_DAYS, now=time.time())
        found = [waste.as_json() for waste in cleanup.found()]
        problems = cleanup.problems
    disk = shutil.disk_usage(project.root)
    data = {
        "stores": [{"name": s.name, "kind": s.kind, "place": s.place} for s in stores(project).values()],
        "disk": {"free": disk.free, "total": disk.total},
        "kinds": [{"kind": use.kind, "bytes": use.bytes} for use in by_kind(uses)],
        "uses": [{"kind": u.kind, "place": shown_place(project, u), "bytes": u.bytes} for u in uses[:_USES]],
        "uses_in_all": len(uses),
        "gc": found,
        "gc_bytes": sum(waste["bytes"] for waste in found) if found else 0,
        "keep_days": _KEEP_DAYS,
        "problems": problems_json(problems),
        "commands": {"see it in a terminal": "minipach du", "free what nobody needs": "minipach gc --yes"},
    }
    return Page("Storage", "storage.html", data)


def compose(asked: Asked) -> Page:
    """Return the page of a spec that is edited or made: a form, the YAML, and what its datums would do."""
    project = asked.reading.project()
    if not asked.can_act:
        raise UserError(Problem("console.read-only", "compose", "the console only shows", "minipach ui --actions"))
    sent, failed = "text" in asked.values, list[Problem]()
    spec = None
    try:
        if sent:
            spec = form.given_spec(project, asked.values)
        elif any(asked.value(name) for name in ("pipeline", "new", "template", "repo", "path")):
            spec = form.opened(project, asked.values)
    except UserError as error:
        failed += error.problems
        if sent:  # what was written is kept, so that it can be corrected
            path, base = asked.value("path"), asked.value("base")
            source = project.spec_path(path) if path in project.order else f"{path}/{SPEC}"
            spec = SpecText(path, source, asked.value("text").replace("\r\n", "\n"), base or NEW)
    return composed(asked, project, spec, failed)


def composed(asked: Asked, project: Project, spec: SpecText | None, failed: Sequence[Problem]) -> Page:
    """Return the page of a spec as it stands. failed: what kept a form from being taken as it was sent."""
    data: dict[str, Any] = {"base": "", "problems": [], "effect": None, "failed": problems_json(failed)}
    order = [path for path in project.order if path in project.pipelines]
    context: dict[str, Any] = {"pipelines": order, "templates": form.templates(project), "failed": data["failed"]}
    if spec is None:
        return Page("Compose", "compose.html", data, context)
    seen = Preview(tuple(failed)) if failed else preview(project, spec)
    values = form.form_of(spec.text)
    name = project.name_of(spec.path)
    message = asked.value("message") or (f"add the pipeline {name}" if spec.base == NEW else f"change {name}")
    holder = spec.path if is_dataset(project.root / spec.path) else project.holder_of(spec.path)
    inside = spec.source[len(holder) + 1 :] if holder else spec.source
    data |= {
        "base": spec.base,
        "path": spec.path,
        "name": name,
        "source": spec.source,
        "text": spec.text,
        "before": spec.text,
        "problems": [] if failed else problems_json(seen.problems),
        "effect": form.effects(seen.plan.steps) if seen.plan else None,
        "waits": seen.plan.waits if seen.plan else "",
        "cost": seen.cost,
        "message": message,
        "branch": asked.value("branch"),
        "template": asked.value("template") if spec.base == NEW else "",
        "command": f"git -C {quoted(holder or '.')} commit -m {quoted(message)} -- {quoted(inside)}",
    }

    def link(node: Node) -> str:
        return asked.url("compose", repo=node.path, **({"new": 1} if spec.base == NEW else {"pipeline": spec.path}))

    drawn = seen.project or project
    try:
        svg = as_svg(read_dag(drawn, asked.summary().status), link)
    except UserError:
        svg = ""
    repos = sorted({*project.repos, *project.order} - {spec.path})
    context |= {
        "form": values,
        "flat": form.is_flat(spec.text),
        "rows": form.shown_rows(values),
        "extra": form.extras(values),
        "groups": form.groups(),
        "kinds": form.kinds(),
        "repos": repos,
        "svg": svg,
    }
    return Page(f"Compose {name}", "compose.html", data, context)


PAGES: Mapping[str, Callable[[Asked], Page]] = {
    "": index,
    "pipeline": pipeline,
    "datum": datum,
    "history": file_history,
    "log": log,
    "failures": failures,
    "jobs": jobs,
    "job": job,
    "experiments": experiments,
    "storage": storage,
    "compose": compose,
    "workers": workers,
}


def as_text(value: Any, indent: str = "") -> str:
    """Return data as indented text for people and programs that read no HTML."""
    if isinstance(value, dict):
        return "".join(_entry(str(name), below, indent) for name, below in value.items())
    if isinstance(value, list):
        return "".join(_entry("-", below, indent) for below in value)
    return f"{indent}{value}\n"


def _entry(name: str, value: Any, indent: str) -> str:
    if isinstance(value, dict | list):
        return f"{indent}{name}\n{as_text(value, indent + '  ')}" if value else ""
    shown = "" if value is None else str(value)
    return f"{indent}{name}: {shown}\n" if name != "-" else f"{indent}- {shown}\n"
