"""`alerts`: messages when something has been wrong for a while."""

from __future__ import annotations

import typer

from minipach.cli.common import Here, guarded, leave_with, say, show, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import LOOK, OTHERS, Group, add
from minipach.cli.tables import show_table


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(
        cls=Group, help="Send a message when something fails for a while.", no_args_is_help=True, rich_markup_mode=None
    )
    add(family, OTHERS, test)
    add(family, OTHERS, list_, name="list")
    app.add_typer(family, name="alerts", rich_help_panel=LOOK)


@guarded
def test(context: typer.Context) -> None:
    """Send a test message to each channel: minipach.alert.command, webhook, mail and apprise.

    Example: minipach alerts test
    """
    from minipach.support.errors import Problem
    from minipach.triggers.alerts import try_all

    here: Here = context.obj
    found = try_all(here.project())
    for name, problem in found:
        if not problem:
            show(f"{name}: sent")
    leave_with(
        Problem("alert.not-sent", f"minipach.alert.{name}", problem, "correct the setting")
        for name, problem in found
        if problem
    )


@guarded
def list_(context: typer.Context, as_json: JSON = False) -> None:
    """List what is wrong now, since when, and which channels have the message.

    Sends nothing. Exit code 2: a setting can't be used.

    Example: minipach alerts list
    """
    from minipach.records.job_history import iso
    from minipach.support.errors import Problem
    from minipach.triggers.alerts import SET_CHANNEL, standing

    here: Here = context.obj
    found = standing(here.project())
    for kind in sorted(found.unknown):
        say(f"alerts: {kind}: could not be looked at; what the last evaluation found is listed")
    if as_json:
        rows = [
            {"cause": c.key, "what": c.what, "since": iso(h.since), "sent": h.sent, "reason": c.reason, "look": c.look}
            for c, h in found.rows
        ]
        evaluated = iso(found.evaluated) if found.evaluated is not None else None
        more = {"channels": list(found.channels), "evaluated": evaluated, "paused": dict(found.paused)}
        show_json({"schema": 1, "alerts": rows, **more})
        return
    cells = []
    for cause, held in found.rows:
        since = "now" if cause.key in found.fresh else iso(held.since)
        cells.append([cause.what, since, ", ".join(held.sent) or "no", cause.reason, cause.look])
    show_table(["WHAT", "SINCE", "SENT", "REASON", "LOOK"], cells)
    if not cells:
        show("nothing is wrong")
    for name, resume in found.paused.items():
        show(f"{name} is paused; {resume}")
    if not found.channels:
        say(str(Problem("alert.no-channel", "alerts", "no channel is set, so no message is sent", SET_CHANNEL)))
    elif found.evaluated is None:
        say("alerts: no pass, `serve` or `watch` has looked yet; they send the messages")
    else:
        show(f"messages were last considered at {iso(found.evaluated)}")
