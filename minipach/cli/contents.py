"""`get`, `drop`: file contents on this machine, by pipeline and datum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import USER, Here, guarded, say, show_json
from minipach.cli.options import JSON, LOCK_WAIT
from minipach.cli.sections import SHARE, add
from minipach.cli.tables import show_table
from minipach.support.text import byte_count, many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minipach.publish.contents import MovedContents

WHAT = Annotated[
    list[str],
    typer.Argument(
        metavar="PIPELINE[:DATUM]", help="Select pipelines, some of their datums by name or glob, or repos with data."
    ),
]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, SHARE, get, drop)


@guarded
def get(context: typer.Context, what: WHAT, as_json: JSON = False, wait: LOCK_WAIT = True) -> None:
    """Fetch file contents of outputs or of data.

    Afterwards drops what was not used for longest, if the setting minipach.cache-size limits the contents here. Exit
    code 2: a content could not be fetched.

    Example: minipach get edges:sub-1
    """
    from minipach.project.lock import project_lock
    from minipach.publish.contents import keep_within_limit, move_contents

    here: Here = context.obj
    project = here.project()
    with project_lock(project.local.lock, wait=wait, notify=say):
        moved = move_contents(project, "get", what)
        number, size = keep_within_limit(project)
    if number:
        say(f"dropped {many(number, 'content')} ({byte_count(size)}), for minipach.cache-size")
    _show(moved, as_json)


@guarded
def drop(context: typer.Context, what: WHAT, as_json: JSON = False, wait: LOCK_WAIT = True) -> None:
    """Drop contents of files that have enough copies elsewhere.

    git-annex checks the other copies first, and keeps what is required here. Exit code 2: a content was kept.

    Example: minipach drop edges
    """
    from minipach.project.lock import project_lock
    from minipach.publish.contents import move_contents

    here: Here = context.obj
    project = here.project()
    with project_lock(project.local.lock, wait=wait, notify=say):
        moved = move_contents(project, "drop", what)
    _show(moved, as_json)


def _show(moved: Sequence[MovedContents], as_json: bool) -> None:
    problems = [problem for one in moved for problem in one.problems]
    for problem in problems:
        say(str(problem))
    if as_json:
        show_json({"schema": 1, "repos": [one.as_json() for one in moved]})
    else:
        cells = [[one.repo, str(one.contents), byte_count(one.size), str(one.kept)] for one in moved]
        show_table(["REPO", "CONTENTS", "BYTES", "REFUSED"], cells, right="CONTENTS BYTES REFUSED")
    if problems:
        raise typer.Exit(USER)
