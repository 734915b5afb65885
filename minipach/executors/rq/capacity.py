"""What a worker's machine has to give (GPUs, CPUs, memory), and which set has what of it now."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.executors.rq.names import ResourceClass, gpu_slug
from minipach.support.errors import UserError
from minipach.support.text import many

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY = {"ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}
_GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Share:
    """What a set has: the ids of its GPUs, CPUs, bytes of memory."""

    gpus: tuple[str, ...]
    cpu: float
    memory: int

    @property
    def env(self) -> dict[str, str]:
        """Variables that tell the command which GPUs are its own; an empty list hides all of them."""
        ids = ",".join(self.gpus)
        return {_GPU_VARIABLE: ids, "NVIDIA_VISIBLE_DEVICES": ids or "void"}


class Room:
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
        """For people: `8 CPUs, 64 GB, GPUs 0,1 (a100)`."""
        parts = [many(float(self.cpus), "CPU"), f"{self.memory / 1e9:.0f} GB"]
        if self.gpus:
            parts.append(f"GPUs {','.join(self.gpus)}" + (f" ({self.gpu_type})" if self.gpu_type else ""))
        return ", ".join(parts)

    def can_ever(self, kind: ResourceClass) -> bool:
        """Whether a set of this class fits when nothing else runs."""
        right_gpu = not kind.gpu_type or kind.gpu_type == self.gpu_type
        enough = kind.gpus <= len(self.gpus) and kind.cpu <= self.cpus and kind.memory <= self.memory
        return enough and (right_gpu or not kind.gpus)

    def fits(self, kind: ResourceClass) -> bool:
        """Whether a set of this class fits now."""
        return not self.lacks(kind) and self.can_ever(kind)

    def lacks(self, kind: ResourceClass) -> str:
        """Of what a set of this class needs more than is free now, in words; "" if of nothing."""
        free = {
            "GPUs": kind.gpus <= len(self._gpus),
            "CPUs": kind.cpu <= self._cpus + 1e-9,
            "memory": kind.memory <= self._memory,
        }
        return " and ".join(what for what, enough in free.items() if not enough)

    def take(self, kind: ResourceClass) -> Share:
        """Give a set its share; only where it fits."""
        share = Share(tuple(self._gpus[: kind.gpus]), kind.cpu, kind.memory)
        del self._gpus[: kind.gpus]
        self._cpus -= share.cpu
        self._memory -= share.memory
        return share

    def give_back(self, share: Share) -> None:
        """The set has ended, with all that it started."""
        self._gpus = [gpu for gpu in self.gpus if gpu in self._gpus or gpu in share.gpus]
        self._cpus += share.cpu
        self._memory += share.memory


def own_cpus() -> float:
    """The CPUs that this process may use."""
    return float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def own_memory() -> int:
    """Bytes of this machine's memory; a control group's limit, where there is one."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        found = min(found, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return found


def parse_size(text: str) -> int:
    """Bytes from `32G`, `512Mi`; UserError."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?\s*", text.lower())
    if match is None:
        raise UserError(f"{text}: no size; 32G or 512Mi")
    unit = _BINARY[match[2] + "i"] if match[2] and match[3] else _UNITS[match[2]]
    return int(float(match[1]) * unit)
