"""`cron`: the ticks of clocks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import Here, guarded, say, show, show_json
from minipach.cli.options import JOBS, JSON
from minipach.cli.schedule import WAIT, notify, reporting
from minipach.cli.sections import OTHERS, RUN, Group, add
from minipach.cli.tables import show_table, state
from minipach.support.text import many

if TYPE_CHECKING:
    from minipach.triggers.manual_ticks import Reprocess

ONE = Annotated[str, typer.Argument(metavar="PIPELINE", help="Select the pipeline by its name or path.")]
MAYBE = Annotated[
    str | None, typer.Argument(metavar="[PIPELINE]", help="Select the pipeline by its name or path. [default: all]")
]
INPUT = Annotated[
    str | None, typer.Option("--input", metavar="NAME", help="Select the clock, if the pipeline has several.")
]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(
        cls=Group, help="List, skip, run and backfill the ticks of clocks.", no_args_is_help=True, rich_markup_mode=None
    )
    add(family, OTHERS, list_, name="list")
    add(family, OTHERS, skip)
    add(family, OTHERS, run_, name="run")
    add(family, OTHERS, backfill)
    app.add_typer(family, name="cron", rich_help_panel=RUN)


@guarded
def list_(
    context: typer.Context,
    pipeline: MAYBE = None,
    most: Annotated[int, typer.Option("-n", "--last", min=1, metavar="N", help="List the last N ticks of each.")] = 20,
    as_json: JSON = False,
) -> None:
    """List the clocks and their ticks, with the state and the cause of each.

    Changes nothing. A tick is done, pending, failed, left (it failed repeatedly), due, blocked or skipped.

    Example: minipach cron list report
    """
    from minipach.planning.clock_states import clock_views
    from minipach.triggers.manual_ticks import tick_rows

    here: Here = context.obj
    project = here.project()
    paths = None if pipeline is None else [project.path_of(pipeline)]
    if paths:
        project.need(paths)
    views = clock_views(project, int(time.time()), paths)
    rows = {view: list(tick_rows(project, view))[-most:] for view in views}
    if as_json:
        data = [{**view.as_json(), "ticks": [row.as_json() for row in rows[view]]} for view in views]
        show_json({"schema": 1, "clocks": data})
        return
    for view in views:
        if problem := view.problem():
            say(str(problem))
    cells = [
        [v.pipeline, v.input.repo, v.clock.line, f"paused; {v.resume}" if v.resume else v.shown_next or "never"]
        for v in views
    ]
    show_table(["PIPELINE", "REPO", "CRON", "NEXT"], cells)
    lines = [row for view in views for row in rows[view]]
    if lines:
        show()
        table = [[r.pipeline, r.as_json()["tick"], state(r.state), r.cause, r.reason] for r in lines]
        show_table(["PIPELINE", "TICK", "STATE", "CAUSE", "REASON"], table)
    if not views:
        show("no clocks; a `cron` input is one, and `minipach.schedule`")


@guarded
def skip(
    context: typer.Context,
    pipeline: ONE,
    ticks: Annotated[list[str], typer.Argument(metavar="TICK", help="Select ticks by their times.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Say why. It is committed.")] = "",
    clock: INPUT = None,
) -> None:
    """Skip ticks, also future ones: commit that they are not to be added.

    A tick that is there is removed, and with the next schedule its results. `minipach cron run` undoes it.

    Example: minipach cron skip report 2026-12-24T03:00:00Z --reason holiday
    """
    from minipach.triggers.manual_ticks import clock_of, skip_ticks, tick_at

    here: Here = context.obj
    project = here.project()
    view = clock_of(project, pipeline, clock, int(time.time()))
    chosen = [tick_at(view, text) for text in ticks]
    with reporting() as reporter:
        skip_ticks(project, view, chosen, reason, reporter)
    show(f"skipped: {many(len(set(chosen)), 'tick')}")


@guarded
def run_(
    context: typer.Context,
    pipeline: ONE,
    ticks: Annotated[
        list[str] | None, typer.Argument(metavar="TICK", help="Select ticks by their times. [default: now]")
    ] = None,
    clock: INPUT = None,
    jobs: JOBS = None,
    as_json: JSON = False,
    wait: WAIT = None,
) -> None:
    """Add a tick now, or at given times, and run it.

    A tick that is there runs again. A tick that was skipped counts again. Exit codes: as for `schedule`.

    Example: minipach cron run report, or minipach cron run report 2026-11-30T03:00:00Z
    """
    from minipach.triggers.manual_ticks import clock_of, run_ticks, tick_at

    here: Here = context.obj
    project = here.project()
    now = int(time.time())
    view = clock_of(project, pipeline, clock, now)
    chosen = [tick_at(view, text) for text in ticks] if ticks else [now]
    with reporting() as reporter:
        report = run_ticks(project, view, chosen, reporter, jobs=jobs, wait=wait)
    notify(report, as_json=as_json)


@guarded
def backfill(
    context: typer.Context,
    pipeline: ONE,
    first: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Set the first time. [default: the clock's start]")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Set the last time. [default: now]")] = None,
    reprocess: Annotated[
        str, typer.Option("--reprocess", metavar="none|failed|all", help="Select ticks that are there to run again.")
    ] = "none",
    backwards: Annotated[bool, typer.Option("--backwards", help="Begin with the newest tick.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the ticks, and change nothing.")] = False,
    clock: INPUT = None,
    jobs: JOBS = None,
    as_json: JSON = False,
    wait: WAIT = None,
) -> None:
    """Add the ticks that are missing in a time, and run them.

    Neither the clock's start nor its `expired_limit` counts. Skipped ticks stay skipped. Exit codes: as for `schedule`.

    Example: minipach cron backfill report --from 2026-11-01 --dry-run
    """
    from minipach.support.errors import Problem, UserError
    from minipach.triggers.manual_ticks import backfill as fill
    from minipach.triggers.manual_ticks import clock_of, plan_backfill, tick_at

    kinds: dict[str, Reprocess] = {"none": "none", "failed": "failed", "all": "all"}
    if reprocess not in kinds:
        message, fix = f"{reprocess!r} is none of none, failed, all", "write one of them"
        raise UserError(Problem("option.bad-value", "--reprocess", message, fix))
    here: Here = context.obj
    project = here.project()
    now = int(time.time())
    view = clock_of(project, pipeline, clock, now)
    begin, end = (tick_at(view, text) if text is not None else None for text in (first, last))
    if begin is not None and end is not None and begin > end:
        raise UserError(Problem("option.conflict", "--from", f"{first} is after {last}", "write the earlier first"))
    work = plan_backfill(project, view, begin, end, now, kinds[reprocess])
    data = work.as_json()
    if dry_run:
        if as_json:
            show_json({"schema": 1, "pipeline": view.pipeline, **data})
            return
        for what, names in data.items():
            for name in names:
                show(f"{what} {name}")
        if not any(data.values()):
            show("nothing to do")
        return
    if not any(data.values()) and not as_json:
        show("nothing to do")
        return
    with reporting() as reporter:
        report = fill(project, view, work, reporter, backwards=backwards, jobs=jobs, wait=wait)
    notify(report, as_json=as_json)
