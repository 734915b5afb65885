"""The running schedules, found by the project's lock: wait until they have ended, or ask them to end."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from minipach.executors.base import Executor
from minipach.executors.registry import Backend, chosen, withdraw_others
from minipach.git.repo import Repo
from minipach.model.job_entries import JobRow
from minipach.model.states import WELL
from minipach.planning.status import project_status
from minipach.project.lock import Holder, has_open, holder, holder_of_any, holders, project_lock
from minipach.project.project import Project
from minipach.records import pending_work
from minipach.records.job_database import Ledger
from minipach.records.job_history import last_jobs
from minipach.scheduling.stalled import ASK, Remarking
from minipach.support.errors import Problem, UserError

_PAUSE = 0.1  # seconds between two looks


def wait_until_free(
    lock: Path, timeout: float | None, notify: Callable[[str], None], *, but_schedules: bool = False
) -> bool:
    """Wait until nobody holds the lock. Return False if somebody still does after `timeout` seconds.

    but_schedules: schedules that others run beside do not count.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    reported: Holder | None = None
    while (found := holder_of_any(lock, ()) if but_schedules else holder(lock)) is not None:
        if deadline is not None and time.monotonic() >= deadline:
            return False
        if found != reported:
            notify(f"waiting for {found}")
            reported = found
        time.sleep(_PAUSE)
    return True


def wait_until_done(project: Project, timeout: float | None, notify: Callable[[str], None]) -> bool:
    """Wait until nobody holds the project's lock and no job has sets submitted. Return False if some still do.

    UserError if something is left to be done, and nobody is there who would continue with it.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    reported = forsaken = False
    asked = -math.inf
    remarking = Remarking(project, notify)
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not wait_until_free(project.local.lock, left, notify):
            return False
        ledger = Ledger(project.local.database)
        rows = ledger.open_jobs()
        ledger.close()
        if not rows and not pending_work.exists(project):
            return True
        if deadline is not None and time.monotonic() >= deadline:
            return False
        if time.monotonic() - asked >= ASK:
            backend = chosen(project)
            before, forsaken = forsaken, backend.forsaken(project)
            asked = time.monotonic()
            sure = before or not backend.lasting
            if sure and forsaken and holder(project.local.lock) is None:
                names = ", ".join(pending_work.paths(project) or [row.pipeline for row in rows])
                fix = backend.fix_forsaken
                raise UserError(Problem("work.forsaken", names, "work is pending, but nothing will continue it", fix))
        if rows and not reported:
            notify("waiting for " + ", ".join(f"{row.pipeline} (job {row.id[:12]})" for row in rows))
            reported = True
        remarking.look()
        time.sleep(_PAUSE)


def not_done(project: Project, paths: Iterable[str]) -> list[JobRow]:
    """Return the last jobs of these pipelines, and of those upstream, that are incomplete.

    A pipeline that is current all the same is done.
    """
    names = {project.name_of(path) for path in project.upstream_of(paths)}
    last: dict[str, JobRow] = {}
    for row in last_jobs(project, None, -1):
        if row.pipeline in names:
            last.setdefault(row.pipeline, row)
    # partial: of some datums alone that was all that was asked for
    bad = {n: r for n, r in last.items() if r.state not in WELL and (r.state != "partial" or r.counts["failed"])}
    if not bad:
        return []
    return [bad[row.name] for row in project_status(project) if row.name in bad and row.state != "current"]


def close_gone(project: Project) -> None:
    """Note of pipelines that are in the project no more that nothing of them is submitted: it went with them."""
    names = {project.name_of(place.path) for place in project.places}
    with contextlib.closing(Ledger(project.local.database)) as ledger:
        for row in ledger.open_jobs():
            if row.pipeline not in names:
                ledger.close_jobs(row.pipeline, "cancelled")


def cancel_sets(project: Project, notify: Callable[[str], None]) -> list[JobRow]:
    """End the sets that schedules left submitted, and return their jobs."""
    backend = chosen(project)
    ledger = Ledger(project.local.database)
    try:
        rows = ledger.open_jobs()
        with project_lock(project.local.lock, wait=True, notify=notify):
            if backend.lasting:
                _end_sets(project, backend.make(project, None))
            else:
                _forget_sets(project, backend)
                if rows:
                    notify(
                        f"what an executor other than {backend.name} still runs of it is not ended by this; "
                        "git config minipach.executor as it was, then minipach cancel"
                    )
            pending_work.keep(project, ())
            for row in rows:
                ledger.close_jobs(row.pipeline, "cancelled")
        return rows
    finally:
        ledger.close()


def _end_sets(project: Project, engine: Executor) -> None:
    """End all that the executor has of this project."""
    try:
        for place in project.places:
            if place.is_dataset:
                engine.adopt(Repo(project.root / place.path))
        engine.cancel()
        pending_work.keep(project, ())  # before it is closed: nobody is to come back
    finally:
        engine.close()


def _forget_sets(project: Project, backend: Backend) -> None:
    """Withdraw the queued sets of an executor that was set before, so that it starts none later."""
    for place in project.places:
        if place.is_dataset:
            withdraw_others(backend, Repo(project.root / place.path))


def cancel(lock: Path, timeout: float | None) -> tuple[tuple[Holder, ...], bool]:
    """Ask the schedules that run, or who else holds the lock, to end, as Ctrl-C would, and wait until they have left.

    Returns who they were, and whether they have left. UserError where one can't be asked: it runs on another machine,
    or isn't ours.
    """
    found = tuple(holders(lock))
    deadline = None if timeout is None else time.monotonic() + timeout
    for one in found:
        _interrupt(one, lock)
    while any(one in found for one in holders(lock)):
        if deadline is not None and time.monotonic() >= deadline:
            return found, False
        time.sleep(_PAUSE)
    return found, True


def _interrupt(found: Holder, lock: Path) -> None:
    if not found.is_here:
        raise UserError(Problem("lock.held-elsewhere", str(lock), f"held by {found}", "run minipach cancel there"))
    # the number may be another process's by now, if the file was written by one that has gone since
    if not has_open(found.pid, found.file):
        if found not in holders(lock):
            return
        raise UserError(
            Problem(
                "lock.held-by-unknown",
                str(lock),
                f"held, but not by {found} (or it is another user's), so nothing was ended",
            )
        )
    try:
        os.kill(found.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise UserError(
            Problem("lock.held-by-other-user", str(lock), f"held by {found}, which is another user's", "ask them")
        ) from None
