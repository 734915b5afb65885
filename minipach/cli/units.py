"""The option `--unit` of commands that run for long: print a user unit of systemd that runs this command."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from minipach.cli.common import show_exactly

UNIT = Annotated[bool, typer.Option("--unit", help="Print a systemd user unit that runs this command, and exit.")]


def show_unit(context: typer.Context, root: Path, *, kill_children: bool) -> None:
    """Print the unit of this command with the options that were given.

    Args:
        context: The command's context.
        root: The project, or the folder that the command works in.
        kill_children: Whether stopping the unit also ends what the command has started.
    """
    from minipach.git.child_environment import user_path
    from minipach.support.systemd import user_unit

    words = context.command_path.split()[1:]  # of a group, too: `services run`
    name = " ".join(words)
    unit = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"minipach-{name}-{root.name}").strip("-") + ".service"
    header = (
        f"Save this as ~/.config/systemd/user/{unit}, then:\n"
        f"systemctl --user daemon-reload && systemctl --user enable --now {unit}\n"
        "To run it without a login: loginctl enable-linger\n"
        f"Log: journalctl --user -u {unit}"
    )
    command = [sys.executable, "-P", "-m", "minipach", "-C", str(root), *words, *_given(context)]
    path = {"PATH": user_path()}
    show_exactly(user_unit(f"minipach {name} in {root}", command, path, kill_children=kill_children, header=header))


def _given(context: typer.Context) -> Iterator[str]:
    """Yield the options that were given on the command line, as a command line has them."""
    for parameter in context.command.params:
        key = parameter.name or ""
        source = context.get_parameter_source(key)
        if key == "unit" or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[key]
        if parameter.param_type_name == "argument":
            yield from map(str, value if isinstance(value, list | tuple) else [value])
            continue
        option = max(parameter.opts, key=len)
        if isinstance(value, bool):
            yield option if value else parameter.secondary_opts[0]
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            yield f"{option}={os.fspath(one) if isinstance(one, Path) else one}"
