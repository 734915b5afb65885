"""`push`, `pull`: the whole project to a remote or a store, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import FAILED, USER, Here, guarded, say, show_json
from minipach.cli.options import JSON, LOCK_WAIT
from minipach.cli.sections import SHARE, add
from minipach.cli.tables import show_table
from minipach.support.errors import Problem
from minipach.support.text import byte_count, many

if TYPE_CHECKING:
    from minipach.project.lock import Registered
    from minipach.publish.push_pull import RepoExchange

_ROUNDS = 5  # merges with what others push, within one push
REMOTE = Annotated[
    str | None,
    typer.Argument(
        metavar="REMOTE", help="Select a git remote or a store. [default: the branch's remote, else origin]"
    ),
]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, SHARE, sync, push, pull)


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
    contents alone. Run the same command again after an interruption: what went stays. Where others have pushed to
    pipelines meanwhile, both sides are merged and pushed, if results that exist suffice. minipach sync does the rest.
    Exit code 2: a repo could not be pushed.

    Example: minipach push --plan, then minipach push origin
    """
    from minipach.project.lock import register
    from minipach.project.project import find_project
    from minipach.publish.push_pull import push as push_project

    here: Here = context.obj
    project = here.project()
    problems: list[Problem] = []
    if plan:
        moved = push_project(project, remote, say, plan=True)
    else:
        with register(project.local.lock, (), wait=wait, notify=say) as claims:
            send = partial(push_project, project, remote, say, verify=verify, claims=claims)
            moved = _until_free(send, claims, wait=wait)
        for attempt in range(_ROUNDS):
            if not _are_late(moved) or (problems := _join(project.root, remote, attempt, wait=wait)):
                break
            with register(project.local.lock, (), wait=wait, notify=say) as claims:
                send = partial(push_project, find_project(project.root), remote, say, verify=verify, claims=claims)
                moved = [_with(one, moved) for one in _until_free(send, claims, wait=wait)]
    _show(moved, problems, as_json=as_json)


def _with(one: RepoExchange, before: Sequence[RepoExchange]) -> RepoExchange:
    """Return what went for a repo, with what went at an attempt before."""
    for old in before:
        if old.repo == one.repo:
            contents, size = one.contents + old.contents, one.size + old.size
            return replace(one, contents=contents, size=size, verified=max(one.verified, old.verified))
    return one


def _are_late(moved: list[RepoExchange]) -> bool:
    """Return whether others have pushed commits to repos that this clone does not have."""
    from minipach.publish.push_pull import DIVERGED, LATE

    return any(problem.code in (DIVERGED, LATE) for one in moved for problem in one.problems)


def _join(root: Path, remote: str | None, attempt: int, *, wait: bool) -> list[Problem]:
    """Merge what others have pushed, and take over their results. Return why that can't be done without more work."""
    from minipach.cli.schedule import reporting
    from minipach.planning.project_plan import plan_project
    from minipach.project.lock import project_lock
    from minipach.project.project import find_project
    from minipach.project.targets import parse_targets
    from minipach.publish import results_exchange
    from minipach.publish.sync import merge_project
    from minipach.scheduling.schedule_report import Options
    from minipach.scheduling.service import run

    if attempt:
        results_exchange.pause(attempt)
    project = find_project(root)
    with project_lock(project.local.lock, wait=wait, notify=say):
        merged = merge_project(project, remote, say, with_data=False)
    if problems := [problem for one in merged for problem in one.problems]:
        return problems
    project = find_project(root)
    joined = [project.name_of(one.repo) for one in merged if one.action == "merged" and one.repo in project.order]
    for _ in joined:  # what is regenerated may be the input of the next one
        plans = plan_project(project, parse_targets(project, joined)).plans
        if must := [plan for plan in plans if plan.counts["run"]]:
            what = f"{many(must[0].counts['run'], 'datum')} must run after the merge with what others pushed"
            return [Problem("push.must-run", must[0].pipeline, what, "minipach sync")]
        ready = [plan.pipeline for plan in plans if not (plan.is_current or plan.waits or plan.problems)]
        if not ready:
            break
        with reporting() as reporter:
            run(project, parse_targets(project, ready), Options(), reporter, wait=True)
        project = find_project(root)
    return []


