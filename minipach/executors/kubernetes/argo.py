"""Argo Workflows: a workflow whose tasks make the passes of pipelines, in the order of the DAG. Pure functions.

Each task runs `minipach schedule PIPELINE` on the project, which is on a volume. The datum sets themselves run as the
project's executor says: with `kubernetes`, as Indexed Jobs. git and the stores carry all data, so there are no
artifacts. https://argo-workflows.readthedocs.io/en/latest/fields/
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minipach.executors.kubernetes.manifest import PIPELINE_NOTE
from minipach.model.clock import Clock
from minipach.support.errors import Problem, UserError

_VERSION = "argoproj.io/v1alpha1"
_MOST = 1_000_000  # bytes of an object; etcd takes 1.5 MiB of a request
_PROJECT = "/project"
_EVERY = "@every"


@dataclass(frozen=True, slots=True)
class WorkflowOptions:
    """The settings of a workflow's pods. claim: the volume claim with the project; None: the cluster's default."""

    image: str
    claim: str
    service_account: str | None = None


def workflow(order: Sequence[str], upstream: Mapping[str, Sequence[str]], options: WorkflowOptions) -> dict[str, Any]:
    """Return the Workflow of these pipelines.

    Args:
        order: The paths of the pipelines, upstream first.
        upstream: The pipelines from which each takes directly; those that are not in `order` are no dependencies.
        options: The settings.

    Raises:
        UserError: It is too large for etcd.
    """
    return _fitting(
        {
            "apiVersion": _VERSION,
            "kind": "Workflow",
            "metadata": {"generateName": "minipach-"},
            "spec": _spec(order, upstream, options),
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


def _spec(order: Sequence[str], upstream: Mapping[str, Sequence[str]], options: WorkflowOptions) -> dict[str, Any]:
    tasks = []
    for path in order:
        task: dict[str, Any] = {"name": task_name(path), "template": task_name(path)}
        if above := [task_name(one) for one in upstream.get(path, ()) if one in order]:
            task["dependencies"] = above
        tasks.append(task)
    spec: dict[str, Any] = {
        "entrypoint": "pipelines",
        "volumes": [{"name": "project", "persistentVolumeClaim": {"claimName": options.claim}}],
        "templates": [{"name": "pipelines", "dag": {"tasks": tasks}}, *(_template(path, options) for path in order)],
    }
    if options.service_account:
        spec["serviceAccountName"] = options.service_account
    return spec


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
