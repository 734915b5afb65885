"""Lines for people on standard error. No other module prints there, and nothing from data arrives unescaped."""

from __future__ import annotations

import sys

from minipach.escape import printable
from minipach.streams import lead_nowhere


def say(message: str) -> None:
    """Print one line; control characters, line breaks included, are shown as escapes."""
    try:
        print(printable(message), file=sys.stderr, flush=True)
    except OSError:  # nobody reads it, or its disk is full: the work goes on
        lead_nowhere(sys.stderr)


def say_all(text: str) -> None:
    """Print the text of another program: its lines after the first are indented, so that none looks like ours."""
    first, *more = [line for line in text.split("\n") if line.strip()] or [""]
    say(first)
    for line in more:
        say(f"    {line}")
