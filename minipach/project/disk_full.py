"""A disk without space: which one it is, and the fix, in one line."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minipach.git.repo import Repo
from minipach.git.worktrees import Slot, slots_dir
from minipach.support.errors import Problem
from minipach.support.text import quoted

if TYPE_CHECKING:
    from minipach.model.work_set import WorkSet
    from minipach.project.project import Project

_SAYS_SO = re.compile(r"No space left on device|not enough free space|Disk quota exceeded|disk is full")


@dataclass(frozen=True, slots=True)
class DiskLocation:
    """A folder that may be on a disk of its own.

    holds: what is kept there · sign: what a message about it has in it · way: how to make space · passes: whether it
    may get space by itself, as other sets end.
    """

    folder: Path
    holds: str
    sign: str
    way: str = ""
    passes: bool = False


@dataclass(frozen=True, slots=True)
class DiskFull:
    """The problem, and whether another try makes sense."""

    problem: Problem
    passes: bool


def places_of(repo: Repo) -> list[DiskLocation]:
    """Return where work on a dataset writes."""
    unused = f"git -C {quoted(repo.path)} annex unused lists what no branch needs"
    slots = slots_dir(repo)
    return [
        DiskLocation(repo.common_dir / "annex" / "objects", "its annexed files", "annex/objects", unused),
        DiskLocation(slots, "scratch of its datums", str(slots), passes=True),
        DiskLocation(repo.common_dir, "its git objects", "unable to write"),
    ]


def places_of_set(work: WorkSet, slot: Slot) -> list[DiskLocation]:
    """Return where a set writes.

    In its slot and repo, in the stores of the datasets that it gets files from, and its log.
    """
    found = places_of(slot.main)
    folder = slot.path.parent
    if folder != slots_dir(slot.main):
        found.append(DiskLocation(folder, "scratch of its datums, minipach.scratch", str(slot.path), passes=True))
    for path in dict.fromkeys(file.repo for file in work.files):
        found += places_of(Repo(Path(path)))[:1]
    return [*found, DiskLocation(Path(work.log).parent, "logs", work.log)]


def places_of_project(project: Project) -> list[DiskLocation]:
    """Return where commands write, in all of a project."""
    repos = (project.repo, *(Repo(project.root / place.path) for place in project.places if place.is_dataset))
    logs = DiskLocation(project.local.logs, "logs", "/logs/")
    state = DiskLocation(project.state_dir, "job database and logs", "database")
    return [state, logs, *(place for repo in repos for place in places_of(repo))]


def explain(error: BaseException, places: Sequence[DiskLocation]) -> DiskFull | None:
    """Return what an error for lack of space is about, of these places; None: it is another kind of error."""
    lines = [line for line in _said(error) if _SAYS_SO.search(line)]
    there = [place for place in places if place.folder.is_dir()]
    if not lines or not there:
        return None
    meant = [place for place in there if any(place.sign in line for line in lines)]
    place = min(meant or there, key=lambda p: _left(p.folder))
    left = f"{shutil.disk_usage(place.folder).free / 1e6:.1f} MB left, and more is to be written"
    way = f"make space there{f' ({place.way})' if place.way else ''}, then run the same command again"
    return DiskFull(
        Problem("disk.full", f"{place.folder} ({place.holds})", f"the disk is full, {left}", way), place.passes
    )


def _said(error: BaseException | None) -> Iterator[str]:
    """Yield the lines of an error and of those behind it, with what a program that failed said."""
    while error is not None:
        for text in (str(error), getattr(error, "stderr", "")):
            yield from os.fsdecode(text or "").splitlines()
        error = error.__cause__


def _left(folder: Path) -> int:
    """Return the free bytes; 0 if not even one more file can be created."""
    with contextlib.suppress(OSError):
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize if found.f_favail or not found.f_files else 0
    return 0
