"""The state of one pod, as `kubectl get pods --output=json` has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from minipach.executors.kubernetes.manifest import PIPELINE_NOTE

_FAILED_CREATE = "FailedCreate"  # what the Job controller says where a quota or a policy forbids a pod
STARTING = "its container is being created"
_LONGEST = 160  # characters of a reason that are shown


def pod_place(pod: dict[str, Any]) -> tuple[str, int | None]:
    """Return the Job and the index of a pod; None: it has none."""
    labels = pod.get("metadata", {}).get("labels", {})
    notes = pod.get("metadata", {}).get("annotations", {})
    index = labels.get("batch.kubernetes.io/job-completion-index") or notes.get(
        "batch.kubernetes.io/job-completion-index"
    )
    name = labels.get("batch.kubernetes.io/job-name") or labels.get("job-name") or ""
    return str(name), int(index) if isinstance(index, str) and index.isdecimal() else None


def why_pending(pod: Mapping[str, Any]) -> str:
    """Return why a pod does not run yet, in Kubernetes' own words."""
    status = pod.get("status", {})
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = (container.get("state") or {}).get("waiting") or {}
        if state.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return cut(f"{state['reason']}: {state.get('message') or container.get('image')}")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return cut(f"{condition.get('reason')}: {condition.get('message')}")
    return STARTING


def cut(text: str) -> str:
    """Return a reason that is not longer than a line."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def ending(pod: Mapping[str, Any]) -> str:
    """Return how a pod ended, in Kubernetes' own words."""
    status = pod.get("status", {})
    words = [str(status["reason"])] if status.get("reason") else []
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            words.append(f"disrupted ({condition.get('reason') or 'no reason'})")
    for container in status.get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            words.append(f"{container.get('name')}: {ended.get('reason') or 'ended'}, exit code {ended['exitCode']}")
    return "; ".join(words) or str(status.get("phase") or "unknown")


def waits(
    jobs: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]
) -> Counter[tuple[str, str]]:
    """Return why pods wait: how many, by (pipeline, reason). A pod that a quota forbids is not even made."""
    found: Counter[tuple[str, str]] = Counter()
    for pod in pods:
        if pod.get("status", {}).get("phase") == "Pending":
            found[pipeline_of(pod), why_pending(pod)] += 1
    denied = {
        str((row.get("involvedObject") or {}).get("name")): cut(f"{row['reason']}: {row.get('message')}")
        for row in events
        if row.get("reason") == _FAILED_CREATE
    }
    for row in jobs:
        spec, status = row.get("spec", {}), row.get("status", {})
        name = str(row.get("metadata", {}).get("name"))
        if spec.get("suspend"):
            found[pipeline_of(row), "the Job is suspended (its queue has not admitted it)"] += 1
        elif name in denied and not status.get("active") and not _is_over(status):
            found[pipeline_of(row), denied[name]] += 1
    return found


def pipeline_of(row: Mapping[str, Any]) -> str:
    """Return the pipeline that an object is of."""
    return str(row.get("metadata", {}).get("annotations", {}).get(PIPELINE_NOTE) or "?")


def _is_over(status: Mapping[str, Any]) -> bool:
    return any(
        row.get("type") in ("Complete", "Failed") and row.get("status") == "True"
        for row in status.get("conditions") or ()
    )
