"""The times at which a process that runs for long asks for a pass by itself: ticks of clocks, and branch triggers."""

from __future__ import annotations

import time

from minipach.git.git_error import GitError
from minipach.project.project import Project
from minipach.scheduling.add_ticks import due_moments
from minipach.support.errors import UserError
from minipach.triggers import passes

LINE = "clock a tick is due"  # what is heard then
_CLOCK = 30.0  # seconds between looks at the time: a machine sleeps, and clocks are put right


class DueTimes:
    """The next due time of a project. For each due time, a pass is asked for once; `read(again=True)` asks again."""

    def __init__(self, project: Project) -> None:
        self._root = project.root
        self._next: int | None = None  # seconds since 1970
        self._asked = -1  # a pass was asked for all that was due until then; -1: not yet

    def read(self, *, again: bool = False) -> None:
        """Find out when something is due. Call it at the beginning, after each pass, and regularly with `again`."""
        if again:
            self._asked = -1
        try:
            project = Project(self._root)
            moments = due_moments(project, int(time.time()), passes.by_itself(project)[0].order)
        except (UserError, GitError):  # a pass reports it
            moments = []
        self._next = min((moment for moment in moments if moment > self._asked), default=None)

    def is_due(self) -> bool:
        """Return whether a pass is to be asked for now. After True, the same due time is not due again."""
        if self._next is None or time.time() < self._next:
            return False
        self._next, self._asked = None, int(time.time())
        return True

    def seconds(self) -> float | None:
        """Return how long to wait until `is_due` is asked again; None: nothing will be due."""
        return None if self._next is None else min(_CLOCK, max(0.0, self._next - time.time()))
