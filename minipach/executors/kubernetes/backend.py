"""The backend `kubernetes`: Indexed Jobs, submitted through kubectl."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from minipach.executors.base import Executor
from minipach.executors.registry import Backend
from minipach.executors.service_host import ServiceHost
from minipach.executors.view import Looker
from minipach.git.repo import Repo
from minipach.model.pipeline import Pipeline, Resources
from minipach.model.work_set import Needs
from minipach.project.project import Project
from minipach.support.errors import Finding, Problem, UserError

_STEP = "MINIPACH_ARGO_STEP"  # FOLDER of `argo`, which is imported late

RIGHTS = (
    ("create", "jobs", "batch"),
    ("list", "jobs", "batch"),
    ("delete", "jobs", "batch"),
    ("list", "pods", ""),
    ("get", "pods/log", ""),
)


SERVICE_RIGHTS = tuple(
    (verb, resource, group)
    for resource, group in (("deployments", "apps"), ("services", ""))
    for verb in ("create", "patch", "get", "list", "delete")
)


class KubernetesBackend(Backend):
    """Pods of a cluster without a shared filesystem. Sets outlive the scheduler, which stays until they have ended."""

    name = "kubernetes"
    lasting = True
    shares_project = False  # an Indexed Job can have sets of several pipelines

    def __init__(self) -> None:
        self.stays = not is_a_step()

    def make(self, project: Project, jobs: int | None) -> Executor:
        """Return an executor with at most so many pods of a pipeline at once (None: as configured)."""
        if is_a_step():
            from minipach.executors.kubernetes.argo_step import StepExecutor

            return StepExecutor(project, jobs)
        from minipach.executors.kubernetes.executor import KubernetesExecutor

        return KubernetesExecutor(project, jobs)

    def view(self, project: Project) -> Looker:
        """Return the view of the project's pods, for `top`."""
        from minipach.executors.kubernetes.view import looker

        return looker(project)

    def stream(self, project: Project, path: str | None, ended: Callable[[], bool]) -> Iterator[tuple[str, str]] | None:
        """Return the lines of all pods (of a pipeline) as one stream."""
        from minipach.executors.kubernetes.manifest import PIPELINE_LABEL, PROJECT_LABEL, label_of
        from minipach.executors.kubernetes.options import KubernetesOptions
        from minipach.executors.kubernetes.pod_logs import PodStream

        settings = KubernetesOptions(project)
        selector = f"{PROJECT_LABEL}={settings.mark}"
        if path is not None:
            selector += f",{PIPELINE_LABEL}={label_of(path)}"
        return PodStream(settings.client(), selector).follow(ended)

    def forsaken(self, project: Project) -> bool:
        """Return True: a pass is made by a schedule that waits, by the watcher, or by hand."""
        return True

    def check_setup(self, project: Project) -> Iterator[Finding]:
        """Yield whether kubectl reaches the cluster, the rights there are, the quota, and the settings."""
        from minipach.executors.kubernetes.options import KubernetesOptions
        from minipach.executors.kubernetes.preflight import used_up

        settings = KubernetesOptions(project)
        try:
            client = settings.client()
            client.ask("version", "--output=json")
            yield Finding("ok", "Kubernetes answers")
            for verb, resource, group in (*RIGHTS, *(SERVICE_RIGHTS if project.services else ())):
                if not client.may(verb, resource, group):
                    message = f"may not {verb} {resource} in namespace {client.namespace or 'default'}"
                    fix = "ask the cluster's administrator for the role in deploy/kubernetes"
                    yield Finding.of("problem", Problem("kubernetes.no-right", "kubectl", message, fix))
            for name, full in used_up(client.rows("get", "resourcequotas")):
                message = f"used up: {', '.join(full)}; new pods wait"
                yield Finding.of("note", Problem("kubernetes.quota", f"quota {name}", message, "wait, or ask for more"))
            for problem in settings.missing_secrets(client):
                yield Finding.of("problem", problem)
        except UserError as error:
            yield Finding.of("problem", error.problems[0])
        for name in ("git", "image"):
            try:
                getattr(settings, name)
            except UserError as error:
                yield Finding.of("problem", error.problems[0])

    def try_worker(self, project: Project) -> Iterator[Finding]:
        """Yield whether a pod reaches git and the stores."""
        from minipach.executors.kubernetes.trial_pod import try_from_a_pod

        return try_from_a_pod(project)

    def withdraw(self, repo: Repo) -> None:
        """Keep pods from starting sets of this repo."""
        from minipach.executors.kubernetes.batch import withdraw

        withdraw(repo)

    def manifests(self, project: Project, pipeline: Pipeline, sets: int) -> list[dict[str, Any]]:
        """Return the Job that would be submitted for so many sets of a pipeline. Raises UserError."""
        from minipach.executors.kubernetes.batch import MOST
        from minipach.executors.kubernetes.command_container import ContainerCommand
        from minipach.executors.kubernetes.job_request import command_image, pod_options
        from minipach.executors.kubernetes.manifest import JobRequest, job
        from minipach.executors.kubernetes.options import KubernetesOptions

        settings = KubernetesOptions(project)
        limits = pipeline.resource_limits or Resources()
        image = command_image(project, settings, pipeline)
        request = JobRequest(
            f"minipach-{settings.mark[:8]}-000000000000",
            settings.mark,
            pipeline.path,
            min(sets, settings.pods, MOST),
            min(settings.pods, pipeline.parallelism or settings.pods),
            Needs.of(pipeline),
            pipeline.pod,
            pipeline.job_timeout,
            ContainerCommand(image, limits.memory or 0) if image else None,
        )
        return [job(request, pod_options(settings))] if sets else []

    def service_host(self, project: Project) -> ServiceHost | None:
        """Return what applies the Deployments and Services of the project."""
        from minipach.executors.kubernetes.service_host import KubernetesServices

        return KubernetesServices(project)

    def workflow(self, project: Project, order: Sequence[str], *, chunks: bool = False) -> dict[str, Any]:
        """Return these pipelines, upstream first, as a Workflow of Argo. Raises UserError."""
        from minipach.executors.kubernetes.argo import workflow
        from minipach.executors.kubernetes.options import KubernetesOptions

        pods = {path: self._chunk_pod(project, path) for path in order} if chunks else {}
        return workflow(order, _upstream(project, order), KubernetesOptions(project).workflow, pods)

    def _chunk_pod(self, project: Project, path: str) -> dict[str, Any]:
        """Return the spec of the pod that runs a chunk of a pipeline. Raises UserError."""
        pipeline = project.pipeline(path)
        if pipeline.more_memory > 1:
            message = "a workflow gives each try of a datum the same memory"
            fix = "remove `retry`, or export without --chunks"
            raise UserError(Problem("argo.same-memory", pipeline.source, message, fix))
        (manifest,) = self.manifests(project, pipeline, 1)
        found: dict[str, Any] = manifest["spec"]["template"]["spec"]
        return found

    def cron_workflows(self, project: Project, order: Sequence[str]) -> list[dict[str, Any]]:
        """Return a CronWorkflow for each clock of these pipelines, with what is downstream. Raises UserError."""
        from minipach.executors.kubernetes.argo import cron_workflow
        from minipach.executors.kubernetes.options import KubernetesOptions

        options = KubernetesOptions(project).workflow
        found = []
        for path in order:
            clocks = {one.clock for one in project.pipelines[path].pfs_inputs() if one.clock is not None}
            below = project.downstream([path])
            found += [cron_workflow(path, clock, below, _upstream(project, below), options) for clock in clocks]
        return found


def is_a_step() -> bool:
    """Return whether this process is a step of a workflow of Argo."""
    return bool(os.environ.get(_STEP))


def _upstream(project: Project, order: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {path: project.upstream(path) for path in order}
