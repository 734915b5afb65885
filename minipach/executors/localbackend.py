"""The backend `local`: warm processes of the scheduler's own, which end with it."""

from __future__ import annotations

from minipach.executors import localboard
from minipach.executors.base import Executor
from minipach.executors.looks import Looker
from minipach.executors.registry import Backend
from minipach.project import Project
from minipach.settings import slots


class LocalBackend(Backend):
    """Processes on this machine. Work that is pending while it is set was submitted to another executor."""

    name = "local"
    lasting = False
    fix_forsaken = "minipach up, or git config minipach.executor as it was; or minipach schedule to run it here"

    def make(self, project: Project, jobs: int | None) -> Executor:
        """Return an executor with so many slots (None: as configured)."""
        from minipach.executors.local import LocalExecutor

        return LocalExecutor(slots(project.repo, jobs), localboard.Board(project.state_dir))

    def view(self, project: Project) -> Looker:
        """Return what shows the schedule that runs now."""
        return localboard.looker(project)

    def forsaken(self, project: Project) -> bool:
        """Return True: what schedules have left is another executor's, and nobody comes for it."""
        return True
