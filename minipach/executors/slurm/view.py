"""The view of squeue and the tasks' files: which sets run, outcomes of others, why the rest waits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from minipach.executors.slurm import client
from minipach.executors.slurm.client import QueuedTask
from minipach.executors.slurm.submission import Submission, slurm_dir
from minipach.executors.view import ExecutorState, Looker, WaitingSets, Worker
from minipach.model.work_set import Outcome
from minipach.project.project import Project
from minipach.support.errors import UserError

_PACE = 5.0  # seconds between two questions to slurmctld, which has others to serve
# what the jobs that aren't sets wait for, by Slurm's reason
_STEPS = {"Dependency": "for the sets before it, to publish and continue", "BeginTime": "for the job's time limit"}


def looker(project: Project) -> Looker:
    """Return what looks at the submissions of a project: at their tasks' files each time, at squeue now and then."""
    return _Look(project).look


class _Look:
    def __init__(self, project: Project) -> None:
        self._folder = slurm_dir(project)
        self._submissions: dict[Path, Submission] = {}
        self._outcomes: dict[Path, list[Outcome]] = {}
        self._queue: list[QueuedTask] = []
        self._asked: float | None = None

    def look(self, sets: Mapping[str, str]) -> ExecutorState:
        """Return the running tasks and the waiting ones, with Slurm's reasons."""
        if self._asked is None or time.monotonic() - self._asked >= _PACE:
            self._queue = [t for t in client.squeue() if t.alive and t.comment.startswith("minipach ")]
            self._asked = time.monotonic()
        self._read()
        workers, running = [], set()
        for task in self._queue:
            if task.state != "PENDING":
                name = self._set_of(task)
                running.add(name)
                what = sets.get(name, "publish, and continue" if task.index < 0 else name[:12] or "?")
                label = task.job if task.index < 0 else f"{task.job}_{task.index}"
                workers.append(Worker(f"task {label}", task.node, ((what, task.seconds),)))
        waiting = Counter((t.job, _why(t)) for t in self._queue if t.state == "PENDING")
        rows = [WaitingSets(n, f"job {job}", why) for (job, why), n in sorted(waiting.items())]
        outcomes = tuple(outcome for found in self._outcomes.values() for outcome in found)
        return ExecutorState(tuple(workers), tuple(rows), frozenset(running), outcomes)

    def _read(self) -> None:
        there = dict(self._open())
        self._submissions = there
        self._outcomes = {folder: self._outcomes.get(folder, []) for folder in there}
        for folder, submission in there.items():
            try:
                new = [line.outcome for line in submission.new_lines()]
            except (OSError, ValueError, KeyError, TypeError):  # settled and removed as we look
                continue
            self._outcomes[folder] += [outcome for outcome in new if outcome is not None]

    def _open(self) -> Iterator[tuple[Path, Submission]]:
        """Yield the submissions that there are; one that is known continues to be read where it was read to."""
        for about in sorted(self._folder.glob("*/about.json")):
            try:
                now = Submission.open(about.parent)
            except UserError:
                continue
            known = self._submissions.get(about.parent)
            if known is not None:
                known.arrays, known.jobs = now.arrays, now.jobs
            yield about.parent, known or now

    def _set_of(self, task: QueuedTask) -> str:
        """Return the id of the set that a task has, or ""."""
        words = task.comment.split()
        if len(words) != 3 or not words[2].isdecimal():
            return ""
        submission = self._submissions.get(self._folder / words[1])
        number = int(words[2])
        if (
            submission is None
            or number >= len(submission.arrays)
            or not 0 <= task.index < len(submission.arrays[number])
        ):
            return ""
        return submission.arrays[number][task.index]


def _why(task: QueuedTask) -> str:
    if task.index < 0 and task.reason in _STEPS:
        return _STEPS[task.reason]
    # None is what squeue says of a task that Slurm has not looked at yet
    return "Slurm has not considered it yet" if task.reason in ("", "None") else f"Slurm says {task.reason}"
