"""All commands together: `minipach [-C DIR] COMMAND`. Each family of commands is a module; no logic lives here."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from minipach import __version__
from minipach.cli import (
    alerts,
    buckets,
    ci,
    contents,
    cron,
    egress,
    erase,
    exp,
    explain,
    export,
    image,
    inspect,
    jobs,
    logs,
    new,
    pachctl,
    plan,
    project,
    push,
    report,
    results,
    run_one,
    schedule,
    serve,
    space,
    spec,
    status,
    store,
    templates,
    triggers,
    ui,
    watch,
    worker,
)
from minipach.cli.common import INTERRUPT, USER, Here, all_shown, say
from minipach.cli.sections import Group
from minipach.git.settings import drop_variables
from minipach.support.messages import show_log

app = typer.Typer(
    name="minipach",
    cls=Group,
    help='Run data pipelines in a DataLad project. Run "minipach COMMAND --help" for the help of a command.',
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"minipach {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    directory: Annotated[
        Path,
        typer.Option(
            "-C",
            metavar="DIR",
            show_default=False,
            help="Work in DIR instead of the current directory. [default: .]",
        ),
    ] = Path(),
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Here(directory)


for module in (
    project,
    new,
    templates,
    buckets,
    contents,
    egress,
    erase,
    spec,
    image,
    run_one,
    plan,
    schedule,
    exp,
    cron,
    export,
    triggers,
    watch,
    serve,
    alerts,
    jobs,
    logs,
    status,
    inspect,
    explain,
    report,
    ui,
    results,
    space,
    store,
    push,
    ci,
    worker,
):
    module.register(app)


def main() -> None:
    """Run the program. Raises SystemExit with its exit code."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):  # who reads a pipe sees a line when it is printed, not at the end
        sys.stdout.reconfigure(line_buffering=True)
    show_log()
    # plans are millions of small objects without cycles: looking for those after each 700 costs a third of the time
    drop_variables(os.environ)
    gc.set_threshold(200_000, 20, 100)
    try:
        if line := pachctl.instead(_words(sys.argv[1:])):
            say(line)
            sys.exit(USER)
        app(prog_name="minipach")
    except SystemExit as end:
        # an interrupt while the words are being read, or after a command: typer ends with 130, and says nothing
        if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):
            say(INTERRUPT)
        raise
    finally:
        if not all_shown():
            sys.exit(USER)


def _words(arguments: Sequence[str]) -> list[str]:
    """Return the command and what follows it, without the program's own options before it."""
    words = list(arguments)
    while words and words[0].startswith("-"):
        words = words[2 if words[0] == "-C" else 1 :]
    return words


def _as_interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
