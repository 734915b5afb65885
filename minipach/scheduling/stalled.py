"""Warnings about submitted jobs that cannot progress as things are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from minipach.executors.registry import chosen
from minipach.project.lock import holder
from minipach.project.project import Project
from minipach.records.job_history import open_ledger

ASK = 10.0  # seconds between two looks of somebody who waits; what is to be said of an executor must show twice


def remarks(project: Project) -> Iterator[str]:
    """Yield whose sets wait and will not run, and the fix. Costs next to nothing where no job is submitted."""
    if not (project.local.database).is_file():
        return
    ledger = open_ledger(project)
    rows = ledger.open_jobs()
    ledger.close()
    if not rows:
        return
    backend = chosen(project)
    yield from backend.stalled(project)
    if not backend.lasting and holder(project.local.lock) is None:
        names = ", ".join(dict.fromkeys(row.pipeline for row in rows))
        yield (f"{names}: is waiting for another executor, but now {backend.name} is set; {backend.fix_forsaken}")


class Remarking:
    """Each remark once, for those who wait or follow."""

    def __init__(self, project: Project, notify: Callable[[str], None]) -> None:
        self._project = project
        self._notify = notify
        self._reported: set[str] = set()
        self._next = 0.0

    def look(self) -> None:
        """Say what is new, at every call that comes late enough after the one before."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + ASK
        for remark in remarks(self._project):
            if remark not in self._reported:
                self._reported.add(remark)
                self._notify(remark)
