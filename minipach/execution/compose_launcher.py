"""The composition of a launcher: one file of Python's standard library, made of the parts in `execution/launcher/`.

A part is a module that imports modules of the standard library and names of other parts, each at its top. A launcher
has the parts that are asked for, and those from which they import. Their imports become one list, and the rest is kept
as it is. Pure, but for reading the parts: the same parts give the same bytes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from minipach.execution.launcher.candidates import CANDIDATES

HOST = "host"
ANY_IMAGE = "any"
POD = "pod"
_OF_KIND = "an image of kind "
_HEAD = 10_000  # bytes of a launcher in which its head is
_PARTS = "minipach.execution.launcher"
_LAST = "main"
_BEGIN = "begin.sh"
# To import these takes longer than a datum, and few need them.
_LATER = frozenset({"hashlib", "json", "re", "shlex", "shutil", "subprocess", "tempfile"})
# The same functions without the enumerations of `signal`, which take longer to make than all else that is imported.
_QUICK = {
    "signal": """\
try:
    import _signal as signal  # it has numbers where `signal` has enumerations, and those take long to make
except ImportError:
    import signal
"""
}
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


@cache
def launcher(kind: str, *, loops: bool, pods: bool) -> bytes:
    """Return the launcher of a pipeline.

    kind: of its image · loops: its command loops over its datums itself · pods: its command may run in a pod's own
    container.
    """
    if kind not in CANDIDATES or kind == POD:
        kind = ANY_IMAGE
    kinds = [k for k in CANDIDATES if k not in (HOST, POD)] if kind == ANY_IMAGE else [kind]
    parts = ["host" if kind == HOST else "image_file", *(name for k in kinds for name in CANDIDATES[k])]
    parts += [*(["pod"] if pods else []), *(["batches"] if loops else [])]
    what = "a pipeline without an image" if kind == HOST else _OF_KIND + kind
    more = [", which may run in a container of its own in a pod"] if pods else []
    more += [", with a command that loops over its datums"] if loops else []
    return compose(*parts, purpose="".join([what, *more]))


def kind_of_launcher(text: bytes) -> str:
    """Return the kind of image that a launcher was composed for; any, where it does not say."""
    found = re.search(rb"^# Composed for " + _OF_KIND.encode() + rb"([a-z-]+)", text[:_HEAD], re.MULTILINE)
    kind = found[1].decode() if found else ANY_IMAGE
    return kind if kind in CANDIDATES and kind not in (HOST, POD) else ANY_IMAGE


def compose(*more: str, purpose: str = "any pipeline") -> bytes:
    """Return a launcher with these parts, beside those that every launcher has."""
    parts = list(_with_imported([*sorted({*more} - {_LAST}), _LAST]))
    modules = sorted({module for part in parts for module in part.modules})
    later = [module for module in modules if module in _LATER]
    lines = [_FUTURE, *(f"import {module}\n" for module in modules if module not in _LATER and module not in _QUICK)]
    lines += [f"\n{_QUICK[module]}" for module in modules if module in _QUICK]
    if later:
        names = ", ".join(later)
        lines += [_CLASS, f"{names} = map(Later, {tuple(later)!r})\n".replace("'", '"')]
    always = {part.name for part in _with_imported([_LAST])}
    own = [part.name for part in parts if part.name not in always]
    head = [
        f"# Composed for {purpose}.",
        f"# Parts of each launcher: {', '.join(part.name for part in parts if part.name in always)}.",
        f"# Parts of this one: {', '.join(own)}.",
    ]
    lines = ["\n", *(f"{row}\n" for text in head for row in _wrapped(text)), "\n", *lines]
    texts = [_text(_BEGIN), *lines, *("\n\n" + _head(part) + part.body for part in parts)]
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


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="# ", break_long_words=False, break_on_hyphens=False)


def _text(name: str) -> str:
    return (resources.files(_PARTS) / name).read_text("utf-8")
