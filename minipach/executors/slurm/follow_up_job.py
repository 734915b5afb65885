"""The follow-up job: it depends on the arrays, and makes the next pass, whether or not their tasks failed.

The pass itself is `minipach go-on`. Names of files and classes here have "step" for this job.
There is at most one that waits, and one more that waits for the time when a job has had its (`job_timeout`). They may
start too early, twice or for nothing: a pass does what is missing, no more. What they work on is what
`records.pending_work` has noted:
they know nothing themselves that could be lost with them.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Sequence

from minipach.executors.slurm import client
from minipach.executors.slurm.client import QueuedTask
from minipach.executors.slurm.submission import read_json, slurm_dir, write_json
from minipach.project.project import Project
from minipach.support.errors import UserError

_SOON = 10  # seconds until a step that has nothing to wait for
_LATE = 2  # seconds after its time that the second one begins
_KEPT = 10  # logs of earlier steps that are kept


class FollowUpJob:
    """The pending steps of a project."""

    def __init__(self, project: Project, step: Sequence[str]) -> None:
        self._folder = slurm_dir(project) / "next"
        self._root = project.root
        self._step = step
        self._comment, self._comment_due = _comments(project.root)

    def submit(
        self, after: Sequence[str], queue: Sequence[QueuedTask], options: Sequence[str], *, wait: int = _SOON
    ) -> None:
        """Make sure that a step waits for the first of these jobs to end (none: for so many seconds)."""
        pending = _pending(queue, self._comment)
        known = read_json(self._folder / "step.json")
        if after and known.get("job") in pending and _same(known.get("after"), after):
            return
        when = "--dependency=" + "?".join(f"afterany:{job}" for job in after) if after else f"--begin=now+{wait}"
        job = self._sbatch([when, "--job-name=minipach:next", f"--comment={self._comment}", *options])
        write_json(self._folder / "step.json", {"job": job, "after": list(after)})
        client.scancel([old for old in pending if old != job])

    def submit_due(self, at: float | None, queue: Sequence[QueuedTask], options: Sequence[str]) -> None:
        """Make sure that a step waits for this time (unix seconds; None: that none waits for any)."""
        pending = _pending(queue, self._comment_due)
        known = read_json(self._folder / "due.json")
        if at is not None and known.get("at") == round(at) and (known.get("job") in pending or at < time.time()):
            return  # it waits; or it has come, and once is enough
        if at is not None:
            begin = f"--begin=now+{max(0, math.ceil(at - time.time())) + _LATE}"
            job = self._sbatch([begin, "--job-name=minipach:due", f"--comment={self._comment_due}", *options])
            write_json(self._folder / "due.json", {"job": job, "at": round(at)})
            pending = [old for old in pending if old != job]
        client.scancel(pending)
        if at is None:
            (self._folder / "due.json").unlink(missing_ok=True)

    @property
    def waits_for_a_time(self) -> bool:
        """Whether a step was submitted that waits for a time, and not taken back since."""
        return (self._folder / "due.json").is_file()

    def _sbatch(self, options: Sequence[str]) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        for log in sorted(self._folder.glob("*.txt"), key=lambda p: p.stat().st_mtime)[:-_KEPT]:
            log.unlink(missing_ok=True)
        places = [f"--chdir={self._folder}", "--output=%j.txt", "--input=/dev/null"]
        return client.sbatch(
            ["--kill-on-invalid-dep=yes", *places, *options], [*self._step, "minipach", "-C", str(self._root), "go-on"]
        )

    def cancel(self, queue: Sequence[QueuedTask]) -> None:
        """End the steps (one that runs waits for the project's lock, if it isn't us)."""
        for note in ("step.json", "due.json"):
            (self._folder / note).unlink(missing_ok=True)
        own = os.environ.get("SLURM_JOB_ID")
        ours = (self._comment, self._comment_due)
        client.scancel([t.job for t in queue if t.comment in ours and t.alive and t.job != own])

    @staticmethod
    def cancel_of(root: str, queue: Sequence[QueuedTask]) -> None:
        """End the steps of a project that is no longer in this folder."""
        ours = _comments(root)
        client.scancel([t.job for t in queue if t.comment in ours and t.alive])

    def is_there(self, queue: Sequence[QueuedTask]) -> bool:
        """Return whether one waits for the arrays, or runs."""
        return any(t.comment == self._comment and t.alive for t in queue)


def _same(known: object, after: Sequence[str]) -> bool:
    return isinstance(known, list) and sorted(map(str, known)) == sorted(after)


def _comments(root: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the name under which Slurm has the follow-up jobs of the project in this folder.

    The one that continues, and the one for a time.
    """
    mark = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]
    return f"minipach next {mark}", f"minipach due {mark}"


def _pending(queue: Sequence[QueuedTask], comment: str) -> list[str]:
    return [t.job for t in queue if t.comment == comment and t.state == "PENDING"]


def step_is_gone(project: Project) -> bool:
    """Return whether no step waits or runs; where Slurm can't be asked, nobody knows that."""
    try:
        return not FollowUpJob(project, ()).is_there(client.squeue())
    except UserError:
        return False
