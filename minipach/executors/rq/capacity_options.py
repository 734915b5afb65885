"""What a worker was told to take of its machine (`--gpus`, `--memory`, ...), checked before anything is done with it.

What can't be meant is an error. More than the machine seems to have is only remarked on: how much that is can be seen
wrongly from within a container or a batch job, and sets that mostly wait may well share a CPU.
"""

from __future__ import annotations

import fnmatch
import math
import os
import re
from collections.abc import Callable, Sequence

from minipach.executors.rq.capacity import Room, own_cpus, own_memory, parse_size
from minipach.executors.rq.gpus import chosen_gpus, gpus_there, own_gpus
from minipach.executors.rq.names import ResourceClass, class_of, gpu_slug, means_any_gpu
from minipach.support.errors import UserError

_CLASS_BEGINS = re.compile(r"(gpu|cpu|mem|max)[0-9]")
_WORDS = ("any", "gpu", "cpu", "mem", "max")  # with which the names of classes begin
_LEAST_CPU = 0.1
_LEAST_MEMORY = 1024**2  # bytes; sets ask for whole MiB


def make_room(
    gpus: str | None, gpu_type: str | None, cpus: float | None, memory: str | None, tell: Callable[[str], None] = print
) -> Room:
    """The room that the options give, else all that this machine has. UserError for what can't be meant.

    tell: gets a remark where it is more than the machine seems to have.
    """
    if gpu_type is not None and not gpu_slug(gpu_type) and not means_any_gpu(gpu_type):
        raise UserError(f'--gpu-type "{gpu_type}": no name of a type; one that specs ask for, as a100')
    ids = own_gpus(os.environ, gpus_there(), tell) if gpus is None else chosen_gpus(gpus, gpus_there, tell)
    return Room(ids, _cpus(cpus, tell), _memory(memory, tell), gpu_type or "")


def _cpus(asked: float | None, tell: Callable[[str], None]) -> float:
    here = own_cpus()
    if asked is None:
        return here
    if not math.isfinite(asked) or asked < _LEAST_CPU:
        raise UserError(f"--cpus {asked:g}: no number of CPUs; {_LEAST_CPU} or more, this machine has {here:g}")
    if asked > here:
        tell(f"--cpus {asked:g}: this machine has {here:g}; taken at your word, sets share them")
    return asked


def _memory(text: str | None, tell: Callable[[str], None]) -> int:
    here = own_memory()
    if text is None:
        return here
    size = size_of("--memory", text)
    if size < _LEAST_MEMORY:
        raise UserError(f"--memory {text}: less than 1Mi; as 32G or 512Mi, this machine has {here / 1e9:.1f}G")
    if size > here:
        tell(f"--memory {text}: this machine has {here / 1e9:.1f}G; taken at your word, sets may run out of it")
    return size


def size_of(option: str, text: str) -> int:
    """Bytes, as an option says them; UserError, which names it."""
    try:
        return parse_size(text)
    except UserError as error:
        raise UserError(f"{option} {error.problems[0]}") from None


def check_queues(queues: Sequence[str], room: Room) -> list[str]:
    """The patterns of classes that a worker is to serve. UserError for one that no class has, or none that fits."""
    patterns = [class_of(queue) for queue in queues]
    for asked, pattern in zip(queues, patterns, strict=True):
        fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        if fixed == pattern:
            kind = ResourceClass.parse(pattern)
            if kind is not None and not room.can_ever(kind):
                raise UserError(f"--queue {asked}: this worker can never run such sets; it has {room.text}")
            known = kind is not None
        else:
            known = any(w.startswith(fixed) or fnmatch.fnmatch(w, pattern) for w in _WORDS)
            known = known or _CLASS_BEGINS.match(fixed) is not None
        if not known:
            raise UserError(f'--queue {asked}: no class of sets is called so; any, cpu4, gpu1:a100~mem4096M, or "gpu*"')
    return patterns
