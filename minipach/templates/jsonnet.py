"""A jsonnet template of a spec. A child with limits of time and memory evaluates it; it reads its own folder only."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.support.errors import Problem, UserError
from minipach.support.text import printable
from minipach.templates.sandbox import run_limited

_ASK = Path(__file__).with_name("ask_jsonnet.py")
_MARK = "minipach-jsonnet:"
_SECONDS = 10
_MEMORY = 1_500_000_000  # bytes of addresses
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_AT = r"([^\t\n]*?):\(?(\d+):(\d+)\)?(?:-\(?[\d:]+\)?)?"  # of one line `x:1:2-3`, of several `x:(1:2)-(3:4)`
_POSITION = re.compile(rf"^(?:RUNTIME ERROR|STATIC ERROR): (?:{_AT}: )?(.*)")
_ERRORS = [
    (re.compile(rf"^{pattern}"), words, fix)
    for pattern, words, fix in (
        (r"unexpected: (.*) while parsing terminal", r"\1 where a value is expected", "write a value, or leave it out"),
        (r"unexpected: end of file.*", "the end of the file is too early", "close what is open"),
        (r"(?:expected|Expected) a comma before next (.*)", r"no comma before the next \1", "add a comma or a bracket"),
        (r"unterminated string", "a string that is not closed", "close the quote"),
        (
            r"unknown variable: (.*)|Unknown variable: (.*)",
            r'unknown variable "\1\2"',
            "define it, or put it in quotes",
        ),
        (r"undefined external variable: (.*)", r'external variable "\1"', "make it a parameter: function(x) {...}"),
        (r"function parameter (.*) not bound.*", r'no value for the parameter "\1"', "give it: --arg KEY=VALUE"),
        (r'couldn\'t open import "(.*?)": \[Errno 2\].*', r'the import "\1" does not exist', "add the file"),
        (r"not UTF-8 text", "not UTF-8 text", "save it as UTF-8"),
        (r"field does not exist: (.*)", r'no field "\1"', "define it"),
    )
]
_TRACE = re.compile(rf"^\t{_AT}", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Rendering:
    """The spec that a template makes.

    Args:
        text: The spec as JSON.
        arguments: The arguments of the template.
        own: The SHA-256 of the template.
        imports: The SHA-256 of each file that it imports, by its path from the folder of the template.
    """

    text: str
    arguments: Mapping[str, str]
    own: str
    imports: Mapping[str, str]


def evaluated(file: Path, arguments: Sequence[str]) -> Rendering:
    """Return the spec that a template makes, and what it was made of.

    Args:
        file: The template.
        arguments: Its arguments, `KEY=VALUE` each. Values are text, as with `pachctl create pipeline --arg`.

    Raises:
        UserError: The template has an error, does not end, or imports a file outside of its folder.
    """
    for word in arguments:
        check_argument(word)
    folder = Path(os.path.realpath(file.parent))
    command = [sys.executable, "-I", "-B", "-c", _ASK.read_text(), str(file), str(folder), *arguments]
    answer = run_limited(command, folder=folder, place=str(file), seconds=_SECONDS, memory=_MEMORY, called="jsonnet")
    lines = [line for line in answer.out.splitlines() if line.startswith(_MARK)]
    if not lines:
        message = f"no value within {_SECONDS} s and {_MEMORY / 1e9:.1f} GB"
        raise UserError(Problem("new.no-answer", str(file), message, "look for a loop in the template"))
    found = json.loads(lines[-1][len(_MARK) :])
    if found.get("missing"):
        fix = "pip install 'minipach[jsonnet]'"
        raise UserError(Problem("new.no-program", str(file), "jsonnet is needed to read it, and is missing", fix))
    if "error" in found:
        raise UserError(_problem(file, str(found["error"])))
    value = found["value"]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        what = f"{len(value)} specs" if isinstance(value, list) else "no object"
        raise UserError(Problem("new.no-spec", str(file), f"the template makes {what}", "let it make one spec"))
    given = dict(word.split("=", 1) for word in arguments)
    return Rendering(json.dumps(value), given, str(found["own"]), dict(found["files"]))


def check_argument(word: str) -> None:
    """Check an argument of a template, `KEY=VALUE`. Raises UserError."""
    if not _ARGUMENT.fullmatch(word) or "\0" in word:
        message = f'"{printable(word)[:60]}" is no KEY=VALUE'
        raise UserError(Problem("new.bad-argument", "--arg", message, "write --arg KEY=VALUE"))
    try:
        word.encode()
    except UnicodeEncodeError:
        message = f'"{printable(word)[:60]}" is not UTF-8, and jsonnet knows text only'
        raise UserError(Problem("new.bad-argument", "--arg", message, "write the value as UTF-8")) from None


def _problem(file: Path, said: str) -> Problem:
    first = printable(said.splitlines()[0] if said else "")[:300]
    hit = _POSITION.match(first)
    if hit is None:
        return Problem("new.bad-jsonnet", str(file), *_in_words(first))
    found = [hit] if hit[1] else _TRACE.finditer(said)
    places = (f"{name}:{at[2]}:{at[3]}" for at in found if (name := _named(file, at[1])))
    message, fix = _in_words(hit[4].rstrip("."))
    return Problem("new.bad-jsonnet", next(places, str(file)), message, fix)


def _in_words(said: str) -> tuple[str, str]:
    """Return an error of jsonnet in the words of minipach, and its fix."""
    for pattern, words, fix in _ERRORS:
        if hit := pattern.match(said):
            return hit.expand(words), fix
    return said, "check the template"


def _named(file: Path, there: str) -> str:
    """Return the template, or a file that it imports, as seen from where the template was named; "" for another."""
    if there == str(file):
        return there
    inside = os.path.relpath(there, os.path.realpath(file.parent))
    is_own = os.path.isabs(there) and not inside.startswith("..") and os.path.isfile(there)
    return printable(str(file.parent / inside)) if is_own else ""
