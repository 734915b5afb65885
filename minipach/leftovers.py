"""What a killed process left in a repo besides slots: git's locks, temporary files, unfinished refs; cleared."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from minipach.git import Repo
from minipach.slots import remove_tree

BUILD = "refs/minipach/build/"
_PATIENCE = 5.0  # seconds: a git that outlived its parent is given so long to finish and take its lock away


def _mark(repo: Repo) -> Path:
    return repo.common_dir / "minipach" / "working"


def begin(repo: Repo) -> None:
    """Say that the holder of the project's lock writes to this repo from now on."""
    mark = _mark(repo)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    os.utime(mark)


def end(repo: Repo) -> None:
    """Say that all that was begun is finished."""
    _mark(repo).unlink(missing_ok=True)


def clear(repo: Repo) -> None:
    """Clear up after a `begin` that saw no `end`. For the holder of the project's lock only."""
    mark = _mark(repo)
    if not mark.is_file():
        return
    _release_locks(repo, mark.stat().st_mtime)
    for path in repo.common_dir.glob("minipach-*"):
        remove_tree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for report in repo.common_dir.glob("fast_import_crash_*"):
        if BUILD.encode() in report.read_bytes():
            report.unlink()
    repo.update_refs([f"delete {ref}" for ref in repo.refs(BUILD)])
    end(repo)


def _release_locks(repo: Repo, since: float) -> None:
    """Remove git's lock files that are no older than `since` (seconds), once no git works in the repo any more.

    A git that is killed leaves its lock, and every later one refuses to go on. Somebody else's git, which may hold
    a lock at this moment too, is waited for; if it stays, so does its lock, and git's own message says what to do.
    """
    deadline = time.monotonic() + _PATIENCE
    while found := [lock for lock in _locks(repo) if _age_ok(lock, since)]:
        if not _git_works_in(repo):
            for lock in found:
                lock.unlink(missing_ok=True)
            return
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _locks(repo: Repo) -> Iterator[Path]:
    yield from repo.common_dir.glob("*.lock")
    yield from (repo.common_dir / "refs").rglob("*.lock")
    yield repo.common_dir / "annex" / "index.lock"


def _age_ok(lock: Path, since: float) -> bool:
    try:
        return lock.stat().st_mtime >= int(since)  # some file systems keep whole seconds
    except FileNotFoundError:
        return False


def _git_works_in(repo: Repo) -> bool:
    """Whether a git or git-annex has its working directory at the top of the work tree, where git goes.

    Where there is no /proc to ask, time must do.
    """
    top = os.path.realpath(repo.path)
    if not os.path.isdir("/proc/self"):
        time.sleep(1)
        return False
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            where = os.readlink(entry)
            name = (entry.parent / "comm").read_text()
        except OSError:
            continue  # gone meanwhile, or another user's
        if where == top and name.startswith("git") and not _reads_only(entry.parent):
            return True
    return False


def _reads_only(process: Path) -> bool:
    """Whether it is an object reader, which may well be our own."""
    try:
        return b"cat-file" in (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return True
