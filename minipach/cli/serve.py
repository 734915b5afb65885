"""`serve`: the process that hears push events of forges and events of buckets."""

from __future__ import annotations

from typing import Annotated

import typer

from minipach.cli.common import Here, guarded, say
from minipach.cli.sections import RUN, add
from minipach.cli.ui import ACTIONS, begin
from minipach.cli.units import UNIT, show_unit


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, RUN, serve)


@guarded
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Listen on ADDRESS.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="Listen on port N.")] = 8642,
    every: Annotated[
        float,
        typer.Option("--every", min=0, metavar="SECONDS", help="Look every SECONDS without an event; 0: never."),
    ] = 300.0,
    body_limit: Annotated[
        int,
        typer.Option("--body-limit", min=1, max=100_000_000, metavar="BYTES", help="Refuse longer events."),
    ] = 4_000_000,
    actions: ACTIONS = False,
    unit: UNIT = False,
) -> None:
    """Receive events, start passes, and show the console.

    Senders post to /hooks/github, gitea, forgejo, gitlab, bitbucket or s3. Each has a secret: the variable
    MINIPACH_WEBHOOK_GITHUB_SECRET, or a file that the git setting minipach.webhook.github.secret-file names.
    /healthz and /metrics (Prometheus) are for monitoring. On an address that only this machine can reach, it serves
    the console of `minipach ui`, too.

    Example: minipach serve --port 8642
    """
    from minipach.storage.private_store import url_of
    from minipach.support.text import quoted
    from minipach.triggers.bucket_listener import listened
    from minipach.triggers.followed_remotes import followed
    from minipach.triggers.receiver import Receiver
    from minipach.triggers.server import is_loopback, listen
    from minipach.triggers.server import serve as answer
    from minipach.triggers.webhook_secrets import access, need_access

    here: Here = context.obj
    project = here.project()
    if unit:
        show_unit(context, project.root, kill_children=False)
        return
    buckets = [one.path for one in listened(project)]
    known = access(project.repo) if buckets or url_of(project.local) else need_access(project.repo)
    receiver = Receiver(project, every=every, body_limit=body_limit)
    listener = listen(host, port)
    shown = listener.getsockname()
    address = f"[{shown[0]}]" if ":" in shown[0] else shown[0]
    senders = ", ".join(known.forges) or "no sender"
    say(f"listening on http://{address}:{shown[1]} for {senders}; project {quoted(project.root)}")
    remotes = followed(project)
    say(f"follows: {', '.join(remotes)}" if remotes else "follows no remote; git config minipach.follow origin")
    if buckets:
        say(f"listens to the buckets of: {', '.join(buckets)}")
    if unsigned := sorted(known.unsigned):
        say(f"unsigned events are accepted from: {', '.join(unsigned)}")
    if not is_loopback(shown[0]):
        say("other machines can reach this address without encryption; a proxy with TLS is safer")
    if is_loopback(shown[0]):
        console, link, done = begin(project, f"http://{address}:{shown[1]}", actions=actions)
        say(f"console: {link}")
        try:
            answer(receiver.app(console.routes()), listener, console.end)
        finally:
            done()
    else:
        answer(receiver.app(), listener)
    say("ended; passes that run continue")
