"""`hooks`, `pause`, `resume`, `triggers`: start passes by themselves when a repo has changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import Here, guarded, show, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import LOOK, OTHERS, RUN, Group, add
from minipach.cli.tables import show_table
from minipach.support.text import many

if TYPE_CHECKING:
    from minipach.triggers.hooks import HookState

REPO = Annotated[
    str | None,
    typer.Option(
        "--repo", metavar="R", help="Select one repo, or a bare repository. [default: the project and all repos]"
    ),
]
ONE = Annotated[
    str | None, typer.Argument(metavar="[PIPELINE]", help="Select the pipeline by its name or path. [default: all]")
]
SHARED = Annotated[
    bool, typer.Option("--shared", help="Commit the setting to the superdataset, so that it counts in all clones.")
]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(
        cls=Group,
        help="Run `schedule` after each commit, save, merge, pull and push.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    add(family, OTHERS, install, status, remove)
    family.command("run", hidden=True)(run_)
    app.add_typer(family, name="hooks", rich_help_panel=RUN)
    add(app, RUN, pause, resume)
    overview = typer.Typer(cls=Group, rich_markup_mode=None)
    overview.callback(invoke_without_command=True)(triggers)
    add(overview, OTHERS, test)
    app.add_typer(overview, name="triggers", rich_help_panel=LOOK)


@guarded
def install(context: typer.Context, repo: REPO = None) -> None:
    """Install a git hook in the project and its repos. It starts a pass after each change of a branch.

    Hooks that are there already run first. Repos that are added later get the hook at the next pass. In a bare
    repository (also of a RIA store) the hook runs after a push. It must be a remote of a repo of this project.

    Example: minipach hooks install
    """
    from minipach.triggers.hooks import install as put

    here: Here = context.obj
    changed = put(here.project(), repo)
    for hook in changed:
        show(f"{hook.repo}: hook installed" + _chained(hook))
    if not changed:
        show("all hooks are installed already")


@guarded
def status(context: typer.Context, as_json: JSON = False) -> None:
    """List the repos and the state of their hooks: installed, outdated, missing, off.

    Example: minipach hooks status
    """
    from minipach.triggers.hooks import status as look

    here: Here = context.obj
    found = look(here.project())
    if as_json:
        show_json({"schema": 1, "hooks": [hook.as_json() for hook in found]})
        return
    fixes = {"missing": "minipach hooks install", "outdated": "minipach hooks install"}
    for hook in found:
        fix = fixes.get(hook.state)
        show(f"{hook.repo}: {hook.state}" + _chained(hook) + (f". Fix: {fix}" if fix else ""))


@guarded
def remove(context: typer.Context, repo: REPO = None) -> None:
    """Remove the hooks. Hooks that were there before return to their names.

    Example: minipach hooks remove
    """
    from minipach.triggers.hooks import remove as take_out

    here: Here = context.obj
    removed = take_out(here.project(), repo)
    for hook in removed:
        show(f"{hook.repo}: hook removed")
    if not removed:
        show("no hooks are installed")


@guarded
def pause(context: typer.Context, pipeline: ONE = None, shared: SHARED = False) -> None:
    """Leave a pipeline out of passes that start by themselves.

    `minipach schedule PIPELINE` still runs it.

    Example: minipach pause edges
    """
    from minipach.triggers.pause import pause as begin

    here: Here = context.obj
    changed = begin(here.project(), pipeline, shared=shared)
    show(_named(pipeline) + ("paused" if changed else "paused already"))


@guarded
def resume(context: typer.Context, pipeline: ONE = None, shared: SHARED = False) -> None:
    """End the pause of a pipeline. The next pass includes it.

    Example: minipach resume edges
    """
    from minipach.triggers.pause import resume as end

    here: Here = context.obj
    changed = end(here.project(), pipeline, shared=shared)
    show(_named(pipeline) + ("resumed" if changed else "not paused"))


@guarded
def triggers(context: typer.Context, as_json: JSON = False) -> None:
    """Show the last change heard, the last pass, and what comes next.

    The column WHY gives the reason if the last pass did nothing for a pipeline.

    Example: minipach triggers
    """
    from minipach.triggers.overview import overview

    if context.invoked_subcommand is not None:
        return
    here: Here = context.obj
    found = overview(here.project())
    if as_json:
        show_json(found.as_json())
        return
    show_table(["REPO", "HOOK"], [[hook.repo, hook.state + _chained(hook)] for hook in found.hooks])
    if found.hooks:
        show()
    show_table(
        ["TRIGGER", "NAME", "STATE", "HEARD", "LOOKED", "NEXT", "WHY"],
        [[t.kind, t.name, t.state, t.heard or "", t.looked or "", t.following, t.why] for t in found.others],
    )
    if found.others:
        show()
    waiting = f", {many(found.unanswered, 'line')} not answered yet" if found.unanswered else ""
    show(f"last heard: {found.last_heard or 'nothing'}{waiting}")
    looked = found.looked or {}
    cause = f", cause {looked['cause']}" if looked.get("cause") else ""
    show(f"last pass:  {looked['at']}, {looked['seconds']} s{cause}" if looked else "last pass:  none")
    show(f"next:       {found.following}")
    reasons = {name: f"paused; {fix}" for name, fix in found.paused.items()}
    rows = [[row["name"], row["state"], row.get("reason", "")] for row in looked.get("pipelines", ())]
    left = {**looked.get("left_out", {}), **reasons}
    rows = [row for row in rows if row[0] not in left] + [[name, "left out", why] for name, why in left.items()]
    if rows:
        show()
    show_table(["PIPELINE", "STATE", "WHY"], rows)
    for line in (*found.waits, *(problem["text"] for problem in looked.get("problems", ()))):
        show(line)


@guarded
def test(
    context: typer.Context,
    forge: Annotated[
        str, typer.Argument(metavar="github|gitea|forgejo|gitlab|bitbucket|s3", help="Select the sender.")
    ],
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Send it to this receiver.")
    ] = "http://127.0.0.1:8642",
) -> None:
    """Send a signed sample event to `minipach serve`.

    The receiver starts a pass as after a real event. The secret is the one that the receiver has.

    Example: minipach triggers test github
    """
    from minipach.triggers.sample_event import send_sample_event

    here: Here = context.obj
    show(send_sample_event(here.project(), forge, url))


@guarded
def run_(context: typer.Context) -> None:
    """Make the pass that hooks have asked for. Hooks run this command."""
    from minipach.cli.schedule import notify, reporting
    from minipach.triggers.passes import answer_requests

    here: Here = context.obj
    os.closerange(3, 1024)  # what git left open: it waits until nobody has it
    with reporting() as terminal:
        report = answer_requests(here.directory, terminal)
    if report is not None:
        notify(report, as_json=False, none="nothing to do")


def _chained(hook: HookState) -> str:
    return f" (after {hook.chained.name})" if hook.chained else ""


def _named(pipeline: str | None) -> str:
    return f"{pipeline} is " if pipeline is not None else "all pipelines are "
