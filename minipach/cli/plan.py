"""`plan`: what would happen, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from minipach.cli.common import Here, clocks_of, guarded, leave_with, say, say_layout, say_paused, show, show_json
from minipach.cli.options import DOWNSTREAM, JOBS, JSON, TARGETS, UPSTREAM
from minipach.cli.sections import RUN, add
from minipach.cli.tables import show_table
from minipach.planning.plan import Plan
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.text import many


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, RUN, plan)


@guarded
def plan(
    context: typer.Context,
    what: TARGETS = None,
    as_json: JSON = False,
    everything: Annotated[bool, typer.Option("--all", help="List current datums too.")] = False,
    why: Annotated[
        str | None, typer.Option("--why", metavar="DATUM", help="Explain one datum: its id, inputs and earlier runs.")
    ] = None,
    upstream: UPSTREAM = False,
    downstream: DOWNSTREAM = True,
    force: Annotated[bool, typer.Option("--force", help="Plan as for `schedule --force`.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Plan as for `schedule --now`.")] = False,
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Print the objects that the executor would submit (kubernetes).")
    ] = False,
    jobs: JOBS = None,
) -> None:
    """Show what `schedule` would run, and why.

    Changes nothing. Exit code 2: a selected pipeline has a problem. The other pipelines are planned.

    Example: minipach plan edges, or minipach plan edges --why chelsea.png
    """
    from minipach.executors.registry import too_much
    from minipach.planning.expected_cost import expected_cost
    from minipach.planning.project_plan import plan_project
    from minipach.project import branch_check, uncommitted
    from minipach.project.settings import slots
    from minipach.project.targets import parse_targets
    from minipach.support.background import BackgroundCall
    from minipach.templates.rendered_spec import stale

    here: Here = context.obj
    project = here.project()
    if why is not None:
        _why(project, what or [], why, as_json=as_json)
        return
    targets = parse_targets(project, what or [], upstream=upstream, downstream=downstream)
    used = uncommitted.used_by(project, targets.order)
    looking = BackgroundCall(lambda: uncommitted.uncommitted(project, used))  # git looks while the plan is made
    found = plan_project(project, targets, forced=force, now=now)
    busy = {plan.pipeline for plan in found.plans if plan.counts.get("run")}
    greedy = too_much(project, (path for path in targets.order if project.name_of(path) in busy))
    problems = (*found.problems, *greedy)
    cost = expected_cost(project, found.plans, slots(project.repo, jobs))
    changes = looking.result()
    for remark in (
        *uncommitted.remarks(project, changes),
        *branch_check.branch_problems(project, targets.order),
        *found.remarks,
    ):
        say(str(remark))
    for note in stale(project, targets.order):
        say(f"note: {note}")
    say_layout(project)
    waits = say_paused(project, targets.order)
    clocks = clocks_of(project, targets.order)
    for line in (line for clock in clocks for line in clock.remarks()):
        say(line)
    if manifest:
        _show_manifests(project, found.plans)
    elif as_json:
        data: dict[str, object] = {"schema": 1, "pipelines": [p.as_json() for p in found.plans]}
        if cost is not None:
            data["expected"] = cost.as_json()
        if clocks:
            data["clocks"] = [clock.as_json() for clock in clocks]
        if waits:
            data["paused"] = waits
        show_json({**data, "problems": problems_json(problems), "uncommitted": uncommitted.as_json(changes)})
    else:
        _show_plans(found.plans, everything=everything)
        if cost is not None:
            show()
            show(cost.text())
    leave_with(problems)


def _why(project: Project, what: list[str], datum: str, *, as_json: bool) -> None:
    from minipach.views.datum_story import story

    if len(what) != 1:
        raise UserError(
            Problem("option.needs-pipeline", "--why", "name one pipeline", "minipach plan PIPELINE --why DATUM")
        )
    facts = story(project, project.path_of(what[0]), datum)
    if as_json:
        show_json({"schema": 1, **facts.as_json()})
        return
    for line in facts.lines():
        show(line)


def _show_manifests(project: Project, plans: Sequence[Plan]) -> None:
    from minipach.executors.registry import chosen

    backend = chosen(project)
    pipelines = {pipeline.name: pipeline for pipeline in project.pipelines.values()}
    items = [
        item
        for one in plans
        if (pipeline := pipelines.get(one.pipeline)) is not None
        for item in backend.manifests(project, pipeline, one.counts.get("run", 0))
    ]
    show_json({"apiVersion": "v1", "kind": "List", "items": items})


def _show_plans(plans: Sequence[Plan], *, everything: bool) -> None:
    """Print a line for each pipeline, and a table of the datums with something to do."""
    rows = []
    for plan in plans:
        show(f"{plan.pipeline}: {_in_short(plan)}")
        for one in plan.deferred:
            show(f"  deferred: {one.repo}: {one.text}")
        for hint in plan.hints:
            show(f"  {hint}")
        chosen = [step for step in plan.steps if step.action != "current" or everything]
        rows += [[plan.pipeline, step.action, step.name, step.reason or "-"] for step in chosen]
    if rows:
        show()
    show_table(["PIPELINE", "ACTION", "DATUM", "REASON"], rows)


def _in_short(plan: Plan) -> str:
    counts = [f"{n} {action}" for action, n in plan.counts.items() if n]
    if plan.problems:
        return ", ".join([*counts, f"{many(len(plan.problems), 'problem')} (see stderr)"])
    if plan.is_current and plan.waits:
        return f"nothing to do yet, {plan.waits}"
    if plan.is_current and plan.steps:
        return "nothing to do"
    nothing = "a service" if plan.is_service else "no datums"
    return (", ".join(counts) or nothing) + (f"; {plan.note}" if plan.note else "")
