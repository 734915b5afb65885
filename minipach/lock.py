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
from datetime import UTC, datetime
from pathlib import Path

from minipach.errors import UserError


@contextmanager
def project_lock(path: Path, *, wait: bool, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file. While another process has it: wait (saying once for whom), or UserError if `wait` is off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        if not _try(file.fileno()):
            who = _holder(path)
            if not wait:
                raise UserError(f"{path}: held by {who}; wait for it, or leave out --no-wait")
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
                "command": " ".join(["minipach", *sys.argv[1:]])[:200],
            },
            file,
        )
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> str:
    try:
        data = json.loads(path.read_text())
        return f"process {data['pid']} on {data['host']} ({data['command']}, since {data['since']})"
    except (ValueError, KeyError, OSError):
        return "another process"
