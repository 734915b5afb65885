"""Help in plain text, and errors of a command line in one line.

Commands are listed in sections, each with its whole summary, and arguments by their names alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from minipach.cli.common import USER, report
from minipach.support.errors import Problem

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

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, the one for help included."""
        return _quick(super().get_params(ctx))

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the arguments. A wrong one is reported in a line."""
        with _reported(_path(parent, info_name), args):
            return super().make_context(info_name, args, parent, **extra)

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

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, the one for help included."""
        return _quick(super().get_params(ctx))

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the options before the command. A wrong one is reported in a line."""
        with _reported(_path(parent, info_name), args):
            return super().make_context(info_name, args, parent, **extra)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command. An unknown one is reported in a line."""
        with _reported(ctx.command_path, args):
            return super().resolve_command(ctx, args)

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


def _quick(parameters: Any) -> Any:
    """Have parameters take plain values as they are. To convert them, typer (since 0.26) imports pydantic."""
    for parameter in parameters:
        if hasattr(parameter, "type_descriptor") and "process_value" not in vars(parameter):
            parameter.process_value = functools.partial(_value, parameter, parameter.process_value)
    return parameters


def _value(parameter: Any, convert: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    """Return the value of a parameter. typer converts the others, and reports a missing one."""
    kind, info = parameter.type_descriptor.annotation, parameter.type_descriptor.parameter_info
    several = parameter.nargs == -1 or parameter.multiple
    if value is None and not parameter.required:
        plain: Any = () if several else None
    elif info.parser is not None:
        return convert(context, value)
    elif kind is str and isinstance(value, str):
        plain = value
    elif kind == list[str] and several and value and not isinstance(value, str):
        plain = list(value)
    elif kind is Path and isinstance(value, Path):  # the default
        plain = value
    elif kind is int and isinstance(value, str) and _is_in_range(value, info):
        plain = int(value)
    else:
        return convert(context, value)
    return plain if parameter.callback is None else parameter.callback(context, parameter, plain)


def _is_in_range(text: str, info: Any) -> bool:
    """Return whether a text is a plain number that an option takes."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return False
    return (info.min is None or info.min <= int(text)) and (info.max is None or int(text) <= info.max)


def _path(parent: Any, name: str | None) -> str:
    return f"{parent.command_path} {name}" if parent is not None else str(name)


@contextmanager
def _reported(command: str, arguments: Sequence[str]) -> Iterator[None]:
    """Report an error of the command line in a line, and leave with the exit code for errors of the user."""
    as_json = "--json" in arguments
    try:
        yield
    except Exception as error:
        # the class of these errors is typer's own since 0.26, and was click's before
        text = getattr(error, "format_message", None)
        if text is None or type(error).__name__ == "NoArgsIsHelpError":
            raise
        message = re.sub(r"\. Did you mean (.+)\?$", r" (similar: \1)", text().rstrip("."))
        message = re.sub(r"[.:]\s*\n\s*", ": ", message)  # choices stand in lines of their own
        message = re.sub(r"\s*\n\s*", " ", message)
        message = message.replace(": Value error, ", ": ")  # pydantic's word, which says nothing to people
        problem = Problem("option.not-understood", command, message[:1].lower() + message[1:], f"see {command} --help")
        report([problem], as_json=as_json)
        raise typer.Exit(USER) from None


def _arguments(command: TyperCommand) -> list[Any]:
    return [parameter for parameter in command.params if parameter.param_type_name == "argument"]


def _usage(argument: Any) -> str:
    name = str(argument.metavar)
    if name.startswith("["):
        return name  # says itself what may be left out
    return (name if argument.required else f"[{name}]") + ("..." if argument.nargs != 1 else "")


def _row(argument: Any) -> tuple[str, str]:
    return str(argument.metavar), argument.help or ""
