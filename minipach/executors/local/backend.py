"""The backend `local`: warm processes of the scheduler's own, which end with it."""

from __future__ import annotations

from minipach.executors.base import Executor
from minipach.executors.local import status_file
from minipach.executors.registry import Backend
from minipach.executors.view import Looker
from minipach.project.project import Project
from minipach.project.settings import slots


class LocalBackend(Backend):
    """Processes on this machine. Work that is pending while it is set was submitted to another executor."""

    name = "local"
    lasting = False
    fix_forsaken = "minipach up, or git config minipach.executor as it was; or minipach schedule to run it here"

    def make(self, project: Project, jobs: int | None) -> Executor:
        """Return an executor with so many slots (None: as configured)."""
        from minipach.executors.local.executor import LocalExecutor

        return LocalExecutor(slots(project.repo, jobs), status_file.Board(project.state_dir))

    def view(self, project: Project) -> Looker:
        """Return what shows the schedule that runs now."""
        return status_file.looker(project)

    def forsaken(self, project: Project) -> bool:
        """Return True: what schedules have left is another executor's, and nobody comes for it."""
        return True
