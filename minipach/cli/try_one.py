"""`run-one`, `shell`: one datum in scratch, to see what goes wrong."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from minipach.cli.frame import FAILED, Here, guarded, say, say_used, show, show_json
from minipach.escape import printable
from minipach.wording import many

_GET = Annotated[bool, typer.Option("--get", help="Fetch contents that aren't here (they stay).")]
_COMMITTED = Annotated[
    bool, typer.Option("--committed", help="Use the pipeline's last commit instead of its working tree.")
]
_WORD = Annotated[str, typer.Argument(metavar="PIPELINE:DATUM", help="One datum; its name may be a glob.")]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("run-one")(run_one)
    app.command()(shell)


@guarded
def run_one(
    context: typer.Context,
    what: _WORD,
    get: _GET = False,
    committed: _COMMITTED = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Run one datum in scratch and show its outputs. Publishes nothing, stores nothing.

    Uses the pipeline's working tree, uncommitted changes included, and the committed content of its inputs.
    What the command prints goes to stderr. It runs once. Exit code 1: it failed.

    Example: minipach run-one edges:chelsea.png
    """
    from minipach.tryone import choose
    from minipach.tryone import run_one as run

    here: Here = context.obj
    project = here.project()
    chosen = choose(project, what, committed=committed)
    say_used(project, what.partition(":")[0], committed=committed)
    trial = run(chosen, get=get)
    if as_json:
        show_json({"schema": 1, **trial.as_json()})
    for output in () if as_json else trial.outputs:
        show(f"{output.bytes:>10}  {printable(output.path)}")
        for line in (output.text or "").splitlines():
            show(f"            | {printable(line)}")
    if not as_json and trial.exit == 0:
        show(f"{many(len(trial.outputs), 'output')} in {trial.seconds:.2f} s; nothing is kept")
    if trial.exit != 0:
        say(f"{trial.pipeline}: {trial.datum}: {trial.why}")
        raise typer.Exit(FAILED)


@guarded
def shell(context: typer.Context, what: _WORD, get: _GET = False, committed: _COMMITTED = False) -> None:
    """Open a shell in a datum's container, with /pfs laid out as a run would have it. What is written is thrown away.

    Uses the pipeline's working tree, uncommitted changes included, and the committed content of its inputs.
    Without a container, /pfs is at $PFS. Leave it with `exit`; its exit code is this command's.

    Example: minipach shell edges:chelsea.png
    """
    from minipach.tryone import choose, open_shell

    here: Here = context.obj
    project = here.project()
    chosen = choose(project, what, committed=committed)
    say_used(project, what.partition(":")[0], committed=committed)
    say(f"{chosen.work.pipeline}: {chosen.name}; a run would start here: {shlex.join(chosen.command)}")
    say("what you write is thrown away; `exit` leaves")
    code = open_shell(chosen, get=get)
    if code:
        raise typer.Exit(code if code > 0 else 128 - code)
