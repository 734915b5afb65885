"""Processes and groups of processes: whether one is alive, and signals to all of a group."""

from __future__ import annotations

import contextlib
import os


def is_alive(pid: int | str) -> bool:
    """Return whether a process of this machine exists, whoever owns it. A text that is no number is no process."""
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def group_alive(group: int) -> bool:
    """Return whether a process group has a process left."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
