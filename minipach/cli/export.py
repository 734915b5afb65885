"""`export`: the project as objects of other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from minipach.cli.common import Here, guarded, show_json
from minipach.cli.options import DOWNSTREAM, TARGETS, UPSTREAM
from minipach.cli.sections import OTHERS, RUN, Group, add


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(
        cls=Group, help="Print the project as workflows of Argo.", no_args_is_help=True, rich_markup_mode=None
    )
    add(family, OTHERS, argo, cron)
    app.add_typer(family, name="export", rich_help_panel=RUN)


@guarded
def argo(
    context: typer.Context,
    what: TARGETS = None,
    upstream: UPSTREAM = False,
    downstream: DOWNSTREAM = True,
    chunks: Annotated[
        bool, typer.Option("--chunks", help="Run datum sets as steps of the workflow (withSequence), not as Jobs.")
    ] = False,
) -> None:
    """Print a Workflow of Argo that runs the pipelines in their order.

    Submits nothing. Each task runs `minipach schedule` for one pipeline, on the volume claim minipach.kubernetes.claim.

    Example: minipach export argo | kubectl create -f -
    """
    from minipach.executors.registry import chosen
    from minipach.project.targets import parse_targets

    here: Here = context.obj
    project = here.project()
    targets = parse_targets(project, what or [], upstream=upstream, downstream=downstream)
    show_json(chosen(project).workflow(project, targets.order, chunks=chunks))


@guarded
def cron(context: typer.Context, what: TARGETS = None) -> None:
    """Print a CronWorkflow of Argo for each clock of the pipelines.

    Submits nothing. A workflow makes the pass of the clock's pipeline and of what is downstream. The pass decides which
    ticks are missing.

    Example: minipach export cron | kubectl apply -f -
    """
    from minipach.executors.registry import chosen
    from minipach.project.targets import parse_targets

    here: Here = context.obj
    project = here.project()
    targets = parse_targets(project, what or [], upstream=False, downstream=False)
    items = chosen(project).cron_workflows(project, targets.order)
    show_json({"apiVersion": "v1", "kind": "List", "items": items})
