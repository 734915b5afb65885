"""Settings: git configuration `minipach.*` and the environment `MINIPACH_*`."""

from __future__ import annotations

import os

from minipach.errors import UserError
from minipach.git import Repo


def local_setting(repo: Repo, name: str) -> str | None:
    """A setting that may name a program, a host or a number of processes.

    Read from the environment or this machine's git configuration only, never from a committed file:
    whoever can push to the project must not be able to choose what runs here.
    """
    from_environment = os.environ.get("MINIPACH_" + name.replace("-", "_").replace(".", "_").upper())
    return from_environment if from_environment else repo.config(f"minipach.{name}")


def slots(repo: Repo, asked: int | None) -> int:
    """How many datum sets run at once: the option, else `minipach.jobs`, else the cores of this machine."""
    if asked is not None:
        return asked
    value = local_setting(repo, "jobs")
    if value is None:
        return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if not value.isdecimal() or int(value) < 1:
        raise UserError(f'minipach.jobs: "{value}" is no number of slots; git config minipach.jobs 4')
    return int(value)
