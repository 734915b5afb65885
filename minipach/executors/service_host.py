"""The contract of an executor whose cluster runs services itself. Without one, this machine's supervisor does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from minipach.model.work_set import WorkSet
from minipach.records.service_state import ServiceState
from minipach.support.errors import Problem

NO_CLUSTER = Problem(
    "service.no-cluster",
    "minipach.executor",
    "it has no objects for services",
    "git config minipach.executor kubernetes",
)


class ServiceHost(Protocol):
    """Runs services. Each method raises UserError where the cluster is away, or refuses."""

    def manifests(self, path: str, work: WorkSet) -> list[dict[str, Any]]:
        """Return the objects of a service, as the cluster takes them.

        Args:
            path: The pipeline's path.
            work: The set with its one datum.
        """
        ...

    def apply(self, path: str, work: WorkSet) -> None:
        """Have the cluster run a service with this datum. The same datum changes nothing."""
        ...

    def states(self, paths: Sequence[str]) -> list[ServiceState]:
        """Return how services are in the cluster."""
        ...

    def remove(self, paths: Sequence[str]) -> None:
        """Have the cluster end services."""
        ...
