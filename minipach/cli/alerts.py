"""`alerts`: messages when something has been wrong for a while."""

from __future__ import annotations

import typer

from minipach.cli.common import Here, guarded, leave_with, show, show_json
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
    """List what is wrong since when, and which channels have the message.

    Example: minipach alerts list
    """
    from minipach.records.job_history import iso
    from minipach.triggers.alerts import active

    here: Here = context.obj
    found = active(here.project())
    if as_json:
        rows = [{"cause": k, "what": c.what, "since": iso(c.since), "sent": c.sent} for k, c in found.items()]
        show_json({"schema": 1, "alerts": rows})
        return
    cells = [[one.what, iso(one.since), ", ".join(one.sent) or "no"] for one in found.values()]
    show_table(["WHAT", "SINCE", "SENT"], cells)
