"""The runtime docker."""

from __future__ import annotations

from minipach.execution.launcher.podman import Podman


class Docker(Podman):
    """docker; its command line was tried with a stand-in only."""

    name = "docker"
