"""The program and the script that a command names, and whether they are where they are looked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from minipach.git.child_environment import user_path
from minipach.model.pipeline import Pipeline
from minipach.model.repo_layout import CODE
from minipach.support.errors import Problem
from minipach.support.text import quoted

_FIRST = 256  # bytes of a script in which its first line is looked for, as the system does
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
_INTERPRETERS = _SHELLS | {"python", "python3", "Rscript", "perl", "ruby", "node", "julia", "octave", "lua", "php"}
_INLINE = {"python": ("-c", "-m"), "python3": ("-c", "-m"), "perl": ("-e", "-E"), "ruby": ("-e",), "php": ("-r",)}
_INLINE |= {"node": ("-e", "-p"), "julia": ("-e", "-E"), "Rscript": ("-e",), "lua": ("-e",), "octave": ("--eval",)}


def script_of(cmd: Sequence[str]) -> str | None:
    """Return the script that a command runs by a relative path; None if it names none.

    That is the program itself, if its path is relative, or the first argument of an interpreter that is no option.
    """
    if not cmd or any("{" in word for word in cmd[:1]):
        return None
    if "/" in cmd[0]:
        return None if cmd[0].startswith("/") else cmd[0]
    if cmd[0] not in _INTERPRETERS:
        return None
    for word in cmd[1:]:
        if word.startswith("-"):
            inline = "c" in word if cmd[0] in _SHELLS and not word.startswith("--") else word in _INLINE.get(cmd[0], ())
            if inline or word == "-":
                return None
            continue
        return None if word.startswith("/") or "{" in word else word
    return None


def absent_script(pipeline: Pipeline, has: Callable[[str], bool]) -> str | None:
    """Return the script of a pipeline's command that its repo lacks; None if it is there, or elsewhere.

    Args:
        pipeline: The pipeline.
        has: Whether its repo has a file at this path.
    """
    transform = pipeline.transform
    script = script_of(transform.cmd)
    if script is None or transform.working_dir or (transform.image is not None and not has(CODE)):
        return None  # it is looked for in the image
    path = os.path.normpath(script)
    return None if path.startswith("..") or has(path) else script


def command_problems(pipeline: Pipeline, has: Callable[[str], bool], folder: Path | None = None) -> Iterator[Problem]:
    """Yield what a command names that is neither in the repo nor, without an image, on this host.

    Args:
        pipeline: The pipeline.
        has: Whether its repo has a file at this path.
        folder: The pipeline's working tree, if what is in it counts.
    """
    at, cmd = pipeline.at("transform.cmd"), pipeline.transform.cmd
    if script := absent_script(pipeline, has):
        yield Problem(
            "command.no-such-script", at, f"{script} is not in the pipeline's repo", "add it, or correct the path"
        )
    elif folder is not None and cmd and cmd[0] == script_of(cmd) and not pipeline.transform.working_dir:
        yield from _not_runnable(folder, at, cmd[0], on_host=pipeline.transform.image is None)
    if pipeline.transform.image is not None or not cmd or "{" in cmd[0]:
        return
    program = cmd[0]
    if "/" not in program and shutil.which(program, path=user_path()) is None:
        yield Problem(
            "command.no-such-program",
            at,
            f'program "{program}" is not on the PATH of this host',
            "install it, or name an image that has it",
        )
    if program.startswith("/") and not program.startswith("/pfs/") and shutil.which(program) is None:
        yield Problem(
            "command.no-such-program",
            at,
            f"{program} is not a program of this host",
            "correct the path, or name an image that has it",
        )


def _not_runnable(folder: Path, at: str, name: str, *, on_host: bool) -> Iterator[Problem]:
    """Yield why a script that is a command itself can't be started. on_host: not in an image."""
    file = folder / name
    if not file.is_file():
        return  # in the image, or its content is not here
    if file.is_symlink() and "/annex/objects/" in os.readlink(
        file
    ):  # its content may be executable, in this annex alone
        fix = f"git -C {quoted(folder)} annex unlock {quoted(name)}, and commit that"
        yield Problem(
            "command.not-executable", at, f"{name} is annexed and locked, so git keeps no executable bit", fix
        )
    elif not os.access(file, os.X_OK):
        fix = f"chmod +x {quoted(file)}, or name its interpreter in `cmd`"
        yield Problem("command.not-executable", at, f"{name} is not executable", fix)
    with file.open("rb") as stream:
        first = stream.read(_FIRST).partition(b"\n")[0]
    words = os.fsdecode(first[2:]).split() if first.startswith(b"#!") else []
    if words and first.endswith(b"\r"):
        message = f"the first line of {name} ends with a carriage return, which the system takes for part of a name"
        yield Problem("command.no-such-interpreter", at, message, "save it with the line ends of Unix")
    elif on_host and words and words[0].startswith("/") and not os.access(words[0], os.X_OK):
        message = f"{name} needs the interpreter {words[0]}, which is not on this host"
        yield Problem(
            "command.no-such-interpreter", at, message, "correct its first line, or name an image that has it"
        )
