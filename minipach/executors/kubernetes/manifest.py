"""The Job of a batch, as Kubernetes takes it: a pure function of the batch, the pipeline's needs and the settings.

Indexed Jobs: https://kubernetes.io/docs/concepts/workloads/controllers/job/ (backoffLimitPerIndex: 1.29 and later;
podFailurePolicy: 1.31 and later).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from minipach.executors.kubernetes import command_container
from minipach.executors.kubernetes.command_container import ContainerCommand
from minipach.executors.kubernetes.resources import resources
from minipach.model.launch_protocol import POD_FOLDER
from minipach.model.pipeline import Pod
from minipach.model.work_set import Needs
from minipach.support.errors import Problem, UserError
from minipach.support.validation import InvalidError, parse_object

PROJECT_LABEL = "minipach.dev/project"
PIPELINE_LABEL = "minipach.dev/pipeline"
PIPELINE_NOTE = "minipach.dev/pipeline"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
_TRIES = 2  # pods of an index after the first, before its sets are submitted again
_END = 60  # seconds of a pod to keep what is finished, once it is asked to end
WORKER = "worker"  # the container of the worker
WORK = "/work"
_SSH = "/etc/minipach/ssh"


@dataclass(frozen=True, slots=True)
class PodOptions:
    """Settings of pods; None: the cluster's default. author: name and address for commits in pods."""

    image: str
    git: str
    finished: int = 3600
    service_account: str | None = None
    pull_secret: str | None = None
    ssh_secret: str | None = None
    env_secret: str | None = None
    queue: str | None = None
    priority_class: str | None = None
    author: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One Job to submit.

    name: of the batch · project: the project's mark · pipeline: its path · indices, parallel: how many, and how many
    at once · seconds: until the job's time limit (None: none) · pod: of the spec · command: the container for the
    commands of datums (None: the worker runs them itself).
    """

    name: str
    project: str
    pipeline: str
    indices: int
    parallel: int
    needs: Needs
    pod: Pod
    seconds: float | None = None
    command: ContainerCommand | None = None


def job(request: JobRequest, options: PodOptions) -> dict[str, Any]:
    """Return the Job. Raises UserError for a pod patch that can't be applied."""
    labels = {
        "app.kubernetes.io/name": "minipach",
        "app.kubernetes.io/managed-by": "minipach",
        PROJECT_LABEL: request.project,
        PIPELINE_LABEL: label_of(request.pipeline),
    }
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": request.indices,
        "parallelism": min(request.indices, request.parallel),
        "backoffLimitPerIndex": _TRIES,
        "maxFailedIndexes": request.indices,
        "ttlSecondsAfterFinished": options.finished,
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "template": {
            "metadata": {"labels": labels, "annotations": {PIPELINE_NOTE: request.pipeline}},
            "spec": patched(pod_spec(request, options), request),
        },
    }
    if request.seconds is not None:
        spec["activeDeadlineSeconds"] = max(1, ceil(request.seconds))
    if options.queue:
        spec["suspend"] = True  # Kueue starts it
        labels = {**labels, "kueue.x-k8s.io/queue-name": options.queue}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": request.name, "labels": labels, "annotations": {PIPELINE_NOTE: request.pipeline}},
        "spec": spec,
    }


