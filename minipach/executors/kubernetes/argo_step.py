"""The part of a pass in an Argo workflow: the workflow's next step runs its batches, and no Job is created.

A step of `minipach export argo --chunks` runs `minipach schedule PIPELINE` with FOLDER set. The pass stores sets and
batches in git as with Jobs, and writes into that folder which batches there are, and how many indices they have. The
workflow runs a pod for each index (`withSequence`), and then the next pass. When that begins, all of these pods are
over: a set without a result is submitted once more, or is lost, by the same rules as a set of a Job.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minipach.executors.kubernetes.argo import BATCHES, COUNT, FOLDER
from minipach.executors.kubernetes.client import Client
from minipach.executors.kubernetes.executor import KubernetesExecutor
from minipach.project.project import Project


class NoCluster(Client):
    """Takes Jobs in place of a cluster. Those of this pass are alive; all others are over."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._jobs: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._write()

    def _write(self) -> None:
        (self._folder / BATCHES).write_text(batches_text(self._jobs))
        (self._folder / COUNT).write_text(str(sum(self._jobs.values())))

    def create(self, manifest: Mapping[str, Any]) -> None:
        """Note a Job for the next step."""
        self._jobs[manifest["metadata"]["name"]] = manifest["spec"]["completions"]
        self._write()

    def delete(self, kind: str, names: Sequence[str], *, wait: bool = False) -> None:
        """Forget Jobs."""
        for name in names:
            self._jobs.pop(name, None)
        self._write()

    def listed(self, kind: str, selector: str) -> list[dict[str, Any]]:
        """Return the Jobs of this pass; no pods."""
        return [{"metadata": {"name": name}, "status": {}} for name in self._jobs] if kind == "jobs" else []

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """Return nothing: no cluster is asked."""
        return []

    def may(self, verb: str, resource: str, group: str = "") -> bool:
        """Return True: the workflow runs already."""
        return True

    def lacks(self, kind: str, name: str) -> bool:
        """Return False: nothing is known of the namespace."""
        return False


class StepExecutor(KubernetesExecutor):
    """The executor of a step."""

    grace = 0.0  # pods of an earlier step have pushed all that they ever will

    def __init__(self, project: Project, throttle: int | None) -> None:
        """Raises UserError for a bad setting."""
        super().__init__(project, throttle, NoCluster(Path(os.environ[FOLDER])))


def batches_text(jobs: Mapping[str, int]) -> str:
    """Return batches with their numbers of indices, as a parameter of a workflow: `NAME:3,NAME:1`."""
    return ",".join(f"{name}:{count}" for name, count in jobs.items())


def place_of(batches: str, item: int) -> tuple[str, int]:
    """Return the batch, and the index in it, of an item of the sequence. Raises ValueError where there is none."""
    for row in batches.split(","):
        name, _, count = row.partition(":")
        if item < int(count):
            return name, item
        item -= int(count)
    raise ValueError(f"no batch has item {item}: {batches}")
