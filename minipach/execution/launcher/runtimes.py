"""Which runtime runs an image."""

from __future__ import annotations

import os

from minipach.execution.launcher.apptainer import Apptainer
from minipach.execution.launcher.bubblewrap import Bubblewrap
from minipach.execution.launcher.charliecloud import Charliecloud
from minipach.execution.launcher.core import Failure
from minipach.execution.launcher.docker import Docker
from minipach.execution.launcher.none import Bare
from minipach.execution.launcher.pod import Pod
from minipach.execution.launcher.podman import Podman
from minipach.execution.launcher.singularity import Singularity

RUNTIMES = {r.name: r for r in (Apptainer, Singularity, Podman, Docker, Charliecloud, Bubblewrap, Bare, Pod)}
CANDIDATES = {
    "sif": ("apptainer", "singularity"),
    "squashfs": ("apptainer", "singularity", "charliecloud", "bubblewrap"),
    "docker-archive": ("podman", "docker", "apptainer", "singularity"),
    "oci-archive": ("podman", "apptainer", "singularity"),
    "rootfs-tar": ("charliecloud", "bubblewrap"),
    "directory": ("charliecloud", "bubblewrap"),
    "host": ("bubblewrap", "none"),
    "pod": ("pod",),
}


def pick_runtime(image, dataset):
    """The first runtime that can run this image here. To be installed is not enough. Raises Failure."""
    candidates = CANDIDATES[image.kind]
    wanted = os.environ.get("MINIPACH_RUNTIME")
    if wanted:
        if wanted not in candidates:
            raise Failure(
                "MINIPACH_RUNTIME="
                + wanted
                + " can't run this image ("
                + image.kind
                + "); what can: "
                + " ".join(candidates)
            )
        candidates = (wanted,)
    reasons = ""
    for name in candidates:
        runtime = RUNTIMES[name](image, dataset)
        why = runtime.problem()
        if not why:
            return runtime
        reasons += "; " + name + ": " + why
    raise Failure("no runtime here for this image (" + image.kind + ")" + reasons)
