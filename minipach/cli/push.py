"""`push`, `pull`: the whole project to a remote or a store, and back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import USER, Here, guarded, say, show_json
from minipach.cli.options import JSON, LOCK_WAIT
from minipach.cli.sections import SHARE, add
from minipach.cli.tables import show_table
from minipach.support.text import byte_count

if TYPE_CHECKING:
    from minipach.publish.project_exchange import Moved

REMOTE = Annotated[
    str | None,
    typer.Argument(
        metavar="REMOTE", help="Select a git remote or a store. [default: the branch's remote, else origin]"
    ),
]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, SHARE, push, pull)


@guarded
def push(
    context: typer.Context,
    remote: REMOTE = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would go where, and send nothing.")] = False,
    verify: Annotated[
        int, typer.Option("--verify", min=0, metavar="N", help="Read N contents of each repo back, and compare them.")
    ] = 0,
    as_json: JSON = False,
    wait: LOCK_WAIT = True,
) -> None:
    """Push contents, results and branches of all repos.

    Contents go first, the superdataset last, so that no pushed branch names content that is not there. A store gets
    contents alone. Run the same command again after an interruption: what went stays. Exit code 2: a repo could not be
    pushed.

    Example: minipach push --plan, then minipach push origin
    """
    from minipach.project.lock import project_lock
    from minipach.publish.project_exchange import push as push_project

    here: Here = context.obj
    project = here.project()
    with contextlib.nullcontext() if plan else project_lock(project.local.lock, wait=wait, tell=say):
        moved = push_project(project, remote, say, verify=verify, plan=plan)
    _show(moved, as_json=as_json)


@guarded
def pull(context: typer.Context, remote: REMOTE = None, as_json: JSON = False, wait: LOCK_WAIT = True) -> None:
    """Pull branches and results of all installed repos.

    Contents are fetched when something needs them. A branch is fast-forwarded, or merged if only commits of minipach
    are in the way. Exit code 2: a repo could not be pulled.

    Example: minipach pull, or minipach pull origin
    """
    from minipach.project.lock import project_lock
    from minipach.publish.project_exchange import pull as pull_project

    here: Here = context.obj
    project = here.project()
    with project_lock(project.local.lock, wait=wait, tell=say):
        moved = pull_project(project, remote, say)
    _show(moved, as_json=as_json)


def _show(moved: list[Moved], *, as_json: bool) -> None:
    problems = [problem for one in moved for problem in one.problems]
    for problem in problems:
        say(str(problem))
    if as_json:
        show_json({"schema": 1, "repos": [one.as_json() for one in moved]})
    else:
        cells = []
        for one in moved:
            state = "refused" if one.problems else "ok"
            where = ", ".join(dict.fromkeys([*one.stores, *([one.remote] if one.remote else [])]))
            cells.append([one.repo, where, state, str(one.contents), byte_count(one.size), str(one.commits)])
        show_table(["REPO", "TO", "STATE", "CONTENTS", "BYTES", "COMMITS"], cells, right="CONTENTS BYTES COMMITS")
    if problems:
        raise typer.Exit(USER)
