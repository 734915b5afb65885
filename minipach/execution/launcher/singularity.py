"""The runtime singularity."""

from __future__ import annotations

from minipach.execution.launcher.apptainer import Apptainer


class Singularity(Apptainer):
    """The same under its earlier name."""

    name = "singularity"
