"""Text from data (names of repos, datums, files) made safe for a terminal, dot, mermaid and XML. Pure."""

from __future__ import annotations

import re

_COLOUR = re.compile(r"(\x1b\[[0-9;:]*m)")  # SGR: colours and weight
_RESET = "\x1b[0m"


def printable(text: str) -> str:
    """Text for a terminal: control characters and odd bytes are shown, not sent."""
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


def dot(text: str) -> str:
    """A quoted string of the dot language that stands for exactly this text, also where it is a label.

    Labels know escapes (`\\N` is the node's name) and HTML entities. Source: https://graphviz.org/doc/info/lang.html
    """
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") + '"'


def mermaid(text: str) -> str:
    """Text inside a quoted mermaid label; what could be its syntax, markdown or HTML becomes an entity.

    Source: https://mermaid.js.org/syntax/flowchart.html (entity codes are decimal, without the ampersand)
    """
    return "".join(c if c.isalnum() or c in " _/-.," else f"#{ord(c)};" for c in printable(text))


def xml(text: str) -> str:
    """Text of an XML element or a double-quoted attribute."""
    found = printable(text).replace("\t", " ")
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        found = found.replace(plain, entity)
    return found
