"""The GPUs of a machine or container: those that CUDA would find there.

CUDA counts what it can reach, from 0: in a container whose one device is /dev/nvidia2, that GPU is 0.
Source: https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from minipach.git.child_environment import child_environment
from minipach.support.errors import Problem, UserError

_CUDA, _NVIDIA = "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"
_NONE = frozenset({"", "void", "none"})  # as the container runtime of NVIDIA has it
_GPU = re.compile(r"(0|[1-9][0-9]{0,3})|(?:GPU|MIG)-[0-9A-Za-z/-]+")
_GPU_FORMS = "use indexes, as 0,1, or ids, as nvidia-smi -L shows them (GPU-..., MIG-...)"
_PATIENCE = 20.0  # seconds for nvidia-smi to answer


def gpus_there(folder: Path = Path("/dev")) -> tuple[str, ...]:
    """Return the indexes and ids of the GPUs here, from nvidia-smi, or else from the device files; () if none."""
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
    found = [path for path in folder.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name) and _opens(path)]
    return tuple(str(index) for index in range(len(found)))


def _opens(device: Path) -> bool:
    """Return whether a device may be used: a batch system shows all of a node's, and lets a job open its own."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def own_gpus(environ: Mapping[str, str], there: Sequence[str], notify: Callable[[str], None]) -> tuple[str, ...]:
    """Return the GPUs that this process may use, of those that are there.

    notify: Gets a remark where others are named.
    """
    indexes = tuple(t for t in there if t.isdecimal())
    if _CUDA in environ:
        named = [part.strip() for part in environ[_CUDA].split(",")]
        found: dict[str, None] = {}
        for one in named:
            if not _is_among(one, there):  # CUDA, too, takes none from the first one on that it doesn't know
                if one not in ("", "-1", "NoDevFiles"):
                    has = f"it has {', '.join(indexes)}" if indexes else "no GPU can be seen here"
                    notify(f"{_CUDA}={environ[_CUDA]}: {one} and what follows is not offered, {has}; or say --gpus IDS")
                break
            found[one] = None
        return tuple(found)
    asked = environ.get(_NVIDIA, "all").strip()
    if asked in _NONE:
        return ()
    named = [part.strip() for part in asked.split(",")]
    # in a container that was made with it, what it names is what is there, and may be counted otherwise
    if asked == "all" or len(indexes) <= len(named):
        return indexes
    return tuple(dict.fromkeys(one for one in named if _is_among(one, there)))


def chosen_gpus(text: str, look: Callable[[], Sequence[str]], notify: Callable[[str], None]) -> tuple[str, ...]:
    """Return the ids of `--gpus`; none if the text is empty, which is how one says that a worker is to have no GPU.

    look: for what is there. UserError for what can't be meant, or is not there.
    """
    if not text.strip():
        return ()
    ids = tuple(part.strip() for part in text.split(","))
    for one in ids:
        if not _GPU.fullmatch(one):
            raise UserError(Problem("option.not-a-gpu", f"--gpus {text}", f'"{one}" is no GPU', _GPU_FORMS))
    if len(set(ids)) < len(ids):
        raise UserError(Problem("option.gpu-twice", f"--gpus {text}", "names a GPU twice"))
    there = look()
    if not there:
        notify(f"--gpus {text}: no GPU can be seen here; accepted")
        return ids
    for one in ids:
        if not _is_among(one, there):
            has = ", ".join(t for t in there if t.isdecimal())
            raise UserError(
                Problem(
                    "option.no-such-gpu", f"--gpus {text}", f'this machine has no GPU "{one}"', f"use one of: {has}"
                )
            )
    return ids


def _is_among(one: str, there: Sequence[str]) -> bool:
    """Return whether a GPU is there.

    Part of one has an id of its own, which isn't listed; an id may be cut short for CUDA.
    """
    if one.startswith("MIG-"):
        return bool(there)
    return any(one == t or (one.startswith("GPU-") and t.startswith(one)) for t in there)