@guarded
def pull(context: typer.Context, remote: REMOTE = None, as_json: JSON = False, wait: LOCK_WAIT = True) -> None:
    """Pull branches and results of all installed repos.

    Contents are fetched when something needs them. A branch is fast-forwarded, or merged if only commits of minipach
    are in the way. Exit code 2: a repo could not be pulled.

    Example: minipach pull, or minipach pull origin
    """
    from minipach.project.lock import register
    from minipach.publish.push_pull import pull as pull_project

    here: Here = context.obj
    project = here.project()
    with register(project.local.lock, (), wait=wait, notify=say) as claims:
        moved = _until_free(partial(pull_project, project, remote, say, claims=claims), claims, wait=wait)
    _show(moved, as_json=as_json)


class Side(StrEnum):
    """The side that a conflict takes."""

    ours = "ours"
    theirs = "theirs"


@guarded
def sync(
    context: typer.Context,
    remote: REMOTE = None,
    take: Annotated[
        Side | None, typer.Option("--take", help="Take this side where both changed the same lines of a pipeline.")
    ] = None,
    schedule: Annotated[
        bool, typer.Option("--schedule/--no-schedule", help="Compute what the merge made necessary, or stop before.")
    ] = True,
    send: Annotated[bool, typer.Option("--push/--no-push", help="Push at the end, or leave it out.")] = True,
    as_json: JSON = False,
    wait: LOCK_WAIT = True,
) -> None:
    """Merge with a remote, compute what is missing, and push.

    Merges what people write: data, specs and code. Takes over the results of others instead of computing them again,
    and regenerates outputs. A conflict is reported and changes nothing. Exit code 2: a repo could not be merged or
    pushed.

    Example: minipach sync
    """
    from minipach.cli.schedule import notify, reporting
    from minipach.project.lock import project_lock
    from minipach.project.project import find_project
    from minipach.project.targets import parse_targets
    from minipach.publish.push_pull import push as push_project
    from minipach.publish.sync import merge_project
    from minipach.scheduling.schedule_report import Options
    from minipach.scheduling.service import run

    here: Here = context.obj
    project = here.project()
    with project_lock(project.local.lock, wait=wait, notify=say):
        merged = merge_project(project, remote, say, take.value if take else None)
    problems = [problem for one in merged for problem in one.problems]
    for problem in problems:
        say(str(problem))
    project = find_project(project.root)
    report = None
    if schedule and not problems and project.order:
        with reporting() as reporter:
            report = run(project, parse_targets(project, []), Options(), reporter, wait=True)
    moved: list[RepoExchange] = []
    if send and not problems and (report is None or report.ok):
        with project_lock(project.local.lock, wait=wait, notify=say):
            moved = push_project(find_project(project.root), remote, say)
    if as_json:
        rows = {"repos": [one.as_json() for one in merged], "pushed": [one.as_json() for one in moved]}
        show_json({"schema": 1, **rows, "schedule": report.as_json() if report else None})
    else:
        show_table(
            ["REPO", "REMOTE", "STATE", "RESULTS"], [[m.repo, m.remote, m.action, str(m.results)] for m in merged]
        )
        if report is not None:
            notify(report, as_json=False)
    for problem in (failed := [problem for one in moved for problem in one.problems]):
        say(str(problem))
    if problems or failed:
        raise typer.Exit(USER)
    if report is not None and not report.ok:
        raise typer.Exit(FAILED)


def _until_free(move: Callable[[], list[RepoExchange]], claims: Registered, *, wait: bool) -> list[RepoExchange]:
    """Move what no schedule works on. With `wait`, wait for the rest, and move that, too."""
    from minipach.publish.push_pull import BUSY

    found = move()
    while wait and (busy := [one.repo for one in found if any(problem.code == BUSY for problem in one.problems)]):
        for path in busy:
            claims.take_when_free(path)
            claims.release(path)
        found = [new if old.problems else old for old, new in zip(found, move(), strict=True)]
    return found


def _show(moved: list[RepoExchange], problems: Sequence[Problem] = (), *, as_json: bool) -> None:
    """Show what went. problems: reasons why what others pushed could not be merged."""
    problems = [*problems, *(problem for one in moved for problem in one.problems)]
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
