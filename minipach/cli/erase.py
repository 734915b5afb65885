"""`erase`: data that must go, with all that was computed from it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from minipach.cli.common import USER, Here, guarded, say, show, show_json
from minipach.cli.options import JSON, LOCK_WAIT
from minipach.cli.sections import PROJECT, add
from minipach.cli.tables import show_table

DATA = Annotated[str, typer.Argument(metavar="NAME", help="Select data by REPO:PATH. PATH may be a folder or a glob.")]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, PROJECT, erase)


@guarded
def erase(
    context: typer.Context,
    data: DATA,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would be erased.")] = False,
    as_json: JSON = False,
    wait: LOCK_WAIT = True,
) -> None:
    """Erase the contents of data, and of all results computed from it.

    Looks at all commits of all repos. Also drops last copies. Rewrites no history: the report says what remains, and
    how to remove that. Exit code 2: a content could not be erased.

    Example: minipach erase 'raw:sub-13' --dry-run
    """
    from minipach.project.lock import project_lock
    from minipach.publish.erasure import erase as drop
    from minipach.publish.erasure import find, write_report

    here: Here = context.obj
    project = here.project()
    with project_lock(project.local.lock, wait=wait, notify=say):
        found = find(project, data)
        if not dry_run:
            drop(project, found, data, say)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        report = write_report(project.local.erasures / f"{stamp}-{time.time_ns() % 10**9}", data, found, dry=dry_run)
    left = [f"{one.repo}: {line}" for one in found for line in one.left]
    for line in left:
        say(line)
    if as_json:
        rows = [one.as_json() for one in found]
        show_json({"schema": 1, "dry_run": dry_run, "report": str(report), "repos": rows})
    else:
        cells = [[o.repo, *(str(len(x)) for x in (o.paths, o.keys, o.results, o.shared, o.in_git))] for o in found]
        titles = ["REPO", "FILES", "CONTENTS", "RESULTS", "SHARED", "IN-GIT"]
        show_table(titles, cells, right=" ".join(titles[1:]))
        show(f"report: {report}")
    if left:
        raise typer.Exit(USER)
