"""Lines that ask for a pass, in `.git/minipach/heard`: they are added and counted here. `passes` takes them away."""

from __future__ import annotations

import os
from pathlib import Path

from minipach.model.local_state import LocalState
from minipach.support.text import printable


def write_request(state: LocalState, line: str) -> None:
    """Append a line. A line that was written is answered by a pass, also if this process is killed.

    Raises:
        OSError: It can't be written.
    """
    state.folder.mkdir(parents=True, exist_ok=True)
    data = (printable(line)[:500] + "\n").encode("utf-8", "backslashreplace")
    descriptor = os.open(state.heard, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        os.write(descriptor, data)  # one call: lines of several processes don't mix
    finally:
        os.close(descriptor)


def unanswered(state: LocalState) -> int:
    """Return the number of lines that no pass has answered yet."""
    return sum(map(_lines, (state.heard, state.taken)))


def _lines(file: Path) -> int:
    try:
        return file.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
