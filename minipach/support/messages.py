"""Lines for people on standard error, for processes that have one: nothing from data arrives unescaped.

Modules of the library log; a process that wants to show that calls `show_log` once.
"""

from __future__ import annotations

import logging
import sys

from minipach.support.streams import lead_nowhere
from minipach.support.text import printable


def say(message: str) -> None:
    """Print one line; control characters, line breaks included, are shown as escapes."""
    try:
        print(printable(message), file=sys.stderr, flush=True)
    except OSError:  # nobody reads it, or its disk is full: the work continues
        lead_nowhere(sys.stderr)


def draw(text: str) -> None:
    """Write text of ours, with its controls, to the terminal; no line ends."""
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except OSError:
        lead_nowhere(sys.stderr)


def say_all(text: str) -> None:
    """Print the text of another program: its lines after the first are indented, so that none looks like ours."""
    first, *more = [line for line in text.split("\n") if line.strip()] or [""]
    say(first)
    for line in more:
        say(f"    {line}")


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def show_log() -> None:
    """Print from now on what modules of the library log, a line each."""
    library = logging.getLogger("minipach")
    library.setLevel(logging.INFO)
    library.handlers = [_Lines()]
