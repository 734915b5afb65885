"""Needs of a set in the words of Kubernetes."""

from __future__ import annotations

from math import ceil
from typing import Any

from minipach.model.work_set import Needs


def resources(needs: Needs) -> dict[str, Any]:
    """Return the `resources` of a container."""
    asked: dict[str, str] = {}
    if needs.cpu:
        asked["cpu"] = f"{ceil(needs.cpu * 1000)}m"
    if needs.memory:
        asked["memory"] = str(needs.memory)
    if needs.disk:
        asked["ephemeral-storage"] = str(needs.disk)
    found: dict[str, Any] = {"requests": asked} if asked else {}
    if needs.gpus:
        kind = needs.gpu_type if "/" in needs.gpu_type else "nvidia.com/gpu"
        found["limits"] = {kind: str(needs.gpus)}
    return found
