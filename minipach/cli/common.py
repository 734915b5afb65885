"""Shared parts of all commands: the project's folder, exit codes of errors, printed JSON."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import typer

from minipach.git.git_error import GitError
from minipach.git.repo import explain_identity
from minipach.project.parameters import uncommitted_parameters
from minipach.project.permissions import SeenFolder
from minipach.project.project import Project, find_project
from minipach.support import messages
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.messages import draw
from minipach.support.streams import lead_nowhere
from minipach.support.text import NAMED, colours_only, printable

if TYPE_CHECKING:
    from minipach.planning.clock_states import ClockView

P = ParamSpec("P")
R = TypeVar("R")

OK, FAILED, USER, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 130
INTERRUPT = "interrupted; the same command continues from here"
_reader_has_left = False
_PAINTED = re.compile(r"(\x1b\[[0-9]{1,2}m)")  # as `paint` makes them; in a name they can do no more than colour


class ReaderLeft(Exception):
    """Nobody reads what a command prints that does nothing else."""


@dataclass(frozen=True)
class Here:
    """The folder of the command (`-C DIR`). at_start: the same as it was when the command started."""

    directory: Path
    at_start: SeenFolder | None = None

    def project(self) -> Project:
        """Return the project around this folder."""
        return find_project(self.directory)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn trouble into one clear line per problem on stderr and the documented exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except typer.Exit:
            raise
        except UserError as error:
            report(error.problems, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(USER) from None
        except KeyboardInterrupt:
            say(INTERRUPT)
            raise typer.Exit(INTERRUPTED) from None
        except ReaderLeft:
            raise typer.Exit(OK) from None
        except (GitError, OSError, sqlite3.Error) as error:
            found = _explained(error, kwargs.get("context"))
            if found is None:
                messages.say_all(f"minipach: {error}")
            else:
                report([found], as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(USER) from None
        except Exception as error:
            refused = _of_engine(error, kwargs.get("context"))
            if refused is None:
                raise
            report([refused], as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(USER) from None

    return wrapper


def report(problems: Sequence[Problem], *, as_json: bool) -> None:
    """Print problems on stderr, a line each; as JSON on stdout, too."""
    for problem in problems:
        say(str(problem))
    if as_json:
        show_json({"schema": 1, "problems": problems_json(problems)})


def _of_engine(error: Exception, context: object) -> Problem | None:
    """Return the problem that an error of an executor is about; None: it is none."""
    from minipach.executors.registry import explain

    here = getattr(context, "obj", None)
    if not isinstance(here, Here):
        return None
    try:
        return explain(here.project(), error)
    except UserError:  # a worker with clones of its own is in no project
        return None


def _explained(error: Exception, context: object) -> Problem | None:
    """Return the problem where a disk is full, a place may not be written, or git knows no name; None: none of them."""
    from minipach.project.disk_full import explain as no_space
    from minipach.project.disk_full import places_of_project
    from minipach.project.permissions import explain as no_access

    if nameless := explain_identity(error):
        return nameless
    here = getattr(context, "obj", None)
    if not isinstance(here, Here):
        return None
    if here.at_start is not None and (moved := here.at_start.moved()):
        return moved
    try:
        project = here.project()
    except (UserError, GitError, OSError):
        return no_access(error, None)
    if denied := no_access(error, project.root):
        return denied
    try:
        full = no_space(error, places_of_project(project))
    except (UserError, GitError, OSError):  # then what was to be said first
        return None
    return full.problem if full else None


def need_place(file: Path) -> Path:
    """Return a file that is to be written. UserError if its folder is not there."""
    if not file.parent.is_dir():
        raise UserError(Problem("option.no-folder", str(file), "its folder is not there", "make it, or name another"))
    return file


def all_shown() -> bool:
    """Return whether stdout took what was printed so far. If not, that is said, and the rest of it goes nowhere."""
    try:
        _put("", flush=True)
    except UserError as error:
        say(str(error))
        return False
    return True


def _put(text: str, *, flush: bool = False) -> None:
    """Print text on stdout, or nowhere if nobody reads it any more. UserError: it can't be written."""
    try:
        sys.stdout.write(text)
        if flush:
            sys.stdout.flush()
    except BrokenPipeError:  # `minipach plan | head`: what the command has to do is done all the same
        reader_left()
    except OSError as error:
        reader_left()
        raise UserError(
            Problem(
                "output.unwritable", "stdout", f"cannot write to standard output: {error.strerror}", "send it elsewhere"
            )
        ) from None


def reader_left() -> None:
    """Discard the rest of what is printed on stdout."""
    global _reader_has_left  # noqa: PLW0603
    _reader_has_left = True
    lead_nowhere(sys.stdout)


def flush_to_reader() -> None:
    """Flush stdout, so that a reader of the pipe sees each line at once. Raises ReaderLeft if the reader is gone."""
    _put("", flush=True)
    if _reader_has_left:
        raise ReaderLeft


