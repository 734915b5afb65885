"""The settings of a Makefile for its recipes: shell, exported variables. Read from the text; pure.

A setting is carried over where its value follows from the text alone. All others are listed.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

# possessive: a line of many spaces is read once
_SHELL_LINE = re.compile(
    r"^(?:[^\t#\n][^\n=]*?:[ \t]*+)?[ ]*+(?:(?:override|export)[ \t]++)*+(SHELL|\.SHELLFLAGS)[ \t]*+[:?+]{0,3}=(.*)$",
    re.MULTILINE,
)
_EXACT_SHELL = re.compile(r"^(SHELL|\.SHELLFLAGS)[ \t]*+(?::{0,2})=[ \t]*+([^$#\\\n]+)$", re.MULTILINE)
_EXPORT_LINE = re.compile(
    r"^(?:[^\t#\n][^\n=]*?:[ \t]*+|[ ]*+)export\b(?![ \t]*+[:?+]{0,3}=)([^\n=:?+#]*)", re.MULTILINE
)
_GLOBAL_EXPORT = re.compile(r"^export[ \t]+([\w \t]+?)[ \t]*(?:(?::{0,2})=.*)?$", re.MULTILINE | re.ASCII)
_ASSIGNMENT = re.compile(r"^(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*+(:{0,2}=)[ \t]*+(.*)$", re.MULTILINE | re.ASCII)
_REFERENCE = re.compile(r"\$(?:\$|\((\w+)\)|\{(\w+)\}|)", re.ASCII)
# with these, a line of the text may not be what make does
_DEPENDS = re.compile(
    r"^[ ]*(?:-?include|sinclude|ifn?eq|ifn?def|else|endif|define|unexport|load)\b|\$[({]eval\b", re.MULTILINE
)
_SHELLS = frozenset({"sh", "bash", "dash", "ksh", "zsh"})
_PLAIN_SHELLS = {("SHELL", "/bin/sh"), ("SHELL", "sh"), (".SHELLFLAGS", "-c")}
_OF_THE_SCRIPT = frozenset({"SHELL", "PFS", "STEM", "here", "work", "file"})
# make gives these to commands with the value of the Makefile, without `export`
_INHERITED = re.compile(
    r"^[ ]*(?:override[ \t]+)?(PATH|HOME|LANG|LC_ALL|TMPDIR|LD_LIBRARY_PATH|PYTHONPATH)[ \t]*[:?+]{0,3}=", re.MULTILINE
)
_ANY_ASSIGNMENT = re.compile(r"^[^\t#\n=]*?([A-Za-z_]\w*)[ \t]*+[:?+!]{0,3}=", re.MULTILINE | re.ASCII)
_MOST = 20  # variables that name each other
_LONGEST = 10_000  # characters of a value


@dataclass(frozen=True, slots=True)
class MakeSettings:
    """The settings of a Makefile.

    Args:
        shell: The words before a command, such as `bash -eu -c`; empty for `sh -c`.
        exports: Variables that the commands get, with their values.
        left_out: The parts that are not carried over, a line each.
    """

    shell: tuple[str, ...] = ()
    exports: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()


def make_settings(text: str) -> MakeSettings:
    """Return the settings of a Makefile.

    Args:
        text: The Makefile.
    """
    is_exact = _DEPENDS.search(text) is None
    shell = _shell(text) if is_exact else None
    left_out = []
    if shell is None:
        for name, value in _SHELL_LINE.findall(text):
            if (name, value.strip()) not in _PLAIN_SHELLS:
                left_out.append(f"{name} = {value.strip()}: sh runs the commands; name another shell in code/run.sh")
    exports = dict(_exports(text)) if is_exact else {}
    for line in _EXPORT_LINE.finditer(text):
        names = line[1].split()
        if not names or not line[0].startswith("export") or not set(names) <= set(exports):
            said = f"export {' '.join(names)}".rstrip()
            left_out.append(f"{said}: the commands do not get it; set it in transform.env")
    if re.search(r"^\.EXPORT_ALL_VARIABLES[ \t]*:", text, re.MULTILINE):
        left_out.append(".EXPORT_ALL_VARIABLES: the commands do not get them; set what they need in transform.env")
    left_out += [
        f"{name}: the commands get the one of their environment; set it in transform.env"
        for name in _INHERITED.findall(text)
        if name not in exports
    ]
    if re.search(r"^\.IGNORE[ \t]*:", text, re.MULTILINE):
        left_out.append(".IGNORE: a command that fails ends the datum")
    return MakeSettings(shell or (), tuple(exports.items()), tuple(dict.fromkeys(left_out)))


def _shell(text: str) -> tuple[str, ...] | None:
    """Return the words of the shell, none for `sh -c`; None if they do not follow from the text."""
    found = dict(_EXACT_SHELL.findall(text))
    if len(_SHELL_LINE.findall(text)) != len(found):
        return None
    is_posix = re.search(r"^\.POSIX[ \t]*:", text, re.MULTILINE) is not None
    program = found.get("SHELL", "/bin/sh").strip()
    try:
        flags = shlex.split(found.get(".SHELLFLAGS", "-ec" if is_posix else "-c"))
    except ValueError:
        return None
    # make treats recipes for other programs in another way
    if not re.fullmatch(r"[\w./+-]+", program) or program.rsplit("/", 1)[-1] not in _SHELLS:
        return None
    if not flags or not re.fullmatch(r"-[a-z]*c", flags[-1]):
        return None
    return () if program in ("/bin/sh", "sh") and flags == ["-c"] else (program, *flags)


def _exports(text: str) -> Iterator[tuple[str, str]]:
    """Yield the variables that are exported to all recipes, and have one value that follows from the text."""
    variables = _Variables(text)
    for line in _GLOBAL_EXPORT.finditer(text):
        for name in line[1].split():
            value = variables.value(name, len(text)) if name not in _OF_THE_SCRIPT else None
            if value is not None:
                yield name, value


class _Variables:
    """The variables of a Makefile that has neither conditions nor includes."""

    def __init__(self, text: str) -> None:
        self._assigned = {hit[1]: (hit.start(), hit[2], hit[3]) for hit in _ASSIGNMENT.finditer(text)}
        self._often = Counter(_ANY_ASSIGNMENT.findall(text))
        self._values: dict[tuple[str, int], str | None] = {}

    def value(self, name: str, at: int, depth: int = 0) -> str | None:
        """Return the value of a variable at a place in the text; None if it does not follow from the text."""
        if depth > _MOST or self._often[name] != 1 or name not in self._assigned:
            return None
        if (name, at) not in self._values:
            self._values[name, at] = None  # a variable that names itself has no value
            self._values[name, at] = self._expanded(name, at, depth)
        return self._values[name, at]

    def _expanded(self, name: str, at: int, depth: int) -> str | None:
        begin, sign, written = self._assigned[name]
        if begin >= at or "#" in written or "\\" in written:
            return None
        when = at if sign == "=" else begin
        parts: list[str] = []
        end = 0
        for hit in _REFERENCE.finditer(written):
            other = hit[1] or hit[2]
            part = "$" if hit[0] == "$$" else self.value(other, when, depth + 1) if other else None
            if part is None:
                return None
            parts += [written[end : hit.start()], part]
            end = hit.end()
        found = "".join([*parts, written[end:]])
        return found if len(found) <= _LONGEST else None
