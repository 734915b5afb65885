"""The page of failures: those that are alike as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minipach.console.pages.log import log_text
from minipach.console.pages.page import Asked, Page, what_comes
from minipach.model.failures import FailureKind, folded, without_name
from minipach.model.job_entries import Attempt
from minipach.project.project import Project
from minipach.records.job_history import last_jobs
from minipach.support.errors import UserError
from minipach.support.text import quoted
from minipach.views.datum_table import DatumTable
from minipach.views.good_run import last_good
from minipach.views.logs import failures_of_last_jobs, part_of_try

_GROUPS = 50  # failures that are shown, of one kind each
_NAMED = 20
_COMPARED = 10  # failures of which one datum is compared with its last good run
_TRIED = 5  # datums of which the first with a good run is compared
_DIFFERENCES = 5
_JOBS = 200  # the last ones: a state that becomes `interrupted` changes no file


@dataclass(frozen=True, slots=True)
class _Alike:
    """Datums of a pipeline that failed in one way. first: of the first one · names: of some · count: of all."""

    pipeline: str
    first: Attempt
    names: tuple[str, ...]
    count: int


def failures(asked: Asked) -> Page:
    """Return the page of failures: those that are alike as one, with the end of a log, and what differs."""
    reading = asked.reading
    project = reading.project()
    jobs = tuple((row.key, row.state) for row in last_jobs(project, None, _JOBS))
    found, in_all = reading.made("failures", (reading.state(), jobs), lambda: _found(project))
    groups: list[dict[str, Any]] = []
    tables: dict[str, DatumTable | None] = {}
    for one in found:
        attempt, path = one.first, project.path_of(one.pipeline)
        if path not in tables:
            tables[path] = _table_or_none(asked, path)
        table = tables[path]
        row = table.row(one.names[0]) if table else None
        groups.append(
            {
                "pipeline": one.pipeline,
                "path": path,
                "kind": attempt.kind,
                "exit": attempt.result.exit,
                "message": attempt.message,
                "count": one.count,
                "datums": list(one.names),
                "memory": attempt.took.memory,
                "seconds": round(attempt.took.seconds, 3),
                "host": attempt.host,
                "tries": attempt.tries,
                "why": row.why if row else "",
                "next": what_comes(row.action, row.why) if row else "",
                **_last_good(asked, path, one.names if len(groups) < _COMPARED else ()),
                "log": _end_of_log(project, attempt),
                "retry": f"minipach retry {quoted(one.pipeline)}",
            }
        )
    return Page("Failures", "failures.html", {"groups": groups, "groups_in_all": in_all})


def _found(project: Project) -> tuple[tuple[_Alike, ...], int]:
    """Return the failures of the last jobs, the most frequent of each pipeline first: those shown, and how many."""
    found: list[_Alike] = []
    by_pipeline: dict[str, list[Attempt]] = {}
    in_all = 0
    for pipeline, attempt in failures_of_last_jobs(project):
        by_pipeline.setdefault(pipeline, []).append(attempt)
    for pipeline, attempts in by_pipeline.items():
        first = {a.datum: a for a in attempts}
        alike = folded(
            (FailureKind(a.kind, a.result.exit, without_name(a.message, a.datum)), a.datum) for a in attempts
        )
        in_all += len(alike)
        for names in sorted(alike.values(), key=len, reverse=True)[: _GROUPS - len(found)]:
            found.append(_Alike(pipeline, first[names[0]], tuple(names[:_NAMED]), len(names)))
    return tuple(found), in_all


def _end_of_log(project: Project, attempt: Attempt) -> str:
    """Return the end of what the last try printed; of all tries, if it printed nothing."""

    def part(data: bytes) -> bytes:
        last = part_of_try(data, [attempt.last_try] * attempt.tries, attempt.tries) if attempt.tries else data
        return last if last.strip() else data

    return log_text(project, attempt.log, 3000, part=part).text


def _last_good(asked: Asked, path: str, names: Sequence[str]) -> dict[str, Any]:
    """Return what is other than in the last good run of a datum: of the first one that has a good run."""
    try:
        with asked.reading.assessed(path) as a:
            runs = ((name, last_good(a, name)) for name in names[:_TRIED])
            name, good = next(((name, good) for name, good in runs if good), ("", None))
    except UserError:
        name, good = "", None
    rows = [row for row in good.rows if row.differs and row.part != "metric"] if good else []
    differs = [{"part": r.part, "name": r.name, "before": r.before, "now": r.now} for r in rows[:_DIFFERENCES]]
    return {"compared": name, "differs": differs}


def _table_or_none(asked: Asked, path: str) -> DatumTable | None:
    try:
        return asked.table(path)
    except UserError:
        return None
