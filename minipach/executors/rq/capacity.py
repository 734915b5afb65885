"""The capacity of a worker (GPUs, CPUs, memory), the shares of running sets, and the worker's options."""

from __future__ import annotations

import contextlib
import fnmatch
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minipach.executors.rq.gpus import chosen_gpus, gpus_there, own_gpus
from minipach.model.work_set import Needs
from minipach.support.errors import Problem, UserError
from minipach.support.text import many

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY = {"ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}
_GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Share:
    """The share of a set: the ids of its GPUs, CPUs, bytes of memory."""

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
        """Give a set its share; only where it fits."""
        share = Share(tuple(self._gpus[: kind.gpus]), kind.cpu, kind.memory)
        del self._gpus[: kind.gpus]
        self._cpus -= share.cpu
        self._memory -= share.memory
        return share

    def give_back(self, share: Share) -> None:
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


def parse_size(text: str) -> int:
    """Return bytes from `32G`, `512Mi`; UserError."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?\s*", text.lower())
    if match is None:
        raise UserError(Problem("option.not-a-size", text, "not a size", "use 32G or 512Mi"))
    unit = _BINARY[match[2] + "i"] if match[2] and match[3] else _UNITS[match[2]]
    return int(float(match[1]) * unit)


_CLASS_BEGINS = re.compile(r"(gpu|cpu|mem|max)[0-9]")
_WORDS = ("any", "gpu", "cpu", "mem", "max")  # with which the names of classes begin
_LEAST_CPU = 0.1
_LEAST_MEMORY = 1024**2  # bytes; sets ask for whole MiB


def make_room(
    gpus: str | None, gpu_type: str | None, cpus: float | None, memory: str | None, tell: Callable[[str], None] = print
) -> Room:
    """Return the room that the options give, else all that this machine has. UserError for what can't be meant.

    tell: gets a remark where it is more than the machine seems to have.
    """
    if gpu_type is not None and not gpu_slug(gpu_type) and not means_any_gpu(gpu_type):
        raise UserError(
            Problem(
                "option.not-a-gpu-type",
                f'--gpu-type "{gpu_type}"',
                "not a GPU type",
                "use one that specs request, as a100",
            )
        )
    ids = own_gpus(os.environ, gpus_there(), tell) if gpus is None else chosen_gpus(gpus, gpus_there, tell)
    return Room(ids, _cpus(cpus, tell), _memory(memory, tell), gpu_type or "")


def _cpus(asked: float | None, tell: Callable[[str], None]) -> float:
    here = own_cpus()
    if asked is None:
        return here
    if not math.isfinite(asked) or asked < _LEAST_CPU:
        raise UserError(
            Problem(
                "option.not-a-cpu-count",
                f"--cpus {asked:g}",
                "not a number of CPUs",
                f"use {_LEAST_CPU} or more, this machine has {here:g}",
            )
        )
    if asked > here:
        tell(f"--cpus {asked:g}: this machine has {here:g}; accepted, sets share them")
    return asked


def _memory(text: str | None, tell: Callable[[str], None]) -> int:
    here = own_memory()
    if text is None:
        return here
    size = size_of("--memory", text)
    if size < _LEAST_MEMORY:
        raise UserError(
            Problem(
                "option.memory-too-small",
                f"--memory {text}",
                "less than 1Mi",
                f"as 32G or 512Mi, this machine has {here / 1e9:.1f}G",
            )
        )
    if size > here:
        tell(f"--memory {text}: this machine has {here / 1e9:.1f}G; accepted, sets may run out of it")
    return size


def size_of(option: str, text: str) -> int:
    """Return bytes, as an option says them; UserError, which names it."""
    try:
        return parse_size(text)
    except UserError as error:
        raise UserError(replace(error.problems[0], location=f"{option} {text}")) from None


def check_queues(queues: Sequence[str], room: Room) -> list[str]:
    """Return the patterns of classes that a worker is to serve.

    UserError for one that no class has, or none that fits.
    """
    patterns = [class_of(queue) for queue in queues]
    for asked, pattern in zip(queues, patterns, strict=True):
        fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        if fixed == pattern:
            kind = ResourceClass.parse(pattern)
            if kind is not None and not room.can_ever(kind):
                raise UserError(
                    Problem(
                        "option.class-never-fits",
                        f"--queue {asked}",
                        "this worker can never run such sets",
                        f"it has {room.text}",
                    )
                )
            known = kind is not None
        else:
            known = any(w.startswith(fixed) or fnmatch.fnmatch(w, pattern) for w in _WORDS)
            known = known or _CLASS_BEGINS.match(fixed) is not None
        if not known:
            raise UserError(
                Problem(
                    "option.no-such-class",
                    f"--queue {asked}",
                    "no class of sets has this name",
                    'use any, cpu4, gpu1:a100~mem4096M, or "gpu*"',
                )
            )
    return patterns


@dataclass(frozen=True, slots=True)
class Offer:
    """The capacity of one worker. queues: patterns of the classes that it serves (none: all that fit)."""

    slots: int
    room: Room
    queues: tuple[str, ...] = ()

    @staticmethod
    def of(facts: Mapping[str, Any]) -> Offer:
        """Return what a worker has told."""
        room = Room(facts["gpus"], facts["cpus"], facts["memory"], facts["gpu_type"])
        return Offer(facts["slots"], room, tuple(facts.get("queues", ())))

    def serves(self, kind: ResourceClass) -> bool:
        """Return whether it would ever run a set of this class."""
        return bool(self.slots) and self.room.can_ever(kind) and keeps_to(kind, self.queues)


def keeps_to(kind: ResourceClass, queues: Sequence[str]) -> bool:
    """Return whether a worker with these patterns serves this class."""
    return not queues or any(fnmatch.fnmatch(kind.name, pattern) for pattern in queues)


def nobody_for(kind: ResourceClass, offers: Sequence[Offer]) -> str:
    """Return why none of these would ever run a set of this class; "" if one would."""
    able = [offer for offer in offers if offer.slots]
    if any(offer.serves(kind) for offer in able):
        return ""
    if not able:
        return "no worker serves this project"
    if any(offer.room.can_ever(kind) for offer in able):
        return f"no worker with --queue for {kind.name}"
    return f"no worker has {kind.name}"


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


def class_of(queue: str) -> str:
    """Return the class, or the pattern of one, in what may be a queue's whole name."""
    return re.sub(r"^minipach\.[0-9a-z]+\.", "", queue)
