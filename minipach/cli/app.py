"""All commands together: `minipach [-C DIR] COMMAND`. Each family of commands is a module, imported when needed."""

from __future__ import annotations

import functools
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from minipach import __version__
from minipach.cli import pachctl
from minipach.cli.common import INTERRUPT, USER, Here, all_shown, say
from minipach.cli.sections import Group
from minipach.git.settings import drop_variables
from minipach.project.permissions import SeenFolder
from minipach.support.messages import show_log

# The modules in the order of the help, and the commands that each registers.
MODULES: dict[str, tuple[str, ...]] = {
    "project": ("init", "doctor", "completion", "lock", "accept", "exclude"),
    "new": ("new",),
    "adopt": ("adopt",),
    "templates": ("templates",),
    "buckets": ("input",),
    "contents": ("get", "drop"),
    "egress": ("egress",),
    "erase": ("erase",),
    "spec": ("check", "schema", "datums"),
    "image": ("image",),
    "run_one": ("run-one", "shell"),
    "plan": ("plan",),
    "schedule": ("schedule", "go-on"),
    "exp": ("exp",),
    "cron": ("cron",),
    "export": ("export",),
    "triggers": ("pause", "resume", "hooks", "triggers"),
    "watch": ("watch", "save-files"),
    "serve": ("serve",),
    "services": ("services",),
    "alerts": ("alerts",),
    "jobs": ("retry", "wait", "cancel", "jobs", "job", "top", "usage"),
    "logs": ("logs",),
    "status": ("status",),
    "inspect": ("dag", "diff", "audit"),
    "explain": ("explain",),
    "report": ("report",),
    "ui": ("ui",),
    "results": ("results",),
    "space": ("du", "gc"),
    "store": ("store",),
    "push": ("sync", "push", "pull"),
    "ci": ("ci",),
    "worker": ("worker", "up", "down"),
}
_MODULE_OF = {command: module for module, commands in MODULES.items() for command in commands}


class Program(Group):
    """The program. It imports the module of the command that runs, and all modules for its help."""

    @property
    def commands(self) -> Any:
        """All commands."""
        return registered(*MODULES)

    @commands.setter
    def commands(self, none: Any) -> None:
        """Take none: they are in the modules."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name."""
        module = _MODULE_OF.get(cmd_name)
        return registered(module)[cmd_name] if module else None


@functools.cache
def registered(*modules: str) -> dict[str, Any]:
    """Return the commands that modules register, by their names."""
    part = typer.Typer(callback=lambda: None, rich_markup_mode=None, pretty_exceptions_enable=False)
    for name in modules:
        importlib.import_module(f"minipach.cli.{name}").register(part)
    group: Any = typer.main.get_group(part)
    commands: dict[str, Any] = group.commands
    return commands


app = typer.Typer(
    name="minipach",
    cls=Program,
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
    context.obj = Here(directory, SeenFolder.now(directory))


def main() -> None:
    """Run the program. Raises SystemExit with its exit code."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):  # who reads a pipe sees a line when it is printed, not at the end
        sys.stdout.reconfigure(line_buffering=True)
    show_log()
    drop_variables(os.environ)
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
