"""The backend `local`: warm processes of the scheduler's own, which end with it."""

from __future__ import annotations

import logging
import os
import shutil

from minipach.executors.base import Executor
from minipach.executors.gpus import gpus_there, own_gpus
from minipach.executors.local import status_file
from minipach.executors.local.shared_capacity import SharedCapacity
from minipach.executors.registry import Backend
from minipach.executors.resources import Capacity, own_cpus, own_memory
from minipach.executors.view import Looker
from minipach.model.pipeline import Pipeline
from minipach.model.work_set import Needs
from minipach.project.project import Project
from minipach.project.settings import slots
from minipach.support.errors import Problem
from minipach.support.text import byte_count, many

_LOG = logging.getLogger(__name__)


class LocalBackend(Backend):
    """Processes on this machine. Work that is pending while it is set was submitted to another executor."""

    name = "local"
    lasting = False
    fix_forsaken = "minipach up, or git config minipach.executor as it was; or minipach schedule to run it here"

    def make(self, project: Project, jobs: int | None) -> Executor:
        """Return an executor with so many slots (None: as configured)."""
        from minipach.executors.local.executor import LocalExecutor

        count = slots(project.repo, jobs)
        capacity = SharedCapacity(_capacity(project), project.local.capacity, count)
        return LocalExecutor(count, status_file.StatusFile(project.state_dir), capacity)

    def too_much(self, project: Project, pipeline: Pipeline) -> Problem | None:
        """Return the problem of a pipeline that requests more than this machine has; None: it can run here."""
        ask = pipeline.resource_requests
        if ask is None:
            return None
        capacity = _capacity(project)
        free = shutil.disk_usage(project.root).free
        lacks = [
            f"{many(ask.cpu, 'CPU')} (it has {capacity.cpus:g})" if ask.cpu and ask.cpu > capacity.cpus else "",
            f"{byte_count(ask.memory)} of memory (it has {byte_count(capacity.memory)})"
            if ask.memory and ask.memory > capacity.memory
            else "",
            f"{many(ask.gpu_number, 'GPU')} (it has {len(capacity.gpus)})"
            if ask.gpu_number > len(capacity.gpus)
            else "",
            f"{byte_count(ask.disk)} of disk (it has {byte_count(free)} free)" if ask.disk and ask.disk > free else "",
        ]
        if not any(lacks):
            return None
        return Problem(
            "pipeline.needs-too-much",
            pipeline.at("resource_requests"),
            f"requests more than this machine has: {' and '.join(what for what in lacks if what)}",
            "lower it, or run where there is more (minipach.executor rq or slurm)",
        )

    def view(self, project: Project) -> Looker:
        """Return the view of the running schedule, for `top`."""
        return status_file.looker(project)

    def forsaken(self, project: Project) -> bool:
        """Return True: what schedules have left is another executor's, and nobody comes for it."""
        return True


def _capacity(project: Project) -> Capacity:
    """Return this machine's resources. GPUs are looked for only where a pipeline asks for one."""
    wanted = any(Needs.of(pipeline).gpus for pipeline in project.pipelines.values())
    return Capacity(own_gpus(os.environ, gpus_there(), _LOG.warning) if wanted else (), own_cpus(), own_memory())
