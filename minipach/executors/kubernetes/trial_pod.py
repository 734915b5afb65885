"""A short-lived pod that shows whether pods reach git and the stores (`minipach doctor --pod`)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from minipach.executors.kubernetes.client import Client
from minipach.executors.kubernetes.job_request import pod_options
from minipach.executors.kubernetes.manifest import WORKER, JobRequest, job
from minipach.executors.kubernetes.options import KubernetesOptions
from minipach.executors.kubernetes.pod_state import ending, why_pending
from minipach.model.pipeline import Pod
from minipach.model.work_set import Needs
from minipach.project.project import Project
from minipach.storage.store import stores
from minipach.support.errors import Finding, Problem
from minipach.support.validation import InvalidError, parse_object

_PATIENCE = 180.0  # seconds for the pod to start and to end
_PACE = 2.0
_PORTS = {"https": 443, "http": 80, "ssh": 22, "ria+ssh": 22, "ria+https": 443, "ria+http": 80}


def try_from_a_pod(project: Project) -> Iterator[Finding]:
    """Start a pod as workers are, and yield what it reached. The Job is deleted in any case. Raises UserError."""
    settings = KubernetesOptions(project)
    client = settings.client()
    manifest = trial_job(settings, hosts(project))
    name = manifest["metadata"]["name"]
    try:
        client.create(manifest)
        yield from _findings(client, name)
    finally:
        client.delete("jobs", [name])


def trial_job(settings: KubernetesOptions, addresses: list[str]) -> dict[str, Any]:
    """Return the Job. Raises UserError for a bad setting."""
    name = f"minipach-doctor-{secrets.token_hex(4)}"
    # no label of the project: a schedule must not take the pod for one of its own
    request = JobRequest(name, "doctor", "", 1, 1, Needs(), Pod(), _PATIENCE)
    found = job(request, pod_options(settings))
    found["spec"]["backoffLimitPerIndex"] = 0
    found["spec"]["suspend"] = False
    (container,) = found["spec"]["template"]["spec"]["containers"]
    container["command"] = ["python3", "-P", "-m", "minipach.executors.kubernetes.trial_program"]
    container["args"] = [container["args"][0], settings.git, *addresses]
    return found


def hosts(project: Project) -> list[str]:
    """Return `NAME=HOST:PORT` of the stores that are on a network."""
    found = []
    for name, store in stores(project).items():
        parts = urlsplit(store.url)
        try:
            port = parts.port or _PORTS.get(parts.scheme)
        except ValueError:
            continue
        if parts.hostname and port:
            found.append(f"{name}={parts.hostname}:{port}")
    return found


def _findings(client: Client, name: str) -> Iterator[Finding]:
    deadline, pod = time.monotonic() + _PATIENCE, None
    while time.monotonic() < deadline:
        pods = client.listed("pods", f"batch.kubernetes.io/job-name={name}")
        pod = pods[0] if pods else None
        if pod is not None and pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            break
        if pod is not None and "ImagePull" in (why := why_pending(pod)) and pod["status"].get("phase") == "Pending":
            yield _problem("kubernetes.no-image", f"its image can't be fetched: {why}", "see minipach.kubernetes.image")
            return
        time.sleep(_PACE)
    else:
        why = why_pending(pod) if pod is not None else "it was not made"
        yield _problem(
            "kubernetes.pod-waits", f"it did not end within {_PATIENCE:g} s: {why}", f"kubectl get job {name}"
        )
        return
    said = client.ask("logs", f"--container={WORKER}", str(pod["metadata"]["name"])).splitlines()
    rows = []
    for line in said:
        try:
            row = parse_object(line.encode())
        except InvalidError:
            continue
        if isinstance(row.get("tried"), str) and isinstance(row.get("failed"), str):
            rows.append((row["tried"], row["failed"]))
    for tried, failed in rows:
        if failed:
            yield _problem(
                "kubernetes.no-reach", f"{tried}: {failed}", "minipach.kubernetes.git, secrets, NetworkPolicy"
            )
        else:
            yield Finding("ok", f"a pod reaches it: {tried}")
    if not rows:
        what = f"it reported nothing ({ending(pod)}{': ' + said[-1] if said else ''})"
        yield _problem("kubernetes.no-worker", what, "is minipach in the image? deploy/kubernetes/Containerfile")


def _problem(code: str, message: str, fix: str) -> Finding:
    return Finding.of("problem", Problem(code, "a pod for trial", message, fix))
