"""The view of Jobs and pods: which sets run, on which nodes, and why others wait."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from minipach.executors.kubernetes.batch import Batch, batches_of
from minipach.executors.kubernetes.client import Client
from minipach.executors.kubernetes.manifest import PROJECT_LABEL
from minipach.executors.kubernetes.options import KubernetesOptions
from minipach.executors.kubernetes.pod_state import pipeline_of, pod_place, waits
from minipach.executors.view import ExecutorState, Looker, WaitingSets, Worker
from minipach.git.repo import Repo, is_dataset
from minipach.project.project import Project

_PACE = 2.0  # seconds between two questions to the API server


def looker(project: Project) -> Looker:
    """Return what looks at the pods of a project, every few seconds at most."""
    settings = KubernetesOptions(project)
    return _Look(project, settings.client(), settings.mark).look


class _Look:
    def __init__(self, project: Project, client: Client, mark: str) -> None:
        self._project = project
        self._client = client
        self._selector = f"{PROJECT_LABEL}={mark}"
        self._pods: list[dict[str, Any]] = []
        self._jobs: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._asked: float | None = None

    def look(self, sets: Mapping[str, str]) -> ExecutorState:
        """Return what there is now. Raises UserError where the API server is away."""
        if self._asked is None or time.monotonic() - self._asked >= _PACE:
            self._jobs = self._client.listed("jobs", self._selector)
            self._pods = self._client.listed("pods", self._selector)
            self._events = self._client.events()
            self._asked = time.monotonic()
        batches = {batch.name: batch for batch in self._batches()}
        workers: list[Worker] = []
        running: set[str] = set()
        for pod in self._pods:
            name, index = pod_place(pod)
            phase = pod.get("status", {}).get("phase")
            if phase == "Running":
                ids = _sets_of(batches.get(name), index)
                running.update(ids)
                what = next((sets[one] for one in ids if one in sets), pipeline_of(pod))
                node = str(pod.get("spec", {}).get("nodeName") or "")
                pod_name = str(pod.get("metadata", {}).get("name"))
                workers.append(Worker(f"pod {pod_name}", node, ((what, _age(pod)),)))
        waiting = waits(self._jobs, self._pods, self._events)
        rows = tuple(WaitingSets(count, f"pod of {what}", why) for (what, why), count in sorted(waiting.items()))
        return ExecutorState(tuple(workers), rows, frozenset(running), note=self._note())

    def _note(self) -> str:
        """Return how far the Jobs are, in indices."""
        lines = []
        for row in self._jobs:
            status, total = row.get("status", {}), row.get("spec", {}).get("completions")
            counts = ", ".join(f"{status.get(key) or 0} {key}" for key in ("succeeded", "failed", "active"))
            lines.append(f"Job {row['metadata']['name']}: of {total} indices: {counts}")
        return "; ".join(lines)

    def _batches(self) -> Iterator[Batch]:
        for path in self._project.pipelines:
            folder = self._project.root / path
            if is_dataset(folder):
                repo = Repo(Path(folder))
                try:
                    yield from batches_of(repo)[0]
                finally:
                    repo.close()


def _sets_of(batch: Batch | None, index: int | None) -> tuple[str, ...]:
    if batch is None or index is None or index >= len(batch.indices):
        return ()
    return batch.indices[index]


def _age(pod: Mapping[str, Any]) -> float:
    try:
        began = datetime.fromisoformat(str(pod.get("status", {}).get("startTime")))
        return max(0.0, time.time() - began.timestamp())
    except (ValueError, TypeError):
        return 0.0
