"""`status`: how things stand."""

from __future__ import annotations

import typer

from minipach.cli.common import Here, guarded, paint, say, say_layout, show, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import LOOK, add
from minipach.support.errors import UserError, each_once
from minipach.support.text import many

_COLOURS = {"current": "32", "running": "36", "behind": "33", "failed": "31", "blocked": "2", "new": "36"}

_NO_DATUMS = ("datums", "upstream")
_WORDS = {"stored": "stored and waiting", "left": "left alone", "remove": "to remove"}


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, LOOK, status)


@guarded
def status(
    context: typer.Context,
    as_json: JSON = False,
) -> None:
    """Show the state of each pipeline.

    Counts the current, missing and failed datums, and the upstream changes that are not in them yet. Exit code 2: a
    pipeline has a problem. It is blocked, and the others are shown.

    Example: minipach status
    """
    from minipach.planning.status import project_status
    from minipach.project import branch_check, uncommitted
    from minipach.scheduling.stalled import remarks
    from minipach.support.background import Aside

    here: Here = context.obj
    project = here.project()
    used = uncommitted.used_by(project, project.order)
    looking = Aside(lambda: uncommitted.uncommitted(project, used))  # git looks while the rows are made
    rows = project_status(project)
    problems = each_once(p for row in rows for p in row.problems)
    changes = looking.result()
    say_layout(project)
    for line in (*uncommitted.remarks(project, changes), *branch_check.told(project, project.order)):
        say(line)
    if as_json:
        data = {"pipelines": [row.as_json() for row in rows], "problems": list(problems)}
        show_json({"schema": 1, **data, "uncommitted": uncommitted.as_json(changes)})
    for row in () if as_json else rows:
        # upstream counts inputs, each of which has a line below; beside datums it would read as one of them
        counts = ", ".join(f"{n} {_WORDS.get(w, w)}" for w, n in row.counts.items() if n and w not in _NO_DATUMS)
        datums = many(row.counts["datums"], "datum")
        if row.problems:
            datums = f"{many(len(row.problems), 'problem')} (told on stderr)"
        show(f"{row.name}: {paint(row.state, _COLOURS[row.state])}, {datums}" + (f" ({counts})" if counts else ""))
        for line in row.details:
            show(f"  {line}")
    for remark in remarks(project):
        say(remark)
    if problems:
        raise UserError(problems)
