"""Templates: text becomes HTML here, and nowhere else. Whatever a name or a log holds, it stays text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from minipach.console.markdown import as_html
from minipach.model.states import counted
from minipach.support.text import byte_count, printable

STATIC = Path(__file__).parent / "static"
_TEMPLATES = Path(__file__).parent / "templates"
_SGR = re.compile(r"\x1b\[([0-9;:]*)m")
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


def _text(value: Any) -> Any:
    """Return a value as it may be shown: control characters, odd bytes and marks of direction become visible."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return "" if value is None else value


@cache
def environment() -> Environment:
    """Return the templates, with every value escaped."""
    found = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "bytes": _bytes,
        "seconds": seconds,
        "moment": moment,
        "short": _short,
        "lines": lines,
        "when": _when,
        "sentence": _sentence,
        "coded": _coded,
        "counted": counted,
    }
    found.filters |= {"markdown": as_html, "raw": escape}
    return found


def render(template: str, **values: Any) -> str:
    """Return a page."""
    return environment().get_template(template).render(**values)


def asset(name: str) -> str:
    """Return a file of styles or scripts."""
    return (STATIC / name).read_text()


@cache
def fingerprint(name: str) -> str:
    """Return what changes in the address of a file of styles or scripts when the file does."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def data_address(kind: str, data: bytes) -> str:
    """Return a `data:` address. kind: the media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _bytes(number: float | None) -> str:
    return "" if number is None else byte_count(number)


def seconds(number: float | None) -> str:
    """Return a duration for people: `0.4 s`, `3 min 05 s`, `2 h 00 min`; nothing for what is not known."""
    if number is None:
        return ""
    if number < 59.95:
        return f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def moment(when: float | None) -> str:
    """Return unix seconds as a time for people, in UTC."""
    return "" if when is None else datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _when(text: str | None) -> str:
    """Return a time of a JSON document for people."""
    return re.sub(r"(?:\+00:00|Z)$", " UTC", (text or "").replace("T", " ", 1))


def _sentence(text: str) -> str:
    """Return a line of the command line as a sentence: with a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""


def _coded(text: str) -> Markup:
    """Return a text in which what is in backticks is code."""
    pieces = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(printable(piece))
        if at % 2 and at < len(pieces) - 1
        else escape(printable(piece))
        for at, piece in enumerate(pieces)
    )


def _short(text: str, most: int = 12) -> str:
    return text[:most]


def lines(text: str) -> Markup:
    """Return the output of a program as HTML: its lines and colours stay, other control characters are shown."""
    return Markup("").join(_pieces(text.replace("\r\n", "\n")))


def _pieces(text: str) -> Iterator[Markup]:
    pieces = _SGR.split(text)
    style: dict[str, str] = {}
    for at, piece in enumerate(pieces):
        if at % 2:
            _set(style, piece)
            continue
        shown = escape("\n".join(map(printable, piece.split("\n"))))
        if shown and style:
            yield Markup('<span class="{}">{}</span>').format(" ".join(style.values()), shown)
        elif shown:
            yield shown


def _set(style: dict[str, str], codes: str) -> None:
    """Follow the codes of one SGR sequence. Colours of 256 and of RGB are left out."""
    words = re.split("[;:]", codes or "0")
    at = 0
    while at < len(words):
        code = int(words[at]) if words[at].isdigit() and len(words[at]) < 4 else 0
        if code in (38, 48):
            at += 3 if words[at + 1 : at + 2] == ["5"] else 5
            continue
        if code == 0:
            style.clear()
        elif code == 1:
            style["weight"] = "sgr-bold"
        elif code == 22:
            style.pop("weight", None)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style["colour"] = f"sgr-{_COLOURS[code % 10]}"
        elif code == 39:
            style.pop("colour", None)
        at += 1
