"""The step that goes on: a job that depends on the arrays, and makes the next pass, whether or not their tasks failed.

There is at most one that waits. It may start too early, twice or for nothing: a pass does what is missing, no more.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from minipach.executors import slurmclient as client
from minipach.executors.slurmclient import QueuedTask
from minipach.executors.slurmfiles import read_json, slurm_dir, write_json
from minipach.git import child_environment
from minipach.project import Project, find_project
from minipach.targets import Targets

_SOON = 10  # seconds until a step that has nothing to wait for
_PATIENCE = 60.0  # seconds that a step waits for another schedule before it gives its place in the queue back
_LATER = 300  # seconds until it tries again
_KEPT = 5  # logs of earlier steps that are kept


@dataclass(frozen=True, slots=True)
class Request:
    """What a schedule was asked for, and every later pass of it is. None: everything."""

    targets: Targets | None = None

    @staticmethod
    def of(project: Project, targets: Targets) -> Request:
        """The request that has these targets."""
        everything = set(targets.order) == set(project.order) and not targets.patterns
        return Request(None if everything else targets)

    def as_json(self) -> Any:
        """As it is kept."""
        if self.targets is None:
            return None
        t = self.targets
        return {
            "order": list(t.order),
            "patterns": {k: list(v) for k, v in t.patterns.items()},
            "named": sorted(t.named),
        }

    @staticmethod
    def from_json(project: Project, data: Any) -> Request:
        """As it was kept, less the pipelines that are no more."""
        if data is None:
            return Request()
        there = set(project.order)
        patterns = {str(k): tuple(v) for k, v in data["patterns"].items() if k in there}
        return Request(
            Targets(tuple(p for p in project.order if p in data["order"]), patterns, frozenset(data["named"]) & there)
        )


class NextStep:
    """The pending step of a project, and the requests that it will go on with."""

    def __init__(self, project: Project, step: Sequence[str], request: Request) -> None:
        self._folder = slurm_dir(project) / "next"
        self._root = project.root
        self._step = step
        self._request = request
        self._comment = "minipach next " + hashlib.sha256(os.fsencode(os.path.realpath(project.root))).hexdigest()[:16]

    def submit(
        self, after: Sequence[str], queue: Sequence[QueuedTask], options: Sequence[str], *, wait: int = _SOON
    ) -> None:
        """Make sure that a step waits for the first of these jobs to end (none: for so many seconds)."""
        self._add(self._request.as_json())
        pending = [t.job for t in queue if t.comment == self._comment and t.state == "PENDING"]
        known = read_json(self._folder / "step.json") or {}
        if after and known.get("job") in pending and set(known.get("after", [])) == set(after):
            return
        when = "--dependency=" + "?".join(f"afterany:{job}" for job in after) if after else f"--begin=now+{wait}"
        job = client.sbatch(
            [
                when,
                "--kill-on-invalid-dep=yes",
                "--job-name=minipach:next",
                f"--comment={self._comment}",
                f"--chdir={self._folder}",
                "--output=%j.txt",
                "--input=/dev/null",
                *options,
            ],
            [*self._step, "slurmnext", str(self._root)],
        )
        write_json(self._folder / "step.json", {"job": job, "after": list(after)})
        client.scancel([old for old in pending if old != job])
        for log in sorted(self._folder.glob("*.txt"), key=lambda p: p.stat().st_mtime)[:-_KEPT]:
            log.unlink(missing_ok=True)

    def cancel(self, queue: Sequence[QueuedTask]) -> None:
        """End the step (one that runs waits for the project's lock, if it isn't us), and forget the requests."""
        for name in ("step.json", "requests.json", "taken.json"):
            (self._folder / name).unlink(missing_ok=True)
        own = os.environ.get("SLURM_JOB_ID")
        client.scancel([t.job for t in queue if t.comment == self._comment and t.alive and t.job != own])

    def take(self) -> list[Any]:
        """The requests to go on with. They are kept until `done`, if this step should not come so far."""
        taken = read_json(self._folder / "taken.json") or []
        taken += [row for row in read_json(self._folder / "requests.json") or [] if row not in taken]
        taken = [None] if None in taken else taken  # who asked for everything asked for the others' too
        write_json(self._folder / "taken.json", taken)
        (self._folder / "requests.json").unlink(missing_ok=True)
        return taken

    def done(self) -> None:
        """What was taken is done with: each pass that left something on its way has asked again."""
        (self._folder / "taken.json").unlink(missing_ok=True)

    def _add(self, row: Any) -> None:
        rows = read_json(self._folder / "requests.json") or []
        if row not in rows:
            write_json(self._folder / "requests.json", [*rows, row])


def main() -> int:
    """Make the passes that were asked for, of the project `argv[1]`."""
    from minipach.cli.frame import guarded, say
    from minipach.cli.runs import carry_out
    from minipach.executors.slurm import SlurmExecutor
    from minipach.report import Options
    from minipach.running import wait_until_free

    signal.signal(signal.SIGTERM, _as_interrupt)
    os.environ.update(child_environment({"DATALAD_LOG_LEVEL": "error", "DATALAD_UI_PROGRESSBAR": "none"}))
    project = find_project(Path(sys.argv[1]))
    sys.argv[1:] = ["schedule", f"(job {os.environ.get('SLURM_JOB_ID', '?')} of Slurm)"]  # as the lock will name it
    if not wait_until_free(project.state_dir / "lock", _PATIENCE, say):
        SlurmExecutor(project, None, Request()).come_back(_LATER)
        return 0
    step = NextStep(project, (), Request())
    code = 0
    for row in step.take():
        request = Request.from_json(project, row)
        targets = request.targets or Targets(project.order, {}, frozenset(project.order))
        try:
            guarded(carry_out)(project, targets, Options(), None, as_json=False, wait=None)
        except typer.Exit as exit_:
            code = max(code, exit_.exit_code)
        project = find_project(project.root)  # as it is after this pass
    step.done()
    return code


def _as_interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
