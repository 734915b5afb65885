"""The Deployment and the Service of a service, as Kubernetes takes them: pure functions.

The pod's template has the id of the datum, so that a rollout begins when, and only when, that changes. The old pod
serves until the new one is ready (`maxUnavailable: 0`).
"""

from __future__ import annotations

from typing import Any

from minipach.executors.kubernetes.argo import task_name
from minipach.executors.kubernetes.manifest import (
    PIPELINE_NOTE,
    WORK,
    JobRequest,
    PodOptions,
    label_of,
    patched,
    pod_spec,
)
from minipach.model.pipeline import Service

SERVICE_LABEL = "minipach.dev/services-of"  # the project's mark; a schedule takes no such pod for one of its own
PATH_LABEL = "minipach.dev/service"
DATUM_NOTE = "minipach.dev/datum"
SET_NOTE = "minipach.dev/set"
_NODE_PORTS = range(30000, 32768)
_END = 30  # seconds for a program to end
_PROGRESS = 600  # seconds in which a new pod has to be ready


def service_name(mark: str, path: str) -> str:
    """Return the name of a service's objects."""
    return f"minipach-{mark[:8]}-{task_name(path)}"


def service_objects(
    request: JobRequest, service: Service, options: PodOptions, *, datum: str, set_id: str
) -> list[dict[str, Any]]:
    """Return the Deployment and the Service.

    Args:
        request: The pod's needs; its name is that of the objects.
        service: The ports and the health check.
        options: The settings of pods.
        datum: The id of the datum.
        set_id: The set with this one datum, which the pod fetches from git.

    Raises:
        UserError: The spec's pod patch can't be applied.
    """
    mark = {SERVICE_LABEL: request.project, PATH_LABEL: label_of(request.pipeline)}
    labels = {"app.kubernetes.io/name": "minipach-service", "app.kubernetes.io/managed-by": "minipach", **mark}
    metadata = {"name": request.name, "labels": labels}
    pod = pod_spec(request, options)
    pod |= {"restartPolicy": "Always", "terminationGracePeriodSeconds": _END}
    container = pod["containers"][0]
    container["command"] = ["python3", "-P", "-m", "minipach.executors.kubernetes.service_task"]
    container["args"] = [WORK, options.git, request.pipeline, set_id]
    container["ports"] = [{"name": "service", "containerPort": service.port}]
    check = {"httpGet": {"path": service.health, "port": "service"}} if service.health else _TCP
    container["readinessProbe"] = {**check, "periodSeconds": 2, "timeoutSeconds": 5}
    notes = {PIPELINE_NOTE: request.pipeline, DATUM_NOTE: datum, SET_NOTE: set_id}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata, "annotations": notes},
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": _PROGRESS,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": mark},
            "template": {"metadata": {"labels": labels, "annotations": notes}, "spec": patched(pod, request)},
        },
    }
    return [deployment, _service(service, metadata, mark, request.pipeline)]


_TCP = {"tcpSocket": {"port": "service"}}


def _service(service: Service, metadata: dict[str, Any], mark: dict[str, str], path: str) -> dict[str, Any]:
    port: dict[str, Any] = {"name": "service", "port": service.external, "targetPort": service.port}
    if service.kind == "NodePort" and service.external in _NODE_PORTS:
        port["nodePort"] = service.external
    spec: dict[str, Any] = {"type": service.kind, "selector": mark, "ports": [port]}
    if service.kind == "LoadBalancer" and service.ip:
        spec["loadBalancerIP"] = service.ip
    notes = {**dict(service.annotations), PIPELINE_NOTE: path}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {**metadata, "annotations": notes}, "spec": spec}
