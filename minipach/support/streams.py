"""Standard streams that can't stop the work: closed ones lead nowhere, and what can't be encoded is escaped."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import IO, Any


def open_all() -> None:
    """Open what the caller has closed of standard input, output and error.

    Else the next file that is opened takes its descriptor, and receives what is printed.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


def lead_nowhere(stream: IO[str]) -> None:
    """Discard from now on what is printed to a stream that can't be written, by child processes too."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
