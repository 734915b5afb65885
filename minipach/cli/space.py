"""`du` and `gc`: the space that a project takes on this machine, and what of it can go."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import USER, Here, guarded, say, show, show_json
from minipach.cli.options import JSON, LOCK_WAIT
from minipach.cli.sections import LOOK, PROJECT, add
from minipach.cli.tables import show_table
from minipach.support.errors import problems_json
from minipach.support.text import byte_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minipach.publish.cleanup import Waste


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, LOOK, du)
    add(app, PROJECT, gc)


@guarded
def du(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="List each repo and folder.")] = False,
    as_json: JSON = False,
) -> None:
    """Show the space that the project takes on this machine, by kind.

    A file with several hard links counts once. "minipach gc" removes what nobody needs.

    Example: minipach du --all
    """
    from minipach.views.disk_usage import by_kind, disk_usage, shown_place

    here: Here = context.obj
    project = here.project()
    uses = disk_usage(project)
    total = sum(use.bytes for use in uses)
    if as_json:
        show_json({"schema": 1, "bytes": total, "uses": [use.as_json() for use in uses]})
        return
    if everything:
        rows = [[byte_count(use.bytes), use.kind, shown_place(project, use)] for use in uses]
        show_table(["SIZE", "KIND", "FOLDER"], [*rows, [byte_count(total), "total", ""]], right="SIZE")
        return
    sums = [[byte_count(use.bytes), use.kind] for use in by_kind(uses)]
    show_table(["SIZE", "KIND"], [*sums, [byte_count(total), "total"]], right="SIZE")


@guarded
def gc(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Remove without asking.")] = False,
    keep_days: Annotated[
        float, typer.Option("--keep-days", min=0, metavar="N", help="Keep what was made or used in the last N days.")
    ] = 30,
    as_json: JSON = False,
    wait: LOCK_WAIT = True,
) -> None:
    """Show what nobody needs any more, and remove it.

    Without --yes, asks on a terminal, and elsewhere only lists. Keeps input data, needed results, and contents that
    no other repository has.

    Example: minipach gc, then minipach gc --yes
    """
    from minipach.project.lock import project_lock
    from minipach.publish.cleanup import Cleanup

    here: Here = context.obj
    project = here.project()
    cleanup = Cleanup(project, keep_days=keep_days, now=time.time())
    found = cleanup.found()
    for problem in cleanup.problems:
        say(str(problem))
    if not as_json:
        _show(found)
    removed: list[Waste] = []
    if found and (yes or (not as_json and _agreed())):
        with project_lock(project.local.lock, wait=wait, notify=say):
            again = Cleanup(project, keep_days=keep_days, now=time.time())
            for one in again.free():
                removed.append(one)
                if not as_json:
                    show(f"removed: {one.what}, {one.place} ({byte_count(one.bytes)})")
        if not as_json:
            show(f"{byte_count(sum(one.bytes for one in removed))} freed")
    elif found and not as_json:
        show("minipach gc --yes removes it")
    if as_json:
        show_json(
            {
                "schema": 1,
                "found": [one.as_json() for one in found],
                "removed": [one.as_json() for one in removed],
                "problems": problems_json(cleanup.problems),
            }
        )
    if cleanup.problems:
        raise typer.Exit(USER)


def _show(found: Sequence[Waste]) -> None:
    if not found:
        show("nothing to remove")
        return
    rows = [[byte_count(one.bytes), one.kind, one.what, one.place] for one in found]
    total = [byte_count(sum(one.bytes for one in found)), "total", "", ""]
    show_table(["SIZE", "KIND", "WHAT", "PLACE"], [*rows, total], right="SIZE")


def _agreed() -> bool:
    """Return whether a person at a terminal wants it."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return typer.confirm("Remove it?", default=False)
