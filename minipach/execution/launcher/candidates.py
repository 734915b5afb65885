"""The runtimes that can run each kind of image, in the order in which they are tried.

The name of a runtime is that of its part. A new runtime is a part, and its name in this table.
"""

from __future__ import annotations

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
