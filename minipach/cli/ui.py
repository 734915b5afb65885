"""`ui`: the console in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import Here, guarded, say, show, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import LOOK, add
from minipach.support.errors import Problem, UserError

if TYPE_CHECKING:
    from minipach.console.app import Console
    from minipach.project.project import Project

ACTIONS = Annotated[
    bool, typer.Option("--actions", help="Let the console schedule, retry, pause, resume and cancel. [default: no]")
]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, LOOK, ui)


@guarded
def ui(
    context: typer.Context,
    port: Annotated[
        int,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            metavar="N",
            show_default=False,
            help="Listen on port N. [default: a free port]",
        ),
    ] = 0,
    actions: ACTIONS = False,
    browse: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the link in a browser, or only print it.")
    ] = True,
    as_json: JSON = False,
) -> None:
    """Show the project in a browser.

    Opens the console of a `minipach serve` that runs, or serves it until Ctrl-C. Only this machine can reach it, and
    only with the token in the link. With --json, prints the link of a running console and ends.

    Example: minipach ui, or minipach ui --actions --no-open
    """
    from minipach.console.link import running
    from minipach.triggers.server import listen, serve

    here: Here = context.obj
    project = here.project()
    known = running(project.local)
    if as_json:
        show_json({"schema": 1, "link": known})
        return
    if known is not None:
        if actions or port:
            fix = f"end that one, or open {known}"
            raise UserError(Problem("console.runs", "", "a console of this project runs already", fix))
        _open(known, browse=browse)
        return
    listener = listen("127.0.0.1", port)
    console, link, done = begin(project, f"http://127.0.0.1:{listener.getsockname()[1]}", actions=actions)
    _open(link, browse=browse)
    try:
        serve(console.app(), listener, console.end)
    finally:
        done()


def begin(project: Project, server: str, *, actions: bool) -> tuple[Console, str, Callable[[], None]]:
    """Return the console of a server, its link, and what is to be done when the server has ended."""
    from minipach.console.app import Console
    from minipach.console.link import forget, keep, new_token

    console = Console(project, new_token(), actions=actions)
    link = f"{server}{console.prefix}/"
    keep(project.local, link)
    return console, link, lambda: forget(project.local, link)


def _open(link: str, *, browse: bool) -> None:
    show(link)
    if browse:
        import webbrowser

        if not webbrowser.open(link):
            say("no browser could be started; open the link yourself")
