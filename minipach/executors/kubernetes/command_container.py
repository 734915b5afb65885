"""The container of a pod in which datums' commands run, where that is the pipeline's own image.

The worker's container has git, the keys and minipach; this one has the image as it is, the folders of one datum, and an
agent that starts what the launcher asks for (`execution/launcher/pod.py`, `execution/scripts/pod-agent`). An
init container, `python3 -m` this module, makes the folders and brings the agent with a static busybox, which runs it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minipach.execution
from minipach.environment.image import Image
from minipach.environment.oci_registry import SCHEME, parse_reference
from minipach.executors.kubernetes.resources import resources
from minipach.model.pipeline import Pipeline
from minipach.model.work_set import Needs, WorkSet
from minipach.support.messages import say

NAME = "command"
FOLDER = "pod"  # in the volume of the pod
USER = 1000  # as whom both containers run: they hand files to each other
# (folder in FOLDER, where the command has it, whether it is read-only there)
MOUNTS = (
    ("pfs", "/pfs", True),
    ("live", "/pfs/out", False),
    ("view", "/project", True),
    ("tmp", "/tmp", False),
    ("vartmp", "/var/tmp", False),
    ("shm", "/dev/shm", False),
    ("home", "/home/user", False),
    ("tools", "/.minipach", True),
    ("call", "/.minipach-call", False),
)
_BUSYBOX = "/.minipach/busybox"
_AGENT = "pod-agent"
_OF_REGISTRY = "OCI--"


@dataclass(frozen=True, slots=True)
class ContainerCommand:
    """The container of one pipeline. image: with its digest · memory: bytes that it may use, 0: any."""

    image: str
    memory: int = 0


def own_image(pipeline: Pipeline, image: Image) -> str | None:
    """Return the image that a cluster is to run for a pipeline, with its digest.

    None: the worker has to run the command itself. That is so for images that no registry has, and for what a
    container which runs already can't be given: no network, writable inputs, files with secrets, a loop over datums.
    """
    transform = pipeline.transform
    reference = parse_reference(image.remote) if image.remote.startswith(SCHEME) else None
    digest = image.content.removeprefix(_OF_REGISTRY)
    if reference is None or digest == image.content or not pipeline.network or pipeline.writable_inputs:
        return None
    if transform.batching or any(secret.file for secret in transform.secrets):
        return None
    return f"{reference.name}@sha256:{digest}"


def memory_limit(work: WorkSet) -> int:
    """Return the bytes of memory that the datums of a set may use; 0: as many as there are."""
    for option, value in zip(work.head, work.head[1:], strict=False):
        if option == "-L" and value.startswith("memory="):
            return int(value.partition("=")[2])
    return 0


def init_containers(
    command: ContainerCommand, worker_image: str, volume: str, top: str, needs: Needs
) -> list[dict[str, Any]]:
    """Return the init containers: the one that prepares, and the command's, which runs beside the worker."""
    strict = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    found = resources(needs)
    if command.memory:
        found.setdefault("limits", {})["memory"] = str(command.memory)
    return [
        {
            "name": "prepare",
            "image": worker_image,
            "command": ["python3", "-P", "-m", "minipach.executors.kubernetes.command_container"],
            "args": [f"{top}/{FOLDER}"],
            "securityContext": strict,
            "volumeMounts": [{"name": volume, "mountPath": top}],
        },
        {
            "name": NAME,
            "image": command.image,
            "restartPolicy": "Always",
            "command": [_BUSYBOX],
            "args": ["sh", f"/.minipach/{_AGENT}"],
            "resources": found,
            "securityContext": strict,
            "volumeMounts": [
                {"name": volume, "subPath": f"{FOLDER}/{folder}", "mountPath": path, "readOnly": is_read_only}
                for folder, path, is_read_only in MOUNTS
            ],
        },
    ]


def security() -> dict[str, Any]:
    """Return the security context of such a pod: nothing in it needs rights, since the cluster makes the sandbox."""
    return {
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def prepare(folder: Path) -> None:
    """Make the folders that both containers share, and put the agent's programs there. Raises OSError."""
    for name, _, _ in MOUNTS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "pfs" / "out").mkdir(exist_ok=True)
    busybox = shutil.which("busybox", path=os.environ.get("PATH", os.defpath) + ":/bin")
    if busybox is None:
        raise FileNotFoundError("this image has no busybox; see deploy/kubernetes/Containerfile")
    shutil.copy(busybox, folder / "tools" / "busybox")
    (folder / "tools" / "busybox").chmod(0o755)
    shutil.copyfile(Path(minipach.execution.__path__[0], "scripts", _AGENT), folder / "tools" / _AGENT)


def main(arguments: Sequence[str]) -> int:
    """Prepare a pod. Returns the exit code."""
    try:
        prepare(Path(arguments[0]))
    except OSError as error:
        say(f"minipach: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
