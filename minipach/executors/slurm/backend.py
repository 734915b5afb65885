"""The backend `slurm`: job arrays, and a dependent job that makes the next pass."""

from __future__ import annotations

import os
from collections.abc import Iterator

from minipach.executors.base import Executor
from minipach.executors.registry import Backend
from minipach.executors.view import Looker
from minipach.project.project import Project
from minipach.support.errors import Finding


class SlurmBackend(Backend):
    """Tasks of Slurm. Sets, and the passes that follow them, outlive the scheduler."""

    name = "slurm"
    lasting = True
    patience = 60.0  # then the step gives its place in the queue back

    def make(self, project: Project, jobs: int | None) -> Executor:
        """Return an executor with at most so many tasks at once (None: as configured)."""
        from minipach.executors.slurm.executor import SlurmExecutor

        return SlurmExecutor(project, jobs)

    def view(self, project: Project) -> Looker:
        """Return the view of the project's rows in squeue, for `top`."""
        from minipach.executors.slurm.view import looker

        return looker(project)

    def forsaken(self, project: Project) -> bool:
        """Return whether Slurm has no step that would make the next pass."""
        from minipach.executors.slurm.follow_up_job import step_is_gone

        return step_is_gone(project)

    def check_setup(self, project: Project) -> Iterator[Finding]:
        """Yield whether Slurm's programs answer, and know the partition."""
        from minipach.executors.slurm.client import problem
        from minipach.executors.slurm.options import SlurmOptions

        found = problem(wanted=SlurmOptions(project, None).partition)
        if found is None:
            yield Finding("ok", "Slurm answers")
        else:
            yield Finding.of("problem", found)

    def pass_label(self) -> str | None:
        """Return the job of Slurm in which this process runs."""
        job = os.environ.get("SLURM_JOB_ID")
        return f"schedule (job {job} of Slurm)" if job else None

    def come_back(self, project: Project, seconds: int) -> None:
        """Submit the step once more, for later."""
        from minipach.executors.slurm.executor import SlurmExecutor

        SlurmExecutor(project, None).come_back(seconds)
