"""Argo Workflows: a workflow whose tasks make the passes of pipelines, in the order of the DAG. Pure functions.

Each task runs `minipach schedule PIPELINE` on the project, which is on a volume. The datum sets run as the project's
executor says: with `kubernetes`, as Indexed Jobs, or as steps of the workflow (see `argo_step`). git and the stores
carry all data, so there are no artifacts. https://argo-workflows.readthedocs.io/en/latest/fields/
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from minipach.executors.kubernetes.manifest import PIPELINE_NOTE
from minipach.model.clock import Clock
from minipach.support.errors import Problem, UserError

_VERSION = "argoproj.io/v1alpha1"
_MOST = 1_000_000  # bytes of an object; etcd takes 1.5 MiB of a request
_PROJECT = "/project"
_EVERY = "@every"
_STEP_FOLDER = "/tmp/minipach"
FOLDER = "MINIPACH_ARGO_STEP"  # a step's folder for its two files
BATCHES, COUNT = "batches", "count"
ITEM = "MINIPACH_ARGO_ITEM"  # which item of the sequence a pod is to run
# fields of a pod's spec that a template has, too; others go into its patch
_OF_TEMPLATE = (
    "volumes",
    "initContainers",
    "nodeSelector",
    "tolerations",
    "priorityClassName",
    "serviceAccountName",
    "securityContext",
)
_OF_ARGO = ("containers", "restartPolicy", "automountServiceAccountToken")


@dataclass(frozen=True, slots=True)
class WorkflowOptions:
    """The settings of a workflow's pods. claim: the volume claim with the project; None: the cluster's default."""

    image: str
    claim: str
    service_account: str | None = None


def workflow(
    order: Sequence[str],
    upstream: Mapping[str, Sequence[str]],
    options: WorkflowOptions,
    pods: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the Workflow of these pipelines.

    Args:
        order: The paths of the pipelines, upstream first.
        upstream: The pipelines from which each takes directly; those that are not in `order` are no dependencies.
        options: The settings.
        pods: The spec of a chunk's pod for each pipeline whose chunks are steps of the workflow.

    Raises:
        UserError: It is too large for etcd.
    """
    return _fitting(
        {
            "apiVersion": _VERSION,
            "kind": "Workflow",
            "metadata": {"generateName": "minipach-"},
            "spec": _spec(order, upstream, options, pods),
        }
    )


def cron_workflow(
    path: str, clock: Clock, order: Sequence[str], upstream: Mapping[str, Sequence[str]], options: WorkflowOptions
) -> dict[str, Any]:
    """Return the CronWorkflow that makes the pass of a clock's pipeline and of what is downstream, when it is due.

    Which ticks are missing is decided by the pass, in git: one that comes late, twice or not at all does no harm.

    Raises:
        UserError: The clock has no cron line, or the object is too large.
    """
    if clock.line.startswith(_EVERY):
        message = f'"{clock.line}" is no cron line, and Argo takes no other'
        raise UserError(Problem("argo.no-cron-line", f"{path}/spec.yml", message, "write a cron line: */5 * * * *"))
    return _fitting(
        {
            "apiVersion": _VERSION,
            "kind": "CronWorkflow",
            "metadata": {"name": task_name(path)},
            "spec": {
                "schedules": [clock.line],
                "timezone": clock.zone,
                "concurrencyPolicy": "Forbid",
                "workflowSpec": _spec(order, upstream, options),
            },
        }
    )


def task_name(path: str) -> str:
    """Return a name for a pipeline that Kubernetes takes, and that no other pipeline has."""
    words = re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")[:30].strip("-")
    return f"p-{words}-{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}".replace("--", "-")