def label_of(pipeline: str) -> str:
    """Return the label of a pipeline. Its path may have characters, or a length, that no label has."""
    return hashlib.sha256(pipeline.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def pod_spec(request: JobRequest, options: PodOptions) -> dict[str, Any]:
    """Return the spec of the pod of an index."""
    container: dict[str, Any] = {
        "name": WORKER,
        "image": options.image,
        "command": ["python3", "-P", "-m", "minipach.executors.kubernetes.task"],
        "args": [WORK, options.git, request.pipeline, request.name],
        "env": [
            {"name": "MINIPACH_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "MINIPACH_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            {"name": "HOME", "value": WORK + "/home"},
        ],
        "resources": {} if request.command else resources(request.needs),
        "volumeMounts": [{"name": "work", "mountPath": WORK}],
    }
    for role in ("AUTHOR", "COMMITTER") if options.author else ():
        for what, value in zip(("NAME", "EMAIL"), options.author or (), strict=True):
            container["env"].append({"name": f"GIT_{role}_{what}", "value": value})
    volumes: list[dict[str, Any]] = [{"name": "work", "emptyDir": {}}]
    if options.ssh_secret:
        volumes.append({"name": "ssh", "secret": {"secretName": options.ssh_secret, "defaultMode": 0o400}})
        container["volumeMounts"].append({"name": "ssh", "mountPath": _SSH, "readOnly": True})
        command = f"ssh -i {_SSH}/id_ed25519 -o UserKnownHostsFile={_SSH}/known_hosts -o BatchMode=yes"
        container["env"].append({"name": "GIT_SSH_COMMAND", "value": command})
    if options.env_secret:
        container["envFrom"] = [{"secretRef": {"name": options.env_secret}}]
    if request.command:
        container["env"].append({"name": POD_FOLDER, "value": f"{WORK}/{command_container.FOLDER}"})
        container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _END,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": volumes,
    }
    if request.command:
        pod["enableServiceLinks"] = False
        pod["securityContext"] = command_container.security()
        pod["initContainers"] = command_container.init_containers(
            request.command, options.image, "work", WORK, request.needs
        )
    if options.service_account:
        pod["serviceAccountName"] = options.service_account
    if options.pull_secret:
        pod["imagePullSecrets"] = [{"name": options.pull_secret}]
    if request.pod.node_selector:
        pod["nodeSelector"] = dict(request.pod.node_selector)
    if priority := request.pod.priority_class or options.priority_class:
        pod["priorityClassName"] = priority
    if request.pod.tolerations:
        pod["tolerations"] = json.loads(request.pod.tolerations)
    return pod


def patched(pod: dict[str, Any], request: JobRequest) -> dict[str, Any]:
    """Apply the spec's `pod_spec` (RFC 7386) and `pod_patch` (RFC 6902), as Pachyderm does it to the pod's spec."""
    where = f"{request.pipeline}/spec.yml"
    if request.pod.spec:
        pod = _merged(pod, _object(request.pod.spec, where))
    if not request.pod.patch:
        return pod
    import jsonpatch

    try:
        found = jsonpatch.apply_patch(pod, json.loads(request.pod.patch))
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, ValueError) as error:
        raise UserError(
            Problem("kubernetes.bad-patch", where, f"pod_patch: {error}", "see RFC 6902; paths begin at the pod's spec")
        ) from None
    if not isinstance(found, Mapping) or not isinstance(found.get("containers"), list):
        raise UserError(Problem("kubernetes.bad-patch", where, "pod_patch: leaves no containers", "keep /containers"))
    return dict(found)


_LISTS = ("containers", "initContainers", "volumes")  # whose place a merge would take


def _object(text: str, where: str) -> dict[str, Any]:
    """Return the JSON object of `pod_spec`. Raises UserError for what is none, or takes the place of our lists."""
    try:
        found = parse_object(text)
    except InvalidError as error:
        message = f"pod_spec: no JSON object: {error}"
        raise UserError(Problem("kubernetes.bad-patch", where, message, "write {...}, as text")) from None
    for name in _LISTS:
        if name in found:
            message, fix = f"pod_spec: it would take the place of {name}", "change them with pod_patch"
            raise UserError(Problem("kubernetes.bad-patch", where, message, fix))
    return found


def _merged(old: Any, new: Any) -> Any:
    """Return a value with a merge patch (RFC 7386) applied."""
    if not isinstance(new, dict):
        return new
    found = dict(old) if isinstance(old, dict) else {}
    for name, value in new.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = _merged(found.get(name), value)
    return found
