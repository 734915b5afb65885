"""A place that may not be written (or read): which one it is, why, and the fix, in one line."""

from __future__ import annotations

import errno
import os
import pwd
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minipach.git.git_error import NO_REPOSITORY, GitError
from minipach.model.local_state import LocalState
from minipach.support.errors import Problem
from minipach.support.text import quoted

_REFUSED = re.compile(
    r"readonly database|Permission denied|insufficient permission|Operation not permitted|unable to open database"
)
_ANOTHERS = re.compile(r"detected dubious ownership in repository at '(.*)'")


@dataclass(frozen=True, slots=True)
class SeenFolder:
    """A folder as it was seen once: its absolute path, and what the file system knows it by."""

    path: Path
    device: int
    inode: int

    @classmethod
    def now(cls, folder: Path) -> SeenFolder | None:
        """Return a folder as it is now; None if it is not there."""
        try:
            seen = folder.stat()
            return cls(folder.absolute(), seen.st_dev, seen.st_ino)
        except OSError:
            return None

    def moved(self) -> Problem | None:
        """Return the problem that the folder was moved or removed; None if it is where it was."""
        if SeenFolder.now(self.path) == self:
            return None
        fix = "repeat the command in the project's new place"
        return Problem("project.moved", str(self.path), "moved or removed while the command ran", fix)


def explain(error: BaseException, project: Path | None) -> Problem | None:
    """Return the problem that an error for lack of rights is about; None: it is another kind of error.

    project: the root of the one that was worked in.
    """
    return next(_reported(error, project), None)


def _reported(error: BaseException | None, project: Path | None) -> Iterator[Problem]:
    while error is not None:
        if isinstance(error, GitError) and (another := _ANOTHERS.search(error.stderr)):
            yield _anothers(Path(another[1]))
        if isinstance(error, GitError) and NO_REPOSITORY in error.stderr and os.path.lexists(error.repo / ".git"):
            yield _no_repository(error.repo / ".git", project)
        if isinstance(error, sqlite3.Error) and project is not None and (gone := _state_removed(error, project)):
            yield gone
        text = error.stderr if isinstance(error, GitError) else str(error)
        code = error.errno if isinstance(error, OSError) else None
        place = _place(error, project)
        if place is not None and (code == errno.EROFS or _is_read_only(place, text)):
            yield Problem("access.read-only", str(place), "on a read-only file system", _elsewhere(place, project))
        elif place is not None and (code in (errno.EACCES, errno.EPERM) or _REFUSED.search(text)):
            yield _refused(place, project)
        error = error.__cause__


def _state_removed(error: sqlite3.Error, project: Path) -> Problem | None:
    """Return the problem that the local state was removed during a command; SQLite calls its file read-only then."""
    folder = LocalState.in_root(project).folder
    name = getattr(error, "sqlite_errorname", "")
    if name != "SQLITE_READONLY_DBMOVED" and not (name == "SQLITE_CANTOPEN" and not folder.is_dir()):
        return None
    fix = "repeat the command: it makes the folder again"
    return Problem("project.state-removed", str(folder), "removed while the command ran", fix)


def _place(error: BaseException, project: Path | None) -> Path | None:
    """Return the nearest place that is there, of what an error is about."""
    if isinstance(error, GitError):
        return error.repo
    if isinstance(error, sqlite3.Error):
        return _withheld(project) if project else None
    name = error.filename if isinstance(error, OSError) else None
    if not isinstance(name, str | bytes):
        return None
    place = Path(os.path.abspath(os.fsdecode(name)))
    while not os.path.lexists(place):
        place = place.parent
    return place


def _withheld(project: Path) -> Path:
    """Return the file or folder of ours that this user can't write, where a database can't be; else the project."""
    folder = LocalState.in_root(project).folder
    files = sorted(folder.glob("*.sqlite*")) if os.access(folder, os.R_OK | os.X_OK) else []
    return next((p for p in (*files, folder) if p.exists() and not os.access(p, os.W_OK)), project)


def _is_read_only(place: Path, text: str) -> bool:
    """Return whether a message is about a file system; SQLite says the same of a file that only its owner may write."""
    if "readonly database" not in text:
        return "Read-only file system" in text
    return os.access(place, os.W_OK) or bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def _elsewhere(place: Path, project: Path | None) -> str:
    if project is None or not place.is_relative_to(project):
        return "take another folder"
    return f"work where it may be written, or in a clone of your own: datalad clone {quoted(project)} <folder>"


def _refused(place: Path, project: Path | None) -> Problem:
    reading = not os.access(place, os.R_OK | os.X_OK if place.is_dir() else os.R_OK)
    what = "read it" if reading else "write there" if place.is_dir() else "write it"
    owner = place.lstat().st_uid
    fix = _elsewhere(place, project)
    if owner == os.geteuid():
        whose, fix = "its permissions forbid it", f"chmod u+rwX {quoted(place)}, or {fix}"
    else:
        whose = f"it belongs to {_name(owner)}"
    return Problem("access.refused", str(place), f"{_name(os.geteuid())} may not {what} ({whose})", fix)


def _no_repository(there: Path, project: Path | None) -> Problem:
    """Return the problem for a `.git` in which git finds no repository."""
    if there.is_dir() and not os.access(there, os.R_OK | os.X_OK):
        return _refused(there, project)
    folder = quoted(there.parent)
    fix = f"repair it, or move {folder} away and datalad get -n {folder}"
    return Problem("repo.broken", str(there), "broken, git finds no repository in it", fix)


def _anothers(repo: Path) -> Problem:
    what = (
        f"is owned by {_name(repo.lstat().st_uid)}, and git refuses repositories of other users "
        "unless they are listed in safe.directory"
    )
    fix = f"git config --global --add safe.directory {quoted(repo)} (and so for each dataset below it, or '*' for all)"
    return Problem("repo.of-other-user", str(repo), what, fix)


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
