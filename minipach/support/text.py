"""Text for people: plurals, quoting, the nearest known word, and escapes for a terminal, dot, mermaid and XML. Pure."""

from __future__ import annotations

import codecs
import difflib
import heapq
import os
import re
import shlex
from collections.abc import Iterable
from itertools import takewhile


def many(number: float, noun: str, plural: str = "") -> str:
    """Return `1 datum`, `2 datums`, `0.5 CPUs`. plural: where it isn't the noun with an s."""
    shown = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{shown} {noun if number == 1 else plural or noun + 's'}"


def byte_count(number: float) -> str:
    """Return bytes for people: `512 B`, `1.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def quoted(path: str | os.PathLike[str]) -> str:
    """Return a path in a command that people copy: one word to the shell, also with a space in it."""
    return shlex.quote(os.fspath(path))


NAMED = 8  # at most so many names in a line
_COMPARED = 2000  # at most so many words are compared with one


def suggest(word: str, known: Iterable[str]) -> str:
    """Return the fix `use ...` with the nearest known word, or with all that there are; "" if there is none."""
    names = sorted(known)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return nearest(word, names) or (f"use one of: {', '.join(names[:NAMED])}{more}" if names else "")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the fix `use ...` with the nearest known word, or ""."""
    words = list(known)
    ends = [other for other in words if other.endswith(f"/{word}")]
    if len(ends) == 1:  # the last part alone: of a path, that is what people remember
        return f'use "{ends[0]}"'
    if len(words) > _COMPARED:  # to compare a word takes 50 µs: of very many, those that begin alike
        words = heapq.nlargest(_COMPARED, words, key=lambda other: _alike(word, other))
    near = difflib.get_close_matches(word, words, n=1)
    return f'use "{near[0]}"' if near else ""


def _alike(one: str, other: str) -> int:
    """Return with how many equal characters two words begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def near_id(start: str, ids: Iterable[str]) -> str:
    """Return a suggestion for the beginning of an id that matches none."""
    length = max(len(start), 8)
    return nearest(start, {ident[:length] for ident in ids})


def short(content: str) -> str:
    """Return a content id for people: `sha256 1a2b3c4d…`."""
    kind, _, value = content.replace("--", ":", 1).partition(":")
    return f"{kind.lower()} {value[:8]}…" if value else content


_COLOUR = re.compile(r"(\x1b\[[0-9;:]*m)")  # SGR: colours and weight
_RESET = "\x1b[0m"


def printable(text: str) -> str:
    """Return text for a terminal: control characters and odd bytes are shown, not sent."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in text)


def colours_only(text: str) -> str:
    """Return output of a program for a terminal: lines, tabs and colours stay, other control characters are shown.

    Colours end with the text.
    """
    pieces = _COLOUR.split(text.replace("\r\n", "\n"))
    if len(pieces) == 1:
        return "\n".join(map(printable, pieces[0].split("\n")))
    shown = (p if at % 2 else "\n".join(map(printable, p.split("\n"))) for at, p in enumerate(pieces))
    return "".join(shown) + _RESET


class TerminalFilter:
    """A filter for what a program prints to a terminal (see `stream_filter.Filter`), as in `colours_only`."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._held = ""
        self._coloured = False

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """Return what can be shown so far; what may be the begin of a colour waits for its end."""
        text = self._held + self._decoder.decode(data, last)
        at = len(text) if last else _cut(text)
        self._held = text[at:]
        pieces = _COLOUR.split(text[:at].replace("\r\n", "\n"))
        shown = (p if n % 2 else "\n".join(map(printable, p.split("\n"))) for n, p in enumerate(pieces))
        self._coloured = self._coloured or len(pieces) > 1
        return ("".join(shown) + (_RESET if last and self._coloured else "")).encode("utf-8", "surrogateescape")


def _cut(text: str) -> int:
    """Return where the text ends that needs no more: before a CR, or before what may become a colour."""
    if text.endswith("\r"):
        return len(text) - 1
    at = text.rfind("\x1b", max(0, len(text) - 32))
    return at if at >= 0 and re.fullmatch(r"\x1b(\[[0-9;:]*)?", text[at:]) else len(text)


def dot(text: str) -> str:
    """Return a quoted string of the dot language that stands for exactly this text, also where it is a label.

    Labels know escapes (`\\N` is the node's name) and HTML entities. Source: https://graphviz.org/doc/info/lang.html
    """
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") + '"'


def mermaid(text: str) -> str:
    """Return text inside a quoted mermaid label; what could be its syntax, markdown or HTML becomes an entity.

    Source: https://mermaid.js.org/syntax/flowchart.html (entity codes are decimal, without the ampersand)
    """
    return "".join(c if c.isalnum() or c in " _/-.," else f"#{ord(c)};" for c in printable(text))


def xml(text: str) -> str:
    """Return text of an XML element or a double-quoted attribute."""
    found = printable(text).replace("\t", " ")
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        found = found.replace(plain, entity)
    return found
