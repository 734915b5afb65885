"""The page of failures: those that are alike as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minipach.console.pages.log import log_text
from minipach.console.pages.page import Asked, Page, what_comes
from minipach.model.attempt import Attempt
from minipach.model.failures import FailureKind, folded, without_name
from minipach.support.errors import UserError
from minipach.support.text import quoted
from minipach.views.datum_table import DatumTable
from minipach.views.good_run import last_good
from minipach.views.logs import failures_of_last_jobs

_GROUPS = 50  # failures that are shown, of one kind each
_NAMED = 20
_COMPARED = 10  # failures of which one datum is compared with its last good run
_TRIED = 5  # datums of which the first with a good run is compared
_DIFFERENCES = 5


def failures(asked: Asked) -> Page:
    """Return the page of failures: those that are alike as one, with the end of a log, and what differs."""
    project = asked.reading.project()
    groups: list[dict[str, Any]] = []
    by_pipeline: dict[str, list[Attempt]] = {}
    for pipeline, attempt in failures_of_last_jobs(project):
        by_pipeline.setdefault(pipeline, []).append(attempt)
    for pipeline, attempts in by_pipeline.items():
        first = {a.datum: a for a in attempts}
        alike = folded(
            (FailureKind(a.kind, a.result.exit, without_name(a.message, a.datum)), a.datum) for a in attempts
        )
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
                    "next": what_comes(row.action, row.why) if row else "",
                    **_last_good(asked, path, names if len(groups) < _COMPARED else []),
                    "log": log_text(project, attempt.log, 3000).text,
                    "retry": f"minipach retry {quoted(pipeline)}",
                }
            )
    data = {"groups": groups[:_GROUPS], "groups_in_all": len(groups)}
    return Page("Failures", "failures.html", data)


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
