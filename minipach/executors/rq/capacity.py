"""The capacity of a worker (GPUs, CPUs, memory), and the worker's options."""

from __future__ import annotations

import fnmatch
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from minipach.executors.gpus import chosen_gpus, gpus_there, own_gpus
from minipach.executors.resources import Capacity, ResourceClass, gpu_slug, means_any_gpu, own_cpus, own_memory
from minipach.support.errors import Problem, UserError
from minipach.support.sizes import parse_size

_CLASS_BEGINS = re.compile(r"(gpu|cpu|mem|max)[0-9]")
_WORDS = ("any", "gpu", "cpu", "mem", "max")  # with which the names of classes begin
_LEAST_CPU = 0.1
_LEAST_MEMORY = 1024**2  # bytes; sets ask for whole MiB


def make_capacity(
    gpus: str | None,
    gpu_type: str | None,
    cpus: float | None,
    memory: str | None,
    notify: Callable[[str], None] = print,
) -> Capacity:
    """Return the capacity that the options give, or that of this machine. UserError if an option is not valid.

    notify: gets a remark where it is more than the machine seems to have.
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
    ids = own_gpus(os.environ, gpus_there(), notify) if gpus is None else chosen_gpus(gpus, gpus_there, notify)
    return Capacity(ids, _cpus(cpus, notify), _memory(memory, notify), gpu_type or "")


def _cpus(asked: float | None, notify: Callable[[str], None]) -> float:
    here = own_cpus()
    if asked is None:
        return here
    if not math.isfinite(asked) or asked < _LEAST_CPU:
        raise UserError(
            Problem(
                "option.not-a-cpu-count",
                f"--cpus {asked:g}",
                f"not a number of CPUs (this machine has {here:g})",
                f"use {_LEAST_CPU} or more",
            )
        )
    if asked > here:
        notify(f"--cpus {asked:g}: this machine has {here:g}; accepted, sets share them")
    return asked


def _memory(text: str | None, notify: Callable[[str], None]) -> int:
    here = own_memory()
    if text is None:
        return here
    size = size_of("--memory", text)
    if size < _LEAST_MEMORY:
        raise UserError(
            Problem(
                "option.memory-too-small",
                f"--memory {text}",
                f"less than 1Mi (this machine has {here / 1e9:.1f}G)",
                "use 32G or 512Mi, for example",
            )
        )
    if size > here:
        notify(f"--memory {text}: this machine has {here / 1e9:.1f}G; accepted, sets may run out of it")
    return size


def size_of(option: str, text: str) -> int:
    """Return bytes, as an option says them; UserError, which names it."""
    try:
        return parse_size(text)
    except UserError as error:
        raise UserError(replace(error.problems[0], location=f"{option} {text}")) from None


def check_queues(queues: Sequence[str], capacity: Capacity) -> list[str]:
    """Return the patterns of classes that a worker is to serve.

    UserError for one that no class has, or none that fits.
    """
    patterns = [class_of(queue) for queue in queues]
    for asked, pattern in zip(queues, patterns, strict=True):
        fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        if fixed == pattern:
            kind = ResourceClass.parse(pattern)
            if kind is not None and not capacity.can_ever(kind):
                raise UserError(
                    Problem(
                        "option.class-never-fits",
                        f"--queue {asked}",
                        f"this worker can never run such sets, it has {capacity.text}",
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
    capacity: Capacity
    queues: tuple[str, ...] = ()

    @staticmethod
    def of(facts: Mapping[str, Any]) -> Offer:
        """Return the capacity that a worker has published in Redis."""
        capacity = Capacity(facts["gpus"], facts["cpus"], facts["memory"], facts["gpu_type"])
        return Offer(facts["slots"], capacity, tuple(facts.get("queues", ())))

    def serves(self, kind: ResourceClass) -> bool:
        """Return whether it would ever run a set of this class."""
        return bool(self.slots) and self.capacity.can_ever(kind) and keeps_to(kind, self.queues)


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
    if any(offer.capacity.can_ever(kind) for offer in able):
        return f"no worker with --queue for {kind.name}"
    return f"no worker has {kind.name}"


def class_of(queue: str) -> str:
    """Return the class, or the pattern of one, in what may be a queue's whole name."""
    return re.sub(r"^minipach\.[0-9a-z]+\.", "", queue)
