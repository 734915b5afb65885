"""Slurm's own programs (sbatch, squeue, scancel, sinfo, scontrol), each call under a timeout."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minipach.model.launch_protocol import SECRET_PREFIX
from minipach.support.errors import Problem, UserError

_PATIENCE = 20.0  # seconds: a busy slurmctld answers late, and one that is away lets its clients hang
_PAUSE = 5.0  # seconds until one that did not answer is asked again
_ENDED = frozenset(
    {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED"}
)
# of the variables that Slurm gives to a job, those that a job submitted in there must see too
_KEPT = frozenset({"SLURM_CONF", "SLURM_CLUSTERS"})
# a person's habits for these programs: a filter would hide tasks, which then pass for lost; a question has no answer
_HABITS = ("SQUEUE_", "SINFO_", "SCANCEL_", "SBATCH_WAIT", "SBATCH_ARRAY_INX")


class SlurmAwayError(UserError):
    """slurmctld does not answer."""


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A job, or a task of an array, as squeue knows it.

    index: -1 for what is no array · reason: why in this state · seconds: that it has run · node: where.
    """

    job: str
    index: int
    state: str
    reason: str
    comment: str
    seconds: float = 0.0
    node: str = ""

    @property
    def alive(self) -> bool:
        """Whether it waits or runs (or is being ended)."""
        return self.state not in _ENDED

    @property
    def stuck(self) -> bool:
        """Whether Slurm could not start it, and holds it until somebody looks."""
        return self.state == "PENDING" and self.reason.startswith("launch failed")


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition as sinfo shows it. minutes: its time limit (None: no limit)."""

    cpus: int
    minutes: float | None


def insist(do: Callable[[], None], pause: float = _PAUSE) -> None:
    """Do something that asks Slurm; while slurmctld is too busy to answer, up to three times.

    pause: seconds in between. Raises what `do` raises.
    """
    for _ in range(2):
        try:
            do()
            return
        except SlurmAwayError:
            time.sleep(pause)
    do()


def sbatch(options: Sequence[str], step: Sequence[str]) -> str:
    """Submit a batch script with its arguments; the job's id. Raises UserError with Slurm's own words."""
    out = _ask("sbatch", "--parsable", *options, "--", *step)
    return out.split(";")[0].strip()


def squeue() -> list[QueuedTask]:
    """Return everything of this user that Slurm knows of; what ended stays there for some minutes."""
    found = []
    for line in _ask(
        "squeue", "--me", "--states=all", "--array", "--noheader", "--format=%F|%K|%T|%M|%N|%r|%k"
    ).splitlines():
        job, index, state, time, node, reason, comment = [*line.split("|", 6), *[""] * 6][:7]
        seconds = 60 * (_minutes(time) or 0.0)
        found.append(QueuedTask(job, int(index) if index.isdecimal() else -1, state, reason, comment, seconds, node))
    return found


def scancel(jobs: Sequence[str], *, pending: bool = False) -> None:
    """End jobs or tasks (`12`, `12_3`); those that are over do no harm. pending: only those that wait."""
    if jobs:
        _ask("scancel", "--quiet", *(["--state=PENDING"] if pending else []), *jobs)


def partition(name: str | None) -> Partition:
    """Return a partition by its name, or the default one (the first, if there is no default)."""
    rows = [line.split("|") for line in _ask("sinfo", "--noheader", "--format=%P|%C|%l").splitlines()]
    rows = [row for row in rows if len(row) == 3]
    chosen = [r for r in rows if (r[0].rstrip("*") == name if name else r[0].endswith("*"))]
    if name and not chosen:
        known = ", ".join(sorted({row[0].rstrip("*") for row in rows}))
        raise UserError(
            Problem(
                "slurm.no-such-partition",
                "minipach.slurm.partition",
                f'Slurm has no partition "{name}"',
                f"use one of: {known}",
            )
        )
    chosen = chosen or rows[:1]
    cpus = sum(int(row[1].split("/")[-1]) for row in chosen)
    return Partition(max(cpus, 1), min((m for r in chosen if (m := _minutes(r[2])) is not None), default=None))


def largest_memory() -> int | None:
    """Return the bytes of memory of the node that has most; None if it is not known."""
    found = [re.match(r"[0-9]+", line) for line in _ask("sinfo", "--noheader", "--format=%m").split()]
    return max((int(size[0]) << 20 for size in found if size), default=None)


def largest_array() -> int:
    """Return how many tasks an array may have."""
    config = _ask("scontrol", "show", "config")
    patterns = (r"^MaxArraySize\s*=\s*(\d+)", r"\bmax_array_tasks=(\d+)")
    return max(1, min((int(m[1]) for p in patterns if (m := re.search(p, config, re.MULTILINE))), default=1000))


def problem(patience: float = 10.0, wanted: str | None = None) -> Problem | None:
    """Return what keeps jobs from being submitted here, with the fix.

    None: nothing. wanted: the partition that is set.
    """
    try:
        _ask("sbatch", "--version", patience=patience)
        _ask("squeue", "--me", "--noheader", patience=patience)
        if wanted:
            partition(wanted)
    except UserError as error:
        return error.problems[0]
    return None


def _minutes(text: str) -> float | None:
    """Return `3-00:00:00`, `12:00:00`, `30:00` or `infinite` in minutes."""
    days, _, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(p.isdecimal() for p in parts) or not (days or "0").isdecimal():
        return None
    hours, minutes, seconds = ([0, 0, 0] + [int(p) for p in parts])[-3:]
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def _environment() -> dict[str, str]:
    """Return the environment for Slurm's programs and jobs, without secrets, since Slurm writes it to its files;
    nothing of a job's; no habits.
    """
    inside = "SLURM_JOB_ID" in os.environ
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((SECRET_PREFIX, *_HABITS))
        and not (inside and name.startswith(("SLURM_", "SLURMD_")) and name not in _KEPT)
    }


def _ask(program: str, *arguments: str, patience: float = _PATIENCE) -> str:
    try:
        done = subprocess.run(
            [program, *arguments],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=patience,
            check=False,
        )
    except FileNotFoundError:
        raise UserError(
            Problem(
                "slurm.not-found",
                program,
                "not found, and minipach.executor is slurm",
                "go where Slurm's programs are, or git config minipach.executor local",
            )
        ) from None
    except subprocess.TimeoutExpired:
        raise SlurmAwayError(_away(program, f"no answer for {patience:g} s")) from None
    said = os.fsdecode(done.stderr).strip()
    if done.returncode == 0 or (program == "scancel" and "contact" not in said):
        return os.fsdecode(done.stdout).strip()
    line = _last_error(said) or f"exit code {done.returncode}"
    if re.search(r"contact slurm controller|Connection refused|timed out|Zero Bytes|in standby mode", said):
        raise SlurmAwayError(_away(program, line))
    raise UserError(
        Problem("slurm.refused", program, line, "see the settings minipach.slurm.* and the spec's resource_requests")
    )


def _last_error(said: str) -> str:
    lines = [re.sub(r"^(sbatch|squeue|scancel|sinfo|scontrol): (error: )?", "", s) for s in said.splitlines()]
    return next((s.strip() for s in reversed(lines) if s.strip() and not s.startswith('Try "')), "")


def _away(program: str, why: str) -> Problem:
    message = f"slurmctld is away ({program}: {why})"
    return Problem("slurm.away", "Slurm", message, "try again when scontrol ping says UP")
