"""`status` and `logs`: how things stand, and what a datum printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minipach.cli.frame import Here, guarded, paint, show, show_json
from minipach.errors import UserError

_COLOURS = {"current": "32", "behind": "33", "failed": "31", "blocked": "2", "new": "36"}


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(status)
    app.command()(logs)


@guarded
def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show each pipeline's datums: current, missing, failed last time, and upstream changes not taken in yet.

    Example: minipach status
    """
    from minipach.status import project_status

    here: Here = context.obj
    rows = project_status(here.project())
    if as_json:
        show_json({"schema": 1, "pipelines": [row.as_json() for row in rows]})
        return
    for row in rows:
        counts = ", ".join(f"{n} {what}" for what, n in row.counts.items() if n and what != "datums")
        datums = f"{row.counts['datums']} datums" if row.counts["datums"] != 1 else "1 datum"
        show(f"{row.name}: {paint(row.state, _COLOURS[row.state])}, {datums}" + (f" ({counts})" if counts else ""))
        for line in row.details:
            show(f"  {line}")


@guarded
def logs(
    context: typer.Context,
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Its name.")],
    datum: Annotated[
        str | None, typer.Argument(metavar="DATUM", help="All that failed last time, if left out.")
    ] = None,
) -> None:
    """Show what the command of a datum printed, at its last attempt.

    Example: minipach logs edges chelsea.png
    """
    from minipach.ledger import Ledger
    from minipach.project import suggest

    here: Here = context.obj
    project = here.project()
    name = project.pipelines[project.path_of(pipeline)].name
    ledger = Ledger(project.state_dir / "ledger.sqlite")
    attempts = ledger.last_attempts(name)
    ledger.close()
    if datum is not None:
        if datum not in attempts:
            raise UserError(f'{name}: no attempt of a datum "{datum}" on this machine' + suggest(datum, attempts))
        chosen = [attempts[datum]]
    else:
        chosen = [a for a in attempts.values() if a.kind != "ok"]
        if not chosen:
            last = max(attempts.values(), key=lambda a: a.ended, default=None)
            chosen = [last] if last else []
    if not chosen:
        raise UserError(f"{name}: nothing has run on this machine yet; minipach schedule {name}")
    for attempt in chosen:
        if len(chosen) > 1 or datum is None:
            show(f"== {attempt.datum}: {attempt.kind}{', ' + attempt.message if attempt.message else ''}")
        path = Path(attempt.log)
        if not path.is_file():
            raise UserError(f"{path}: this log is gone")
        show(path.read_bytes().decode("utf-8", "replace").rstrip("\n"))
