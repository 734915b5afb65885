"""Services in a cluster: a Deployment and a Service for each, applied through kubectl."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from minipach.executors.kubernetes.client import Client
from minipach.executors.kubernetes.command_container import ContainerCommand, memory_limit
from minipach.executors.kubernetes.job_request import command_image, pod_options
from minipach.executors.kubernetes.manifest import JobRequest
from minipach.executors.kubernetes.options import KubernetesOptions
from minipach.executors.kubernetes.pod_state import why_pending
from minipach.executors.kubernetes.preflight import Preflight
from minipach.executors.kubernetes.service_manifest import (
    DATUM_NOTE,
    PATH_LABEL,
    SERVICE_LABEL,
    SET_NOTE,
    service_name,
    service_objects,
)
from minipach.executors.kubernetes.service_task import in_a_pod
from minipach.executors.stored_sets import drop_sets, known_sets, write_sets
from minipach.git.repo import Repo
from minipach.model.pipeline import Service
from minipach.model.work_set import WorkSet
from minipach.project.project import Project
from minipach.records.service_state import ServiceState
from minipach.support.errors import UserError


class KubernetesServices:
    """The services of one project in its cluster."""

    def __init__(self, project: Project, client: Client | None = None) -> None:
        """Raises UserError for a bad setting."""
        self._project = project
        self._settings = KubernetesOptions(project)
        self._client = client or self._settings.client()

    def manifests(self, path: str, work: WorkSet) -> list[dict[str, Any]]:
        """Return the Deployment and the Service."""
        pipeline = replace(self._project.pipelines[path], network=True)  # the pod's network is the cluster's
        image = command_image(self._project, self._settings, pipeline)
        mark = self._settings.mark
        request = JobRequest(
            service_name(mark, path),
            mark,
            path,
            1,
            1,
            work.needs,
            pipeline.pod,
            command=ContainerCommand(image, memory_limit(work)) if image else None,
        )
        datum, options = str(work.datums[0]["id"]), pod_options(self._settings)
        return service_objects(request, self._service(path), options, datum=datum, set_id=work.id)

    def _service(self, path: str) -> Service:
        found = self._project.pipelines[path].service
        assert found is not None
        return found

    def apply(self, path: str, work: WorkSet) -> None:
        """Store the set in git, and apply the objects; sets that no pod can ask for any more are dropped."""
        pipeline = self._project.pipelines[path]
        before = Preflight(self._settings, self._client)
        if problems := before.problems({pipeline.pod.priority_class}, {pipeline.at("service"): work.needs}):
            raise UserError(problems)
        repo = Repo(self._project.root / path)
        try:
            live = {row["metadata"].get("annotations", {}).get(SET_NOTE) for row in self._deployments([path])}
            write_sets(repo, [in_a_pod(work, self._service(path).port)])
            for manifest in self.manifests(path, work):
                self._client.apply(manifest)
            drop_sets(repo, known_sets(repo).keys() - {work.id, *live})
        finally:
            repo.close()

    def _deployments(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        names = {service_name(self._settings.mark, path) for path in paths}
        rows = self._client.listed("deployments", f"{SERVICE_LABEL}={self._settings.mark}")
        return [row for row in rows if row.get("metadata", {}).get("name") in names]

    def states(self, paths: Sequence[str]) -> list[ServiceState]:
        """Return how services are: two questions to the API server, whatever their number."""
        deployments = {row["metadata"]["name"]: row for row in self._deployments(paths)}
        pods = self._client.listed("pods", f"{SERVICE_LABEL}={self._settings.mark}") if deployments else []
        return [self._state(path, deployments, pods) for path in paths]

    def _state(self, path: str, deployments: dict[str, dict[str, Any]], pods: list[dict[str, Any]]) -> ServiceState:
        name = service_name(self._settings.mark, path)
        row = deployments.get(name)
        if row is None:
            return ServiceState(path, "stopped", host="kubernetes")
        label = row["metadata"].get("labels", {}).get(PATH_LABEL)
        ours = [pod for pod in pods if pod.get("metadata", {}).get("labels", {}).get(PATH_LABEL) == label]
        ready = [pod for pod in ours if _is_ready(pod)]
        wanted = str(row["metadata"].get("annotations", {}).get(DATUM_NOTE, ""))
        served = [str(pod["metadata"].get("annotations", {}).get(DATUM_NOTE, "")) for pod in ready]
        others = [pod for pod in ours if pod not in ready]
        why = next((text for pod in others if (text := _why(pod))), "")
        restarts = sum(_restarts(pod) for pod in ours)
        if wanted in served:
            word, why = "serving", ""
        elif served:
            word = "updating"
        else:
            word = "crashed" if any(_restarts(pod) for pod in others) else "starting"
        return ServiceState(
            path,
            word,  # type: ignore[arg-type]
            datum=wanted if wanted in served else next(iter(served), ""),
            coming="" if wanted in served else wanted,
            address=f"{name}:{self._service(path).external}" if served else "",
            since=_began(ready),
            restarts=restarts,
            why=why,
            host="kubernetes",
        )

    def remove(self, paths: Sequence[str]) -> None:
        """Delete the objects of services, and their sets."""
        names = [service_name(self._settings.mark, path) for path in paths]
        for kind in ("deployments", "services"):
            self._client.delete(kind, names)
        for path in paths:
            repo = Repo(self._project.root / path)
            drop_sets(repo, known_sets(repo).keys())
            repo.close()


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(row.get("type") == "Ready" and row.get("status") == "True" for row in conditions)


def _restarts(pod: dict[str, Any]) -> int:
    return sum(int(row.get("restartCount", 0)) for row in pod.get("status", {}).get("containerStatuses", ()))


def _why(pod: dict[str, Any]) -> str:
    for row in pod.get("status", {}).get("containerStatuses", ()):
        ended = row.get("lastState", {}).get("terminated")
        if ended:
            return f"it ended with exit code {ended.get('exitCode')}"
    return why_pending(pod) if pod.get("status", {}).get("phase") == "Pending" else ""


def _began(pods: list[dict[str, Any]]) -> float:
    for pod in pods:
        try:
            return datetime.fromisoformat(str(pod["status"]["startTime"]).replace("Z", "+00:00")).timestamp()
        except (KeyError, ValueError):
            continue
    return time.time() if pods else 0.0
