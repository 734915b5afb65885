"""Checks before anything is submitted: the reasons for which pods could never run, at a bounded number of calls.

Whether a node can pull an image is not: nodes have other networks and credentials than this machine. `doctor --pod` and
the schedule say that once a pod waits for it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from minipach.environment.oci_registry import parse_reference
from minipach.executors.kubernetes.client import Client, ClusterRefusedError
from minipach.executors.kubernetes.options import KubernetesOptions
from minipach.executors.kubernetes.resources import resources
from minipach.model.work_set import Needs
from minipach.support.errors import Problem

_NEEDED = (("create", "jobs", "batch"), ("list", "jobs", "batch"), ("list", "pods", ""))
_AT_ONCE = 4  # calls of kubectl
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|[kKMGTPE]i?)?")
_UNITS = {"": 1.0, "m": 0.001} | {
    f"{letter}{i}": float((1024 if i else 1000) ** (n + 1)) for n, letter in enumerate("KMGTPE") for i in ("", "i")
}


@dataclass
class Preflight:
    """The checks of one schedule. Each question is asked once.

    notes: what will make pods wait.
    """

    settings: KubernetesOptions
    client: Client
    notes: list[str] = field(default_factory=list)
    _is_first: bool = True
    _classes: set[str] = field(default_factory=set)
    _quotas: list[dict[str, Any]] = field(default_factory=list)

    def problems(self, priority_classes: Collection[str], needs: Mapping[str, Needs]) -> list[Problem]:
        """Return what keeps these sets from running.

        Args:
            priority_classes: Those that specs name.
            needs: The needs of one set by the place in the spec that messages name.

        Raises:
            UserError: The cluster can't be asked.
        """
        new = {name for name in (*priority_classes, self.settings.priority_class or "") if name} - self._classes
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            classes = {name: pool.submit(self.client.lacks, "priorityclass", name) for name in sorted(new)}
            found = self._of_namespace(pool) if self._is_first else []
            for name, lacks in classes.items():
                if lacks.result():
                    found.append(
                        Problem(
                            "kubernetes.no-priority-class",
                            "minipach.kubernetes.priority-class, or the spec",
                            f'the cluster has no priority class "{name}"',
                            "kubectl get priorityclasses lists them",
                        )
                    )
        found += [problem for where, one in needs.items() for problem in over_quota(self._quotas, where, one)]
        if not found:
            self._is_first = False
            self._classes |= new
        return found

    def _of_namespace(self, pool: ThreadPoolExecutor) -> list[Problem]:
        settings, client = self.settings, self.client
        namespace = client.namespace or "default"
        rights = {row: pool.submit(client.may, *row) for row in _NEEDED}
        account = settings.service_account
        lacks_account = pool.submit(client.lacks, "serviceaccount", account) if account else None
        quotas = pool.submit(client.rows, "get", "resourcequotas")
        found = list(settings.missing_secrets(client))
        if parse_reference(settings.image) is None:
            message = f'"{settings.image}" is not the name of an image'
            found.append(
                Problem("kubernetes.bad-image", "minipach.kubernetes.image", message, "write REGISTRY/NAME:TAG")
            )
        for (verb, resource, _), allowed in rights.items():
            if not allowed.result():
                message = f"may not {verb} {resource} in namespace {namespace}"
                fix = "ask the cluster's administrator for the role in deploy/kubernetes"
                found.append(Problem("kubernetes.no-right", "kubectl", message, fix))
        if lacks_account is not None and lacks_account.result():
            where = "minipach.kubernetes.service-account"
            message = f'namespace {namespace} has no service account "{account}"'
            found.append(
                Problem("kubernetes.no-service-account", where, message, f"kubectl create sa, or unset {where}")
            )
        try:
            self._quotas = quotas.result()
        except ClusterRefusedError:  # whoever may not list quotas learns of them by the events of Jobs
            self._quotas = []
        self.notes = [f"quota {name}: used up: {', '.join(full)}; pods wait" for name, full in used_up(self._quotas)]
        return found


def used_up(rows: Collection[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Yield each quota of which something is used up, with the names of that."""
    for row in rows:
        hard, used = _limits(row, "hard"), _limits(row, "used")
        full = sorted(name for name, most in hard.items() if _is_full(used.get(name), most))
        if full:
            yield str(row.get("metadata", {}).get("name")), full


def _is_full(used: object, most: object) -> bool:
    has, allowed = quantity(used), quantity(most)
    return allowed is not None and (has or 0.0) >= allowed


def over_quota(rows: Collection[Mapping[str, Any]], where: str, needs: Needs) -> Iterator[Problem]:
    """Yield a problem for each quota that allows less in all than one pod requests: it would wait for ever."""
    asked = resources(needs)
    wants = {f"{kind}.{name}": value for kind in ("requests", "limits") for name, value in asked.get(kind, {}).items()}
    wants |= asked.get("requests", {})  # `cpu` and `memory` of a quota are requests
    wants |= {f"requests.{name}": value for name, value in asked.get("limits", {}).items()}  # of GPUs
    for row in rows:
        for name, most in _limits(row, "hard").items():
            allowed, wanted = quantity(most), quantity(wants.get(name))
            if allowed is not None and wanted is not None and wanted > allowed:
                quota = str(row.get("metadata", {}).get("name"))
                message = f"one pod requests {wants[name]} of {name}, and quota {quota} allows {most} in all"
                yield Problem("kubernetes.over-quota", where, message, "request less, or ask for a larger quota")


def _limits(row: Mapping[str, Any], kind: str) -> dict[str, Any]:
    found = row.get("status", {}).get(kind)
    return found if isinstance(found, dict) else {}


def quantity(text: object) -> float | None:
    """Return a quantity of Kubernetes as a number; None for what is none."""
    found = _QUANTITY.fullmatch(str(text)) if text is not None else None
    if found is None:
        return None
    unit = (found[2] or "").replace("k", "K")
    return float(found[1]) * _UNITS[unit]
