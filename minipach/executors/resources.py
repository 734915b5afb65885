"""The resources of a machine, what sets need of them, and the shares of those that run."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.model.work_set import Needs
from minipach.support.text import many

_GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Share:
    """The share of a set: the ids of its GPUs, CPUs, bytes of memory."""

    gpus: tuple[str, ...]
    cpu: float
    memory: int

    @property
    def env(self) -> dict[str, str]:
        """The variables that name the GPUs of a command; an empty list hides all GPUs."""
        ids = ",".join(self.gpus)
        return {_GPU_VARIABLE: ids, "NVIDIA_VISIBLE_DEVICES": ids or "void"}


class Capacity:
    """The machine's, or the part of it that a worker was given. Not for several threads."""

    def __init__(self, gpus: Sequence[str], cpus: float, memory: int, gpu_type: str = "") -> None:
        self.gpus = tuple(gpus)
        self.gpu_type = gpu_slug(gpu_type)
        self.cpus = cpus
        self.memory = memory
        self._gpus = list(gpus)
        self._cpus = cpus
        self._memory = memory

    @property
    def text(self) -> str:
        """Return the capacity for people: `8 CPUs, 64 GB, GPUs 0,1 (a100)`."""
        parts = [many(float(self.cpus), "CPU"), f"{self.memory / 1e9:.0f} GB"]
        if self.gpus:
            parts.append(f"GPUs {','.join(self.gpus)}" + (f" ({self.gpu_type})" if self.gpu_type else ""))
        return ", ".join(parts)

    def can_ever(self, kind: ResourceClass) -> bool:
        """Return whether a set of this class fits when nothing else runs."""
        right_gpu = not kind.gpu_type or kind.gpu_type == self.gpu_type
        enough = kind.gpus <= len(self.gpus) and kind.cpu <= self.cpus and kind.memory <= self.memory
        return enough and (right_gpu or not kind.gpus)

    def fits(self, kind: ResourceClass) -> bool:
        """Return whether a set of this class fits now."""
        return not self.lacks(kind) and self.can_ever(kind)

    def lacks(self, kind: ResourceClass) -> str:
        """Return in words what a set of this class needs beyond what is free now; "" if nothing."""
        free = {
            "GPUs": kind.gpus <= len(self._gpus),
            "CPUs": kind.cpu <= self._cpus + 1e-9,
            "memory": kind.memory <= self._memory,
        }
        return " and ".join(what for what, enough in free.items() if not enough)

    def take(self, kind: ResourceClass) -> Share:
        """Take the share of a set out of what is free. The caller knows that it fits."""
        share = Share(tuple(self._gpus[: kind.gpus]), kind.cpu, kind.memory)
        del self._gpus[: kind.gpus]
        self._cpus -= share.cpu
        self._memory -= share.memory
        return share

    def take_if_fits(self, kind: ResourceClass) -> Share | None:
        """Take the share of a set. Return None if it does not fit now."""
        return self.take(kind) if self.fits(kind) else None

    def release(self, share: Share) -> None:
        """Free the capacity of a set that has ended."""
        self._gpus = [gpu for gpu in self.gpus if gpu in self._gpus or gpu in share.gpus]
        self._cpus += share.cpu
        self._memory += share.memory


def own_cpus() -> float:
    """Return the CPUs that this process may use."""
    return float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def own_memory() -> int:
    """Return bytes of this machine's memory; a control group's limit, where there is one."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        found = min(found, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return found


_MIB = 1024 * 1024
_ANY_GPU = frozenset({"", "gpu", "nvidia.com/gpu", "amd.com/gpu"})  # Pachyderm's types that name no model


def means_any_gpu(kind: str) -> bool:
    """Return whether a type of GPU, which somebody has named, stands for any."""
    return bool(kind) and kind.lower() in _ANY_GPU


def gpu_slug(kind: str) -> str:
    """Return a type of GPU as part of a name; empty for those that stand for any."""
    return "" if kind.lower() in _ANY_GPU else re.sub(r"[^0-9a-z]+", "-", kind.lower()).strip("-")


@dataclass(frozen=True, slots=True)
class ResourceClass:
    """The needs of the sets of one queue, and how many may run at once (0: no limit; then of one pipeline)."""

    gpus: int = 0
    gpu_type: str = ""
    cpu: float = 0.0
    memory: int = 0  # bytes, whole MiB
    limit: int = 0
    pipeline: str = ""

    @staticmethod
    def of(needs: Needs, pipeline: str, limit: int | None) -> ResourceClass:
        """Return the class of a set."""
        return ResourceClass(
            needs.gpus,
            gpu_slug(needs.gpu_type) if needs.gpus else "",
            math.ceil(needs.cpu * 100) / 100,
            math.ceil(needs.memory / _MIB) * _MIB,
            limit or 0,
            pipeline if limit else "",
        )

    @property
    def name(self) -> str:
        """Return the class as part of a queue's name: `gpu1:a100~cpu4~mem4096M`, `max3:edges`, `any`."""
        parts = []
        if self.gpus:
            parts.append(f"gpu{self.gpus}" + (f":{self.gpu_type}" if self.gpu_type else ""))
        if self.cpu:
            parts.append(f"cpu{self.cpu:.10g}")
        if self.memory:
            parts.append(f"mem{self.memory // _MIB}M")
        if self.limit:
            parts.append(f"max{self.limit}:{self.pipeline}")
        return "~".join(parts) or "any"

    @staticmethod
    def parse(name: str) -> ResourceClass | None:
        """Return the class that a name says; None if it is none."""
        if name == "any":
            return ResourceClass()
        found = ResourceClass()
        values: dict[str, str] = {}
        for part in name.split("~"):
            match = re.fullmatch(r"(gpu|cpu|mem|max)([0-9.]+)M?(?::(.+))?", part)
            if match is None:
                return None
            values[match[1]] = match[2]
            values[match[1] + ":"] = match[3] or ""
        try:
            found = ResourceClass(
                int(values.get("gpu", 0)),
                values.get("gpu:", ""),
                float(values.get("cpu", 0)),
                int(values.get("mem", 0)) * _MIB,
                int(values.get("max", 0)),
                values.get("max:", ""),
            )
        except ValueError:
            return None
        return found if found.name == name else None
