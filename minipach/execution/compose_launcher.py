"""The composition of a launcher: one file of Python's standard library, made of the parts in `execution/launcher/`.

A part is a module that imports modules of the standard library and names of other parts, each at its top. A launcher
has the parts that are asked for, and those from which they import. Their imports become one list, and the rest is kept
as it is. Pure, but for reading the parts: the same parts give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

_PARTS = "minipach.execution.launcher"
_FIRST = "main"
_BEGIN = "begin.sh"
# To import these takes longer than a datum, and few need them.
_LATER = frozenset({"hashlib", "shlex", "shutil", "subprocess", "tempfile"})
_FROM_PART = rf"from {re.escape(_PARTS)}\.(?P<part>\w+) import (?:\([\w,\s]+\)|\w[\w, ]*)"
_IMPORT = re.compile(rf"(?:import (?P<module>\w+)|{_FROM_PART})\n")
_FUTURE = "from __future__ import annotations\n"
_WIDTH = 120
_CLASS = '''

class Later:
    """A module that is imported when it is used."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, attribute):
        globals()[self._name] = __import__(self._name)
        return getattr(globals()[self._name], attribute)


'''


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its docstring, the modules and parts that it imports, and the rest of its text."""

    name: str
    doc: str
    modules: tuple[str, ...]
    parts: tuple[str, ...]
    body: str


def compose(*more: str) -> bytes:
    """Return a launcher with these parts, beside those that every launcher has."""
    parts = list(_with_imported([*sorted(more), _FIRST]))
    modules = sorted({module for part in parts for module in part.modules})
    later = [module for module in modules if module in _LATER]
    lines = [_FUTURE, *(f"import {module}\n" for module in modules if module not in _LATER)]
    if later:
        names = ", ".join(later)
        lines += [_CLASS, f"{names} = map(Later, {tuple(later)!r})\n".replace("'", '"')]
    texts = [_text(_BEGIN), "\n", *lines, *("\n\n" + _head(part) + part.body for part in parts)]
    return "".join(texts).encode()


def part_names() -> list[str]:
    """Return the names of all parts."""
    names = (place.name for place in (resources.files(_PARTS)).iterdir())
    return sorted(name.removesuffix(".py") for name in names if name.endswith(".py") and name != "__init__.py")


@cache
def read_part(name: str) -> Part:
    """Read a part.

    Raises:
        ValueError: It begins otherwise than a part does.
    """
    found = re.match(rf'"""(?P<doc>.+?)"""\n+{_FUTURE}\n+', text := _text(f"{name}.py"), re.DOTALL)
    if found is None:
        raise ValueError(f"{name}.py: a part begins with a docstring, and: {_FUTURE}")
    modules, parts, at = [], [], found.end()
    while line := _IMPORT.match(text, at):
        at = line.end()
        if line["part"]:
            parts.append(line["part"])
        else:
            modules.append(line["module"])
        while text.startswith("\n", at):
            at += 1
    return Part(name, found["doc"].strip(), tuple(modules), tuple(parts), text[at:])


def _with_imported(names: list[str]) -> Iterator[Part]:
    """Return parts in an order in which each follows those from which it imports."""
    seen: set[str] = set()

    def below(name: str) -> Iterator[Part]:
        if name not in seen:
            seen.add(name)
            part = read_part(name)
            for other in part.parts:
                yield from below(other)
            yield part

    for name in names:
        yield from below(name)


def _head(part: Part) -> str:
    """Return a line with the name of a part, and what it is."""
    title = f"# --- {part.name}.py "
    return (
        title
        + "-" * (_WIDTH - len(title))
        + "\n"
        + "".join(f"# {row}".rstrip() + "\n" for row in part.doc.splitlines())
        + "\n\n"
    )


def _text(name: str) -> str:
    return (resources.files(_PARTS) / name).read_text("utf-8")
