"""The project's lock: it dies with its holder, and names it."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from minipach.support.errors import Problem, UserError
from minipach.support.validation import checked, parse_object

_MOST_PID = 2**31
_A_LOOK = 0.3  # seconds that somebody who only looks may have the lock


@contextmanager
def project_lock(path: Path, *, wait: bool, tell: Callable[[str], None], label: str | None = None) -> Iterator[None]:
    """Hold the lock file. While another process has it: wait (saying once for whom), or UserError if `wait` is off.

    label: what others are shown of this process, after `minipach` (None: its arguments).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        if not _soon(file.fileno()):
            who = _read(path) or "another process"
            if not wait:
                raise UserError(
                    Problem("project.locked", str(path), f"held by {who}", "wait for it, or leave out --no-wait")
                )
            tell(f"waiting for {who}")
            while not _try(file.fileno()):
                time.sleep(0.1)
        file.seek(0)
        file.truncate()
        json.dump(
            {
                "pid": os.getpid(),
                "host": platform.node(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": " ".join(["minipach", *([label] if label else sys.argv[1:])])[:200],
            },
            file,
        )
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()


def _soon(descriptor: int) -> bool:
    """Take the lock, unless somebody has it for longer than a look (see `holder`) takes."""
    deadline = time.monotonic() + _A_LOOK
    while not _try(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _try(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of the lock. since: ISO 8601 · command: as it was typed."""

    pid: int
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.command}, since {self.since})"

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.host == platform.node()


def holder(path: Path) -> Holder | None:
    """Return who holds the lock now; None: nobody (what a killed holder left in the file does not count)."""
    found = _read(path)
    if found is None:
        return None
    with path.open() as file:
        # the kernel knows: a lock that can be had is nobody's; shared, so that any number may look at once
        return None if _try(file.fileno(), fcntl.LOCK_SH) else found


def has_open(pid: int, path: Path) -> bool:
    """Return whether a process of this machine has a file open (where there is no /proc: whether it exists)."""
    folder = Path(f"/proc/{pid}/fd")
    if not Path("/proc/self/fd").is_dir():
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    try:
        return any(entry.exists() and entry.samefile(path) for entry in folder.iterdir())
    except OSError:
        return False  # gone, or another user's


def _read(path: Path) -> Holder | None:
    try:
        data = parse_object(path.read_bytes())
        found = checked(Holder(data["pid"], data["host"], data["since"], data["command"]))
        return found if 0 < found.pid < _MOST_PID else None
    except (ValueError, KeyError, OSError):
        return None
