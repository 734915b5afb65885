"""`run-one`, `shell`: one datum in scratch, to see what goes wrong."""

from __future__ import annotations

import shlex

import typer

from minipach.cli.common import FAILED, Here, guarded, say, say_used, show, show_json
from minipach.cli.options import COMMITTED, DATUM, GET, JSON
from minipach.cli.sections import WRITE, add
from minipach.support.text import many, printable


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, WRITE, run_one, name="run-one")
    add(app, WRITE, shell)


@guarded
def run_one(
    context: typer.Context,
    what: DATUM,
    get: GET = False,
    committed: COMMITTED = False,
    as_json: JSON = False,
) -> None:
    """Run one datum in a scratch directory and show its outputs.

    Publishes and stores nothing. Uses the pipeline's working tree and the committed content of its inputs. Runs the
    command once; its output goes to stderr. Exit code 1: the command failed.

    Example: minipach run-one edges:chelsea.png
    """
    from minipach.rerun.run_one import choose
    from minipach.rerun.run_one import run_one as run

    here: Here = context.obj
    project = here.project()
    chosen = choose(project, what, committed=committed)
    say_used(project, what.partition(":")[0], committed=committed)
    trial = run(chosen, get=get)
    if as_json:
        show_json({"schema": 1, **trial.as_json()})
    if not as_json and trial.outputs:
        show(f"{'BYTES':>10}  PATH")
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
def shell(context: typer.Context, what: DATUM, get: GET = False, committed: COMMITTED = False) -> None:
    """Open a shell in the container of one datum.

    /pfs holds the inputs as in a run ($PFS without a container). Uses the pipeline's working tree and the committed
    content of its inputs. Discards all written files. The exit code is that of the shell.

    Example: minipach shell edges:chelsea.png
    """
    from minipach.rerun.run_one import choose, open_shell

    here: Here = context.obj
    project = here.project()
    chosen = choose(project, what, committed=committed)
    say_used(project, what.partition(":")[0], committed=committed)
    say(f"{chosen.work.pipeline}: {chosen.name}; a run would start here: {shlex.join(chosen.command)}")
    say("what you write is thrown away; `exit` leaves")
    code = open_shell(chosen, get=get)
    if code:
        raise typer.Exit(code if code > 0 else 128 - code)
