"""`plan`: what would happen, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from minipach.cli.frame import Here, guarded, paint, say, show, show_json
from minipach.plan import Plan

_COLOURS = {"run": "33", "reuse": "36", "current": "32", "remove": "31", "blocked": "2"}


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(plan)


@guarded
def plan(
    context: typer.Context,
    pipelines: Annotated[
        list[str] | None, typer.Argument(metavar="[PIPELINE]...", help="All, if none is named.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Name the datums that are current, too.")] = False,
) -> None:
    """Show what `schedule` would do and why. Changes nothing.

    Example: minipach plan edges
    """
    from minipach.planning import plan_project

    here: Here = context.obj
    project = here.project()
    plans, remarks = plan_project(project, pipelines or [])
    for remark in remarks:
        say(remark)
    if as_json:
        show_json({"schema": 1, "pipelines": [p.as_json() for p in plans]})
        return
    for one in plans:
        _show_plan(one, everything=everything)


def _show_plan(plan: Plan, *, everything: bool) -> None:
    counts = ", ".join(f"{n} {action}" for action, n in plan.counts.items() if n) or "no datums"
    show(f"{plan.pipeline}: {'nothing to do' if plan.is_current and plan.steps else counts}")
    for step in plan.steps:
        if step.action != "current" or everything:
            reason = f": {step.reason}" if step.reason else ""
            show(f"  {paint(step.action, _COLOURS[step.action])} {step.name}{reason}")
