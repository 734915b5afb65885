"""A pipeline from a script: how it is started, and whether it knows of `/pfs`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from minipach.support.errors import Problem, UserError
from minipach.templates.draft import DraftFile

_BY_SUFFIX = {
    ".py": ["python3"],
    ".sh": ["sh"],
    ".bash": ["bash"],
    ".r": ["Rscript"],
    ".jl": ["julia"],
    ".pl": ["perl"],
    ".rb": ["ruby"],
    ".js": ["node"],
    ".m": ["octave"],
    ".lua": ["lua"],
}
_TAKES_ARGUMENTS = re.compile(
    rb"sys\.argv|argparse|click\.|typer\.|commandArgs|optparse|\bARGS\b|\$\{?[1-9@]|\$ARGV|process\.argv|getopts"
)
# how a script names an input: a variable of a shell, a word in quotes, a part of a path, a variable of its environment
_WAYS = (
    rb"""\$\{?%s(?![\w-])""",
    rb"""["'`]%s(?=["'`/])""",
    rb"""(?:[\w})]["']?|\+\s*["'])(?<!out)(?<!out["'])/%s(?![\w-])""",
    rb"""\benv\.%s(?![\w-])""",
)
MAX_SCRIPT = 1_000_000  # bytes

STARTER = """\
#!/bin/sh
# Each datum runs this: its input lies below /pfs/{name}, and what is written to /pfs/out is published.
# PFS is /pfs; without a container it is another folder.
set -eu
find "$PFS/{name}/" -type f | while IFS= read -r file; do
  wc -c < "$file" > "$PFS/out/$(basename "$file").bytes" # replace this line by your command
done
"""


def from_script(file: Path, inputs: Sequence[str]) -> tuple[list[str], list[str], tuple[DraftFile, ...]]:
    """Return the command that starts a script, what is a guess in it, and the script as a file of the pipeline.

    Args:
        file: The script.
        inputs: The names of the inputs, which are folders below `/pfs`.

    Raises:
        UserError: Neither the name nor the first line of the file says how it is run.
    """
    content = file.read_bytes()
    if len(content) > MAX_SCRIPT or b"\0" in content[:8192]:
        raise UserError(
            Problem("new.no-script", str(file), "no script", "put a program into an image, see minipach lock")
        )
    place = f"code/{file.name}"
    program = _interpreter(file, content)
    command = [*program, place]
    guesses = [f"{' '.join(program)} runs {file.name}; without an image it is the one on your PATH"]
    knows_output = b"/pfs" in content or b"PFS" in content
    knows_input = knows_output and _names_input(content, inputs)
    if not knows_input:
        if _TAKES_ARGUMENTS.search(content):
            words = " ".join([*map(shlex.quote, [*program, place]), *map(_path_of, inputs)])
            command = ["sh", "-c", f"exec {words}" + ("" if knows_output else ' "$PFS/out"')]
            then = "" if knows_output else ", then the output folder,"
            guesses.append(f"{file.name} takes the path of each input{then} as its arguments")
        elif not knows_output:
            names = ", ".join(f"/pfs/{name}" for name in inputs)
            guesses.append(f"{file.name} names no path below /pfs yet: it has to read {names} and write to /pfs/out")
    return command, guesses, (DraftFile(place, content, executable=True),)


def _names_input(content: bytes, inputs: Sequence[str]) -> bool:
    """Return whether a script names a folder of `/pfs` besides the output, or one of its inputs."""
    if re.search(rb"/pfs/(?!out\b)", content):
        return True
    names = (re.escape(name.encode()) for name in inputs)
    return any(re.search(way % name, content) for name in names for way in _WAYS)


def starter(name: str) -> tuple[list[str], list[str], tuple[DraftFile, ...]]:
    """Return a command that works and is to be replaced: it writes the size of each input file."""
    script = DraftFile("code/run.sh", STARTER.format(name=name).encode(), executable=True)
    return ["sh", "code/run.sh"], ["code/run.sh counts bytes; replace its command by yours"], (script,)


def _path_of(name: str) -> str:
    """Return what a shell replaces by the path of an input: its variable, where a shell can read one of this name."""
    return f'"${name}"' if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f'"$PFS/{name}"'


def _interpreter(file: Path, content: bytes) -> list[str]:
    first = content.split(b"\n", 1)[0]
    if first.startswith(b"#!"):
        words = first[2:].decode("utf-8", "replace").split()
        if words and PurePosixPath(words[0]).name == "env":
            words = [word for word in words[1:] if word != "-S" and "=" not in word]
        elif words:
            words[0] = PurePosixPath(words[0]).name
        if words:
            return words
    if found := _BY_SUFFIX.get(file.suffix.lower()):
        return found
    raise UserError(
        Problem(
            "new.no-interpreter",
            str(file),
            "what runs it is not known",
            "begin it with a line such as #!/usr/bin/env python3",
        )
    )
