"""The request of a Job, as far as it follows from settings and pipeline."""

from __future__ import annotations

import time

from minipach.environment.image import resolve_image
from minipach.executors.kubernetes.command_container import own_image
from minipach.executors.kubernetes.manifest import PodOptions
from minipach.executors.kubernetes.options import KubernetesOptions
from minipach.model.pipeline import Pipeline
from minipach.project.project import Project
from minipach.records.pending_work import due_in


def pod_options(settings: KubernetesOptions) -> PodOptions:
    """Return what the settings say of pods. Raises UserError."""
    return PodOptions(
        image=settings.image,
        git=settings.git,
        finished=settings.finished,
        service_account=settings.service_account,
        pull_secret=settings.pull_secret,
        ssh_secret=settings.ssh_secret,
        env_secret=settings.env_secret,
        queue=settings.queue,
        priority_class=settings.priority_class,
        author=settings.author,
    )


def command_image(project: Project, settings: KubernetesOptions, pipeline: Pipeline) -> str | None:
    """Return the image that the cluster runs; None: the worker runs commands itself. Raises UserError."""
    return None if settings.is_nested else own_image(pipeline, resolve_image(project, pipeline.path))


def seconds_left(project: Project, path: str) -> float | None:
    """Return the seconds until the time limit of a pipeline's job; None: it has none."""
    due = due_in(project.local.folder, path)
    return None if due is None else max(1.0, due - time.time())
