"""Logs: what a datum's command printed. The log of a set holds those of all its datums, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

from minipach.escape import printable

_BEGINS = re.compile(rb"^datum: begins (\d+)\n", re.MULTILINE)


def read_log(log: str) -> str | None:
    """A datum's part of a log (`PATH`, or `PATH#N` for the N-th datum of a set); None if the file is gone.

    What the set printed around its datums (tries, failures of the launcher) belongs to each of them.
    """
    name, _, number = log.partition(".log#")
    path = Path(name + ".log" if number else log)
    if not path.is_file():
        return None
    data = path.read_bytes()
    if number:
        pieces = _BEGINS.split(data)
        mine = [text for n, text in zip(pieces[1::2], pieces[2::2], strict=True) if int(n) == int(number)]
        data = pieces[0] + b"".join(mine)
    return data.decode("utf-8", "replace")


def log_tail(log: str, lines: int = 5) -> list[str]:
    """The last lines of a log, for people; control characters are shown, not sent."""
    text = read_log(log) or ""
    return [printable(line) for line in text[-8192:].splitlines()[-lines:]]
