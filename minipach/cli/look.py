"""`status`: how things stand."""

from __future__ import annotations

from typing import Annotated

import typer

from minipach.cli.frame import Here, guarded, paint, say, say_not_installed, show, show_json

_COLOURS = {"current": "32", "behind": "33", "failed": "31", "blocked": "2", "new": "36"}


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(status)


@guarded
def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show each pipeline's datums: current, missing, failed last time, and upstream changes not taken in yet.

    Example: minipach status
    """
    from minipach.status import project_status
    from minipach.top import remarks

    here: Here = context.obj
    project = here.project()
    rows = project_status(project)
    say_not_installed(project)
    if as_json:
        show_json({"schema": 1, "pipelines": [row.as_json() for row in rows]})
        return
    for row in rows:
        counts = ", ".join(f"{n} {what}" for what, n in row.counts.items() if n and what != "datums")
        datums = f"{row.counts['datums']} datums" if row.counts["datums"] != 1 else "1 datum"
        show(f"{row.name}: {paint(row.state, _COLOURS[row.state])}, {datums}" + (f" ({counts})" if counts else ""))
        for line in row.details:
            show(f"  {line}")
    for remark in remarks(project):
        say(remark)
