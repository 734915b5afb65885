"""What a worker was told to take of its machine (`--gpus`, `--memory`, ...), checked before anything is done with it.

What can't be meant is an error. More than the machine seems to have is only remarked on: how much that is can be seen
wrongly from within a container or a batch job, and sets that mostly wait may well share a CPU.
"""

from __future__ import annotations

import fnmatch
import math
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence

from minipach.errors import UserError
from minipach.executors.room import Room, device_gpus, own_cpus, own_gpus, own_memory, parse_size
from minipach.executors.rqnames import ResourceClass, class_of, gpu_slug, means_any_gpu
from minipach.git import child_environment

_GPU = re.compile(r"(0|[1-9][0-9]{0,3})|(?:GPU|MIG)-[0-9A-Za-z/-]+")
_GPU_FORMS = "indexes, as 0,1, or ids, as nvidia-smi -L shows them (GPU-..., MIG-...)"
_CLASS_BEGINS = re.compile(r"(gpu|cpu|mem|max)[0-9]")
_WORDS = ("any", "gpu", "cpu", "mem", "max")  # with which the names of classes begin
_LEAST_CPU = 0.1
_LEAST_MEMORY = 1024**2  # bytes; sets ask for whole MiB
_PATIENCE = 20.0  # seconds for nvidia-smi to answer


def make_room(
    gpus: str | None, gpu_type: str | None, cpus: float | None, memory: str | None, tell: Callable[[str], None] = print
) -> Room:
    """The room that the options give, else all that this machine has. UserError for what can't be meant.

    tell: gets a remark where it is more than the machine seems to have.
    """
    if gpu_type is not None and not gpu_slug(gpu_type) and not means_any_gpu(gpu_type):
        raise UserError(f'--gpu-type "{gpu_type}": no name of a type; one that specs ask for, as a100')
    ids = own_gpus() if gpus is None else _gpus(gpus, tell)
    return Room(ids, _cpus(cpus, tell), _memory(memory, tell), gpu_type or "")


def _gpus(text: str, tell: Callable[[str], None]) -> tuple[str, ...]:
    """The ids; none if the text is empty, which is how one says that a worker is to have no GPU."""
    if not text.strip():
        return ()
    ids = tuple(part.strip() for part in text.split(","))
    for one in ids:
        if not _GPU.fullmatch(one):
            raise UserError(f'--gpus {text}: "{one}" is no GPU; {_GPU_FORMS}')
    if len(set(ids)) < len(ids):
        raise UserError(f"--gpus {text}: names a GPU twice")
    there = gpus_there()
    if not there:
        tell(f"--gpus {text}: no GPU can be seen here; taken at your word")
        return ids
    for one in ids:
        # part of a GPU has an id of its own, which isn't listed; an id may be cut short, as CUDA has it
        if not one.startswith("MIG-") and not any(one == t or (t.startswith(one) and "-" in one) for t in there):
            has = ", ".join(t for t in there if t.isdecimal())
            raise UserError(f'--gpus {text}: this machine has no GPU "{one}"; it has {has}')
    return ids


def gpus_there() -> tuple[str, ...]:
    """The indexes and ids of the GPUs of this machine, as nvidia-smi tells them, else as there are devices; () if none.

    Indexes as CUDA counts them: in a container whose one device is /dev/nvidia2, that is 0.
    """
    program = shutil.which("nvidia-smi", path=child_environment()["PATH"])
    if program:
        try:
            asked = [program, "--query-gpu=index,uuid", "--format=csv,noheader"]
            done = subprocess.run(
                asked, capture_output=True, text=True, timeout=_PATIENCE, check=True, env=child_environment()
            )
            return tuple(part.strip() for row in done.stdout.splitlines() for part in row.split(",") if part.strip())
        except (OSError, subprocess.SubprocessError):
            pass  # installed, and no driver or no GPU for it: it says so and fails
    return tuple(str(index) for index in range(len(device_gpus())))


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
