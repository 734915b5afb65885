"""`status`: how things stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from minipach.cli.common import Here, clocks_of, guarded, leave_with, say, say_layout, say_paused, show, show_json
from minipach.cli.options import JSON, PIPELINES
from minipach.cli.sections import LOOK, add
from minipach.cli.tables import show_table
from minipach.support.errors import each_once, problems_json
from minipach.support.text import many

if TYPE_CHECKING:
    from minipach.planning.status import PipelineStatus

_ALWAYS = ("datums", "current", "stored", "missing", "failed")
_IF_ANY = {"left": "SKIPPED", "recovered": "RECOVERED", "remove": "REMOVE"}
# upstream counts inputs, each of which has a line below the table: beside datums it would read as one of them


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, LOOK, status)


@guarded
def status(
    context: typer.Context,
    pipelines: PIPELINES = None,
    as_json: JSON = False,
) -> None:
    """Show the state of each pipeline.

    Counts the current, missing and failed datums, and the upstream changes that are not in them yet. Exit code 2: a
    pipeline has a problem. It is blocked, and the others are shown.

    Example: minipach status, or minipach status edges
    """
    from minipach.planning.status import project_status
    from minipach.project import branch_check, uncommitted
    from minipach.publish.left_behind import left_behind
    from minipach.scheduling.stalled import remarks
    from minipach.support.background import BackgroundCall
    from minipach.templates.rendered_spec import stale

    here: Here = context.obj
    project = here.project()
    chosen = {project.path_of(name) for name in pipelines or project.order}
    order = [path for path in project.order if path in chosen]
    used = uncommitted.used_by(project, order)
    looking = BackgroundCall(lambda: uncommitted.uncommitted(project, used))  # git looks while the rows are made
    rows = project_status(project, order)
    problems = each_once(p for row in rows for p in row.problems)
    changes = looking.result()
    say_layout(project)
    for line in (*uncommitted.remarks(project, changes), *branch_check.branch_problems(project, order)):
        say(str(line))
    for note in stale(project, order):
        say(f"note: {note}")
    waits = say_paused(project, order)
    clocks = clocks_of(project, order)
    for line in (line for clock in clocks for line in clock.remarks()):
        say(line)
    if as_json:
        data = {"pipelines": [row.as_json() for row in rows], "problems": problems_json(problems)}
        more: dict[str, object] = {"clocks": [clock.as_json() for clock in clocks]} if clocks else {}
        more |= {"paused": waits} if waits else {}
        show_json({"schema": 1, **data, **more, "uncommitted": uncommitted.as_json(changes)})
    else:
        _show_rows(rows)
    for remark in remarks(project):
        say(remark)
    for left in left_behind(project):
        say(str(left))
    leave_with(problems)


def _show_rows(rows: Sequence[PipelineStatus]) -> None:
    more = {count: title for count, title in _IF_ANY.items() if any(row.counts.get(count) for row in rows)}
    titles = [*map(str.upper, _ALWAYS), *more.values()]
    cells = [[row.name, row.state, *(str(row.counts.get(c, 0)) for c in (*_ALWAYS, *more))] for row in rows]
    show_table(["PIPELINE", "STATE", *titles], cells, right=" ".join(titles))
    for row in rows:
        if row.problems:
            show(f"{row.name}: {many(len(row.problems), 'problem')}, printed on stderr")
        for line in row.details:
            show(f"{row.name}: {line}")
    if not rows:
        show("no pipelines yet; a folder with a spec.yml is one")
