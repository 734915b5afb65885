"""Text from data (names of repos, datums, files) made safe for a terminal, dot, mermaid and XML. Pure."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text for a terminal: control characters and odd bytes are shown, not sent."""
    return "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in text)


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