def say(message: str) -> None:
    """Print a line for people on stderr, its control characters as escapes."""
    messages.say(message)


def leave_with(problems: Iterable[Problem]) -> None:
    """Say what is wrong, if anything is, and leave with exit code 2: for a command that has shown its result."""
    for problem in (found := tuple(problems)):
        say(str(problem))
    if found:
        raise typer.Exit(USER)


def say_layout(project: Project, *, committed: bool = True) -> None:
    """Say which repos may be pipelines, though they don't count as such: they aren't installed, or have no spec.yml."""
    from minipach.project.problems import misplaced_specs

    _say_not_installed(project)
    for line in (*project.former_pipelines(), *misplaced_specs(project)):
        say(str(line))
    if committed and (note := uncommitted_parameters(project.root, project.repo)):
        say(str(note))


def say_used(project: Project, name: str, *, committed: bool) -> None:
    """Say which uncommitted content of a pipeline is used, and which of its inputs is left out."""
    from minipach.project.uncommitted import remarks, uncommitted
    from minipach.rerun.working_tree import notice, working_project

    path = project.path_of(name)
    if not committed and (line := notice(project, path)):
        say(line)
    needs = (project if committed else working_project(project, [path])).needs(path)
    for line in remarks(project, uncommitted(project, dict.fromkeys(need.repo for need in needs))):
        say(line)


def _say_not_installed(project: Project) -> None:
    """Say what is not installed: without this line, a fresh clone looks as if it had no pipelines."""
    away = [path for path in project.not_installed if (project.root / path).is_dir()]
    for path in sorted(set(project.not_installed) - set(away))[:NAMED]:  # not even its folder is there
        fix = f"remove it: git -C {shlex.quote(str(project.root))} rm {shlex.quote(path)}, and commit"
        say(str(Problem("repo.deleted", path, "deleted here, but registered in the project", fix)))
    if not away:
        return
    many = len(away) > NAMED
    names = ", ".join(away[:NAMED]) + (f" and {len(away) - NAMED} more" if many else "")
    here = "" if Path.cwd() == project.root else f" -C {shlex.quote(str(project.root))}"
    what = "-r -R 1 ." if many else shlex.join(away)
    say(
        str(
            Problem(
                "repo.not-installed",
                names,
                "not installed here (perhaps pipelines)",
                f"datalad{here} get -n {what}",
            )
        )
    )


def show(text: str = "") -> None:
    """Print a line of the result for people on stdout; escape what cannot be shown, except our own colours."""
    pieces = _PAINTED.split(text) if colours(sys.stdout) else [text]
    _put("".join(piece if at % 2 else printable(piece) for at, piece in enumerate(pieces)) + "\n")


def show_exactly(text: str) -> None:
    """Print text unchanged on stdout: a file format."""
    _put(text.encode("utf-8", "backslashreplace").decode() + "\n")


def show_output(text: str, *, raw: bool = False) -> None:
    """Print what a command has printed: on a terminal (unless `raw`) its colours, and other controls as escapes."""
    show_exactly(text if raw or not sys.stdout.isatty() else colours_only(text))


def show_json(data: Any) -> None:
    """Print the result as JSON on stdout."""
    _put(json.dumps(data, indent=1 if sys.stdout.isatty() else None, ensure_ascii=True) + "\n")


def can_redraw(stream: Any) -> bool:
    """Return whether what a stream shows can be drawn over: on a terminal that is more than a printer."""
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


class Note:
    """A line on the terminal for the time until there is more to show. Elsewhere it is not shown."""

    def __init__(self, text: str) -> None:
        self._shown = colours(sys.stderr)
        if self._shown:
            draw(f"{text} ...")

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._shown = False
            draw("\r\x1b[K")


def colours(stream: Any) -> bool:
    """Return whether colours may be used on a stream (https://no-color.org)."""
    return can_redraw(stream) and not os.environ.get("NO_COLOR")


def paint(text: str, code: str) -> str:
    """Return `text` in a colour (an SGR code such as 31), where stdout shows colours."""
    return f"\x1b[{code}m{text}\x1b[0m" if colours(sys.stdout) else text


def clocks_of(project: Project, paths: Iterable[str]) -> list[ClockView]:
    """Return the clocks of these pipelines as they stand now. Where there are none, nothing is imported for them."""
    chosen = [path for path in paths if path in project.pipelines and project.pipelines[path].clocks()]
    if not chosen:
        return []
    from minipach.planning.clock_states import clock_views

    return clock_views(project, int(time.time()), chosen)


def say_paused(project: Project, paths: Iterable[str]) -> dict[str, str]:
    """Say which of these pipelines are paused. Return their names, each with the command that resumes it."""
    from minipach.project.pauses import paused

    waits = paused(project)
    found = {project.name_of(path): waits[path] for path in paths if path in waits}
    for name, resume in found.items():
        say(f"{name}: paused: passes that start by themselves leave it out; {resume}")
    return found
