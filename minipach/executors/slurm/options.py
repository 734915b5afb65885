"""The settings `minipach.slurm.*`, and what sets need, as options of sbatch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from math import ceil

from minipach.executors.slurm import client
from minipach.model.work_set import WorkSet
from minipach.project.project import Project
from minipach.project.settings import local_setting
from minipach.support.errors import Problem, UserError

_GRACE = 5.0  # seconds that a network file system may be late with what a task reported before it ended
_START = 300  # seconds that a task has beside the time of its datums


class SlurmOptions:
    """The Slurm options of the local configuration; never of a committed file."""

    def __init__(self, project: Project, jobs: int | None) -> None:
        """jobs: tasks at once, as the command line has it."""
        self._repo = project.repo
        self._jobs = jobs

    def _setting(self, name: str) -> str | None:
        return local_setting(self._repo, f"slurm.{name}")

    @property
    def partition(self) -> str | None:
        """The partition; None: Slurm's default one."""
        return self._setting("partition")

    @property
    def scratch(self) -> str:
        """The folder for worktrees on a node; variables are expanded there. Empty: in the pipeline's repo."""
        return local_setting(self._repo, "scratch") or ""

    @property
    def grace(self) -> float:
        """Seconds that the file system may be late."""
        return self._number("grace", _GRACE)

    @property
    def throttle(self) -> int | None:
        """Tasks of an array at once; None: as many as Slurm lets run."""
        found = [n for n in (self._jobs, int(self._number("throttle", 0))) if n]
        return min(found, default=None)

    @property
    def of_all(self) -> list[str]:
        """The options of all our jobs."""
        names = ("partition", "account", "qos")
        return [f"--{name}={value}" for name in names if (value := self._setting(name))]

    @property
    def of_next(self) -> list[str]:
        """The options of the follow-up job."""
        return [*self.of_all, *self._words("next-args")]

    def of_tasks(self, members: Sequence[WorkSet]) -> list[str]:
        """Return options of an array with these sets, which all need the same."""
        needs, pipeline = members[0].needs, members[0].pipeline
        options = []
        if needs.cpu:
            options.append(f"--cpus-per-task={max(1, ceil(needs.cpu))}")
        if needs.memory:
            options.append(f"--mem={ceil(needs.memory / 2**20)}M")
        if needs.disk:
            options.append(f"--tmp={ceil(needs.disk / 2**20)}M")
        if needs.gpus:
            # Kubernetes' names of devices (nvidia.com/gpu) are no types of Slurm
            kind = needs.gpu_type if "/" not in needs.gpu_type and needs.gpu_type != "gpu" else ""
            if not re.fullmatch(r"[\w.-]*", kind):
                raise UserError(
                    Problem(
                        "slurm.bad-gpu-type",
                        f"{pipeline}/spec.yml",
                        f"gpu type {kind!r}: not a valid GPU type for Slurm",
                    )
                )
            options.append(f"--gres=gpu:{kind + ':' if kind else ''}{needs.gpus}")
        return [*self.of_all, *options, *self._time(members), *self._words("args")]

    def _time(self, members: Sequence[WorkSet]) -> list[str]:
        limit = self._setting("time")
        if limit:
            return [f"--time={limit}"]
        seconds = [w.timeout * len(w.parts) * max(w.tries, 1) for w in members if w.timeout is not None]
        if len(seconds) < len(members):
            return []  # the partition's own
        minutes = ceil((max(seconds) + _START) / 60)
        longest = client.partition(self.partition).minutes
        return [f"--time={min(minutes, int(longest)) if longest else minutes}"]

    def _words(self, name: str) -> list[str]:
        text = self._setting(name) or ""
        try:
            return shlex.split(text)
        except ValueError as error:
            raise UserError(Problem("setting.bad-value", f"minipach.slurm.{name}", f"{text!r}: {error}")) from None

    def _number(self, name: str, default: float) -> float:
        value = self._setting(name)
        try:
            number = default if value is None else float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number < 1e9:
            raise UserError(
                Problem(
                    "setting.bad-number",
                    f"minipach.slurm.{name}",
                    f'"{value}" is not a number',
                    f"git config minipach.slurm.{name} 10",
                )
            )
        return number
