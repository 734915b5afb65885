"""git's own lock against garbage collection: while objects are made that no ref names yet, none may be pruned.

`git gc --prune=now` takes what was just written. It does not begin while `gc.pid` names a process that runs.
Source: lock_repo_for_gc in git's builtin/gc.c (the file holds "PID HOST", and counts for 12 hours)
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from minipach.git.repo import Repo
from minipach.support.processes import is_alive

_PATIENCE = 30.0  # seconds to wait for a garbage collection that runs; then we continue without the lock
_LOCK_LIFETIME = 12 * 3600.0  # seconds
_REFRESH_INTERVAL = 3600.0


@contextlib.contextmanager
def gc_held_off(repo: Repo, patience: float = _PATIENCE) -> Iterator[bool]:
    """Keep `git gc` from beginning in a repository. False where the lock is not ours: another minipach may hold it."""
    path = repo.common_dir / "gc.pid"
    ours = f"{os.getpid()} {socket.gethostname() or platform.node()}"
    released = threading.Event()
    held = _acquire(path, ours, patience)
    if held:
        threading.Thread(target=_refresh_time, args=(path, released), daemon=True).start()
    try:
        yield held
    finally:
        released.set()
        with contextlib.suppress(OSError):
            if held and path.read_text() == ours:
                path.unlink()


def _acquire(path: Path, ours: str, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            if _is_free(path) and _write(path, ours):
                return True
        except OSError:
            return False  # we may not write there
        if _is_minipach(path) or time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def _write(path: Path, ours: str) -> bool:
    """Write the file as git does, which keeps others from doing so meanwhile."""
    lock = path.with_name("gc.pid.lock")
    try:
        file = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        with contextlib.suppress(OSError):
            if time.time() - lock.stat().st_mtime > _LOCK_LIFETIME:
                lock.unlink()  # of a process that was killed in just that moment
        return False
    os.write(file, ours.encode())
    os.close(file)
    if not _is_free(path):
        lock.unlink()
        return False
    os.replace(lock, path)
    return True


def _is_free(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
        pid, _, host = path.read_text(errors="replace").strip().partition(" ")
    except FileNotFoundError:
        return True
    if age > _LOCK_LIFETIME or not pid.isdecimal() or not host:
        return True
    return host == socket.gethostname() and not is_alive(pid)


def _is_minipach(path: Path) -> bool:
    """Return whether the lock is another minipach's, which holds off the same: one need not wait for it."""
    try:
        pid = path.read_text(errors="replace").partition(" ")[0]
        return b"minipach" in Path(f"/proc/{int(pid)}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False


def _refresh_time(path: Path, released: threading.Event) -> None:
    while not released.wait(_REFRESH_INTERVAL):
        with contextlib.suppress(OSError):
            os.utime(path)
