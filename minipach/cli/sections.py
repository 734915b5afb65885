"""Help in plain text: commands in sections, each with its whole summary; arguments by their names alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

PROJECT = "Project"
WRITE = "Write pipelines"
RUN = "Run"
LOOK = "Look"
SHARE = "Share results"
WORKERS = "Workers"
ORDER = (PROJECT, WRITE, RUN, LOOK, SHARE, WORKERS)
OTHERS = "Commands"  # of a group of commands that has no sections

_UNCUT = 10_000  # characters of a summary: more than any has


class Command(TyperCommand):
    """A command whose arguments are shown as people type them, without Python's types."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what follows the command's name in its usage line."""
        return ["[OPTIONS]", *map(_usage, _arguments(self))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options with their help."""
        if arguments := [_row(argument) for argument in _arguments(self)]:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        options = [p.get_help_record(ctx) for p in self.get_params(ctx) if p.param_type_name == "option"]
        with formatter.section("Options"):
            formatter.write_dl([row for row in options if row is not None])


class Group(TyperGroup):
    """A group of commands, listed in the sections that the commands name (`rich_help_panel`)."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in their sections."""
        sections = commands_by_section(self)
        width = max(len(name) for rows in sections.values() for name, _ in rows)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:{width}}", text) for name, text in rows])


def add(app: typer.Typer, section: str, *commands: Callable[..., Any], name: str | None = None) -> None:
    """Add commands to a section of an app's help."""
    for command in commands:
        app.command(name, cls=Command, rich_help_panel=section)(command)


def commands_by_section(group: Any) -> dict[str, list[tuple[str, str]]]:
    """Return the names and summaries of a group's visible commands by section, in the order of the help."""
    found: dict[str, list[tuple[str, str]]] = {title: [] for title in (*ORDER, OTHERS)}
    for name, command in group.commands.items():
        if not command.hidden:
            panel = command.rich_help_panel
            title = panel if isinstance(panel, str) else OTHERS
            found[title].append((name, command.get_short_help_str(_UNCUT)))
    return {title: rows for title, rows in found.items() if rows}


def _arguments(command: TyperCommand) -> list[Any]:
    return [parameter for parameter in command.params if parameter.param_type_name == "argument"]


def _usage(argument: Any) -> str:
    name = str(argument.metavar)
    if name.startswith("["):
        return name  # says itself what may be left out
    return (name if argument.required else f"[{name}]") + ("..." if argument.nargs != 1 else "")


def _row(argument: Any) -> tuple[str, str]:
    return str(argument.metavar), argument.help or ""
