"""The schedule that runs now, told by the project's lock: wait until it has left, or ask it to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from minipach.errors import UserError
from minipach.lock import Holder, has_open, holder

_PAUSE = 0.1  # seconds between two looks


def wait_until_free(lock: Path, timeout: float | None, tell: Callable[[str], None]) -> bool:
    """Wait until nobody holds the lock; False if somebody still does after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    told: Holder | None = None
    while (found := holder(lock)) is not None:
        if deadline is not None and time.monotonic() >= deadline:
            return False
        if found != told:
            tell(f"waiting for {found}")
            told = found
        time.sleep(_PAUSE)
    return True


def cancel(lock: Path, timeout: float | None) -> tuple[Holder | None, bool]:
    """Ask the holder of the lock to end, as Ctrl-C would, and wait until it has left; who it was, and whether it has.

    UserError where it can't be asked: it runs on another machine, or isn't ours.
    """
    found = holder(lock)
    if found is None:
        return None, True
    if not found.is_here:
        raise UserError(f"{lock}: held by {found}; run minipach cancel there")
    # the number may be another process's by now, if the file was written by one that has gone since
    if not has_open(found.pid, lock):
        if holder(lock) != found:
            return found, True
        raise UserError(f"{lock}: held, but not by {found} (or it is another user's); nothing was ended")
    try:
        os.kill(found.pid, signal.SIGTERM)
    except ProcessLookupError:
        return found, True
    except PermissionError:
        raise UserError(f"{lock}: held by {found}, which is another user's; ask them") from None
    deadline = None if timeout is None else time.monotonic() + timeout
    while holder(lock) == found:
        if deadline is not None and time.monotonic() >= deadline:
            return found, False
        time.sleep(_PAUSE)
    return found, True
