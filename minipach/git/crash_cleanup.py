"""The clean-up after a killed process, besides slots: git's locks, temporary files, unfinished refs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from minipach.git.repo import Repo
from minipach.git.worktrees import slots_dir
from minipach.model.local_state import LocalState
from minipach.model.repo_layout import BUILD_REFS
from minipach.support.files import remove_tree

_PATIENCE = 5.0  # seconds: a git that outlived its parent is given so long to finish and take its lock away

_MOMENT = 0.3  # seconds for which a process of minipach may hold a lock: it moves refs without a git


def _mark(repo: Repo) -> Path:
    return LocalState.of(repo.common_dir).working


def begin(repo: Repo) -> None:
    """Say that the holder of the project's lock writes to this repo from now on."""
    mark = _mark(repo)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    os.utime(mark)


def is_begun(repo: Repo) -> bool:
    """Return whether there was a `begin` without an `end`: to the holder of the project's lock, that means a kill."""
    return _mark(repo).is_file()


def end(repo: Repo) -> None:
    """Say that all that was begun is finished."""
    _mark(repo).unlink(missing_ok=True)


def clear(repo: Repo, patience: float = _PATIENCE) -> None:
    """Clear up after a `begin` that saw no `end`. For the holder of the project's lock only.

    patience: seconds that a git which works here gets to finish.
    """
    mark = _mark(repo)
    if not mark.is_file():
        return
    _release_locks(repo, mark.stat().st_mtime, patience)
    for path in repo.common_dir.glob("minipach-*"):
        remove_tree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for report in repo.common_dir.glob("fast_import_crash_*"):
        if BUILD_REFS.encode() in report.read_bytes():
            report.unlink()
    repo.update_refs([f"delete {ref}" for ref in repo.refs(BUILD_REFS)])
    end(repo)


@contextlib.contextmanager
def cleared(repo: Repo) -> Iterator[None]:
    """Clear up what a kill left, and note for the next one that git works here until the end of the context.

    For the holder of the project's lock only. Functions inside that begin and end by themselves end this, too.
    """
    clear(repo)
    begin(repo)
    yield
    end(repo)


def _release_locks(repo: Repo, since: float, patience: float) -> None:
    """Remove git's lock files that are no older than `since` (seconds), once no git works in the repo any more.

    A git that is killed leaves its lock, and every later one refuses to continue. Somebody else's git, which may hold
    a lock at this moment too, is waited for; if it stays, so does its lock, and git's own message says what to do.
    In slots, where sets may run all the time, gits hold these locks for moments only: what is still there and the
    same after `patience` (seconds) is not theirs. Workers of minipach take locks, too, and no git shows it.
    """
    begun = time.monotonic()
    deadline = begun + patience
    first = _locks(repo, since)
    found = first
    while found:
        at_top, in_slots = _gits_in(repo)
        now = time.monotonic()
        over = now > deadline
        if not at_top and (over or not in_slots) and now >= begun + min(_MOMENT, patience):
            for lock, made in first.items():
                if _made(lock) == made:
                    lock.unlink(missing_ok=True)
            return
        if over:
            return
        time.sleep(0.05)
        found = _locks(repo, since)


def _locks(repo: Repo, since: float) -> dict[Path, tuple[int, int]]:
    """Return the locks there are (those of worktrees aside), and which files they are."""
    places = [*repo.common_dir.glob("*.lock"), *(repo.common_dir / "refs").rglob("*.lock")]
    made = {lock: _made(lock) for lock in [*places, repo.common_dir / "annex" / "index.lock"]}
    # some file systems keep whole seconds
    return {lock: which for lock, which in made.items() if which is not None and which[1] >= int(since) * 10**9}


def _made(lock: Path) -> tuple[int, int] | None:
    """Return which file it is: its inode, and when it was changed last (ns since 1970); None: it is gone."""
    try:
        stat = lock.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def _gits_in(repo: Repo) -> tuple[bool, bool]:
    """Return whether a git or git-annex process works at the top of the work tree, where git goes, or in a slot.

    Where there is no /proc to ask, time must do.
    """
    if not os.path.isdir("/proc/self"):
        time.sleep(1)
        return False, False
    top, slots = os.path.realpath(repo.path), os.path.realpath(slots_dir(repo)) + os.sep
    at_top = in_slots = False
    for process in Path("/proc").glob("[0-9]*"):  # not "[0-9]*/cwd": glob raises for one that ends just then
        try:
            where = os.readlink(process / "cwd")
            name = (process / "comm").read_text()
        except OSError:
            continue  # gone meanwhile, or another user's
        if not name.startswith("git") or _reads_only(process):
            continue
        at_top = at_top or where == top
        in_slots = in_slots or where.startswith(slots)
    return at_top, in_slots


def _reads_only(process: Path) -> bool:
    """Return whether it is an object reader, which may well be our own."""
    try:
        return b"cat-file" in (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return True