def _spec(
    order: Sequence[str],
    upstream: Mapping[str, Sequence[str]],
    options: WorkflowOptions,
    pods: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    tasks = []
    for path in order:
        task: dict[str, Any] = {"name": task_name(path), "template": task_name(path)}
        if above := [task_name(one) for one in upstream.get(path, ()) if one in order]:
            task["dependencies"] = above
        tasks.append(task)
    spec: dict[str, Any] = {
        "entrypoint": "pipelines",
        "volumes": [{"name": "project", "persistentVolumeClaim": {"claimName": options.claim}}],
        "templates": [{"name": "pipelines", "dag": {"tasks": tasks}}, *_templates(order, options, pods)],
    }
    if options.service_account:
        spec["serviceAccountName"] = options.service_account
    return spec


def _templates(
    order: Sequence[str], options: WorkflowOptions, pods: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    for path in order:
        if path in pods:
            yield from _with_chunks(path, options, pods[path])
        else:
            yield _template(path, options)


def _with_chunks(path: str, options: WorkflowOptions, pod: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the templates of a pipeline: a pass, then a pod for each chunk, and so on until nothing is left."""
    name = task_name(path)
    handed = "{{steps.pass.outputs.parameters."
    values = [{"name": "batches", "value": f"{handed}{BATCHES}}}}}"}, {"name": "item", "value": "{{item}}"}]
    chunk = {
        "name": "chunk",
        "template": f"{name}-chunk",
        "arguments": {"parameters": values},
        "withSequence": {"count": f"{handed}{COUNT}}}}}"},
        "continueOn": {"failed": True, "error": True},  # what is left is for the next pass
    }
    again = {"name": "again", "template": name, "when": f"{handed}{COUNT}}}}} != 0"}
    yield {"name": name, "steps": [[{"name": "pass", "template": f"{name}-pass"}], [chunk], [again]]}
    first = _template(path, options)
    first["name"] = f"{name}-pass"
    first["container"]["env"] = [{"name": FOLDER, "value": _STEP_FOLDER}]
    first["outputs"] = {
        "parameters": [
            {"name": file, "valueFrom": {"path": f"{_STEP_FOLDER}/{file}", "default": default}}
            for file, default in ((BATCHES, ""), (COUNT, "0"))
        ]
    }
    args = first["container"]["args"]
    first["container"]["args"] = [word for word in args if word != "--wait"]
    yield first
    yield _chunk(f"{name}-chunk", path, pod, options)


def _chunk(name: str, path: str, pod: Mapping[str, Any], options: WorkflowOptions) -> dict[str, Any]:
    """Return the template of a chunk: the pod of an index of a Job, whose index is the item."""
    container, *beside = json.loads(json.dumps(pod["containers"]))
    for word in container["args"]:
        _literal(word)
    container["command"] = ["python3", "-P", "-m", "minipach.executors.kubernetes.argo_chunk"]
    container["args"] = [*container["args"][:-1], "{{inputs.parameters.batches}}"]
    container["env"].append({"name": ITEM, "value": "{{inputs.parameters.item}}"})
    del container["name"]
    found: dict[str, Any] = {
        "name": name,
        "inputs": {"parameters": [{"name": "batches"}, {"name": "item"}]},
        "metadata": {"annotations": {PIPELINE_NOTE: path}},
        "retryStrategy": {"limit": "2", "retryPolicy": "Always"},
        "container": container,
        # the token is for Argo's own container alone
        "automountServiceAccountToken": False,
        "executor": {"serviceAccountName": options.service_account or "default"},
    }
    if beside:
        found["sidecars"] = beside
    found |= {key: pod[key] for key in _OF_TEMPLATE if key in pod}
    rest = {key: value for key, value in pod.items() if key not in (*_OF_TEMPLATE, *_OF_ARGO)}
    return {**found, **({"podSpecPatch": json.dumps(rest)} if rest else {})}


def _template(path: str, options: WorkflowOptions) -> dict[str, Any]:
    return {
        "name": task_name(path),
        "metadata": {"annotations": {PIPELINE_NOTE: path}},
        "container": {
            "image": options.image,
            "command": ["minipach"],
            "args": ["-C", _PROJECT, "schedule", "--no-downstream", "--wait", "--", _literal(path)],
            "volumeMounts": [{"name": "project", "mountPath": _PROJECT}],
        },
    }


def _literal(text: str) -> str:
    """Return a text that Argo does not expand. Raises UserError for one that it would."""
    if "{{" in text:
        raise UserError(Problem("argo.template", text, "Argo would expand the braces in this path", "rename it"))
    return text


def _fitting(found: dict[str, Any]) -> dict[str, Any]:
    size = len(json.dumps(found))
    if size > _MOST:
        message = f"{size} bytes, more than an object of etcd may have"
        raise UserError(Problem("argo.too-large", found["kind"], message, "export fewer pipelines at a time"))
    return found
