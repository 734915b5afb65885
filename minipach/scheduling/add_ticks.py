"""Clocks in a schedule: add the ticks that are due, and say when the next one is.

Each pass of `service.run` and `service.resume` adds due ticks itself, with the lock held. A daemon asks `next_due` how
long it may sleep, and then makes a pass. It needs nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from minipach.model.clock import tick_name
from minipach.planning.clock_states import ClockView, clock_views, deferrals, span
from minipach.planning.due_ticks import needs_states
from minipach.project.lock import project_lock
from minipach.project.project import Project
from minipach.project.tick_repos import make_tick_repo
from minipach.publish.tick_commits import commit_due
from minipach.records.tick_repo import read_ticks
from minipach.support.errors import Problem, UserError
from minipach.support.text import many


@dataclass(frozen=True, slots=True)
class Added:
    """The result of a look at the clocks.

    project: as it is now · ticks: how many were added · limited: whether some wait for the result of others ·
    problems: why ticks could not be added.
    """

    project: Project
    ticks: int = 0
    limited: bool = False
    problems: tuple[Problem, ...] = ()


def next_due(project: Project, now: int | None = None, paths: Collection[str] | None = None) -> int | None:
    """Return when the next tick is due, in seconds since 1970; None: never.

    A moment that is not after `now` means that a tick is due and a pass would add it. Reads only.

    Args:
        project: The project.
        now: The present, in seconds since 1970. None: as the system's clock has it.
        paths: The pipelines, such as those of `triggers.passes.by_itself`. None: all.
    """
    return min(due_moments(project, int(time.time()) if now is None else now, paths), default=None)


def due_moments(project: Project, now: int, paths: Collection[str] | None = None) -> list[int]:
    """Return for each clock the newest tick that is due and not there, and the next one; 0 for one that is to begin.

    The times at which branch triggers release commits are among them.
    """
    moments: list[int] = []
    for view in clock_views(project, now, paths):
        if view.clock.start is None and view.ticks.began is None:
            moments.append(0)
        moments += view.change.add[-1:]
        moments += [view.change.following] if view.change.following is not None else []
    moments += [at for _, deferral in deferrals(project, now, paths) if (at := deferral.state.following) is not None]
    return moments


def add_due_ticks(
    project: Project,
    now: int | None = None,
    paths: Collection[str] | None = None,
    notify: Callable[[str], None] = lambda line: None,
) -> Added:
    """Add the ticks that are due, with the project's lock. A pass does so itself.

    Args:
        project: The project.
        now: The present, in seconds since 1970. None: as the system's clock has it.
        paths: The pipelines. None: all.
        notify: Gets a line for people for each clock that changed.
    """
    with project_lock(project.local.lock, wait=True, notify=notify, without=()):
        return add_held(project, int(time.time()) if now is None else now, paths, notify)


def add_held(project: Project, now: int, paths: Collection[str] | None, notify: Callable[[str], None]) -> Added:
    """Add the ticks that are due; the caller holds the lock. See `add_due_ticks`."""
    added = 0
    limited = False
    problems: list[Problem] = []
    new = False
    broken: set[str] = set()
    for path in project.order if paths is None else paths:
        if path in project.problems or path not in project.pipelines:
            continue
        try:
            for pfs, _ in project.pipelines[path].clocks():
                new = make_tick_repo(project, pfs.repo) or new
        except UserError as error:
            problems += error.problems
            broken.add(path)
    if new:
        project = Project(project.root, project.given)
    for view in clock_views(project, now, paths):
        if view.path in broken:
            continue
        limited |= needs_states(view.clock) and bool(view.change.blocked)
        try:
            added += _add(project, view, now, notify)
        except UserError as error:
            problems += error.problems
    return Added(project, added, limited, tuple(dict.fromkeys(problems)))


def _add(project: Project, view: ClockView, now: int, notify: Callable[[str], None]) -> int:
    if problem := view.problem():
        raise UserError(problem)
    change = view.change
    began = now if view.clock.start is None and view.ticks.began is None else None
    if change.add or change.remove or began is not None:
        if view.ticks != read_ticks(project, view.input.repo):  # two inputs have one repo
            return 0
        commit_due(project, view.input.repo, change, began=began)
    if change.add:
        notify(f"{view.pipeline}: {many(len(change.add), 'tick')} added to {view.input.repo} ({span(change.add)})")
    for tick, why in change.blocked[:1]:
        more = f", and {len(change.blocked) - 1} more" if len(change.blocked) > 1 else ""
        notify(f"{view.pipeline}: {tick_name(tick)} {why}{more}")
    return len(change.add)
