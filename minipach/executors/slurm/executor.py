"""The Slurm executor: each submission is a job array; what its tasks left in files says how they went.

Slurm is asked for what is alive (squeue), never for outcomes (sacct): many clusters have no accounting for users.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Collection, Sequence
from math import ceil
from pathlib import Path

from minipach.executors.moved_project import another_is
from minipach.executors.slurm import client
from minipach.executors.slurm.client import SlurmAwayError
from minipach.executors.slurm.follow_up_job import FollowUpJob
from minipach.executors.slurm.options import SlurmOptions
from minipach.executors.slurm.submission import Submission, slurm_dir
from minipach.executors.slurm.task import clear_slots
from minipach.executors.slurm.tracker import SubmissionTracker
from minipach.git.repo import Repo
from minipach.model.work_set import Needs, Outcome, WorkSet
from minipach.project.project import Project
from minipach.records import pending_work
from minipach.support.errors import UserError
from minipach.support.files import remove_tree

_LOG = logging.getLogger(__name__)
_MOST_TASKS = 256  # chunks of a pipeline, whatever the partition has: each costs a start
_PAUSE = 0.1
_UNFINISHED = 60.0  # seconds without a change after which a folder that is not complete was given up
_END = 60.0  # seconds that tasks have to end after scancel; Slurm kills them after KillWait, mostly 30 s
_STEP = (str(Path(__file__).with_name("slurm-step")), sys.executable)


class SlurmExecutor:
    """Sets as tasks of job arrays. They outlive their scheduler; a dependent job continues after it."""

    def __init__(self, project: Project, throttle: int | None) -> None:
        """throttle: tasks at once (None: as the settings say)."""
        self._project = project
        self._folder = slurm_dir(project)
        self._next = FollowUpJob(project, _STEP)
        self._options = SlurmOptions(project, throttle)
        self._limits: dict[str, int] = {}
        self._watch = SubmissionTracker(self._submit_arrays, self._options.grace)
        self._cpus: int | None = None
        self._cpus_each = 1
        self._leaving = False

    @property
    def at_once(self) -> bool:
        """Yes: a queue may take hours, which nobody should wait for twice."""
        return True

    @property
    def slots(self) -> int:
        """The number of useful tasks: the partition's CPUs by those that a set needs, within the throttle."""
        if self._cpus is None:
            try:
                self._cpus = client.partition(self._options.partition).cpus
            except SlurmAwayError:
                return 1  # what was submitted may have reported something all the same; the next submission will say it
        return max(1, min(self._cpus // self._cpus_each, self._options.throttle or _MOST_TASKS))

    @property
    def running(self) -> int:
        """The number of tasks that ran when squeue was last asked."""
        return self._watch.running

    def can_have(self, needs: Needs) -> bool:
        """Return whether a node has so much memory, as far as Slurm answers."""
        try:
            most = client.largest_memory()
        except client.SlurmAwayError:
            return True
        return most is None or needs.memory <= most

    def limit(self, pipeline: str, sets: int) -> None:
        """Run at most so many sets of this pipeline at once (`parallelism_spec.constant`)."""
        self._limits[pipeline] = sets

    def prefer(self, pipelines: Sequence[str]) -> None:
        """Do nothing: Slurm decides."""

    def expect(self, datums: int) -> None:
        """Do nothing: tasks wait in Slurm's queue."""

    def submit(self, sets: Sequence[WorkSet]) -> None:
        """Hand the sets over, all or (UserError) none."""
        classes: dict[tuple[str, Needs], list[WorkSet]] = {}
        for work in sets:
            if self._is_there(work):
                continue
            classes.setdefault((work.repo, work.needs), []).append(work)
        made: list[Submission] = []
        try:
            for (repo, _), members in classes.items():
                path = os.path.relpath(repo, self._project.root)
                made.append(Submission.create(self._folder, repo, self._options.scratch, members, path))
                self._submit_arrays(made[-1], members)
        except BaseException:
            with contextlib.suppress(UserError):
                client.scancel([job for s in made for job in s.jobs.values()])
            for submission in made:
                submission.remove()
            raise
        for submission, members in zip(made, classes.values(), strict=True):
            for work in members:
                self._watch.take(submission, work)
        self._watch.look_soon(soon=False)

    def adopt(self, repo: Repo) -> list[WorkSet]:
        """Return the sets of this repo's submissions that were not settled."""
        found = []
        self._cpus_each = self._needed_by(repo)
        self._clear_unfinished()
        for submission in take_back(self._opened(), os.path.relpath(repo.path, self._project.root), repo):
            sets = submission.sets()
            if not sets:  # made by a scheduler that was killed before it handed anything over, or after it settled all
                submission.remove()
            for work in sets:
                if work.id not in self._watch.flights:
                    self._watch.take(submission, work)
                found.append(work)
        if found:
            self._watch.look_soon(soon=True)
        self._sweep(repo)
        return found

    def poll(self, timeout: float) -> list[Outcome]:
        """Return outcomes since the last call; waits up to `timeout` seconds for the first one.

        With no timeout, those whose task is gone are waited for as long as a file system may be late: the scheduler
        that leaves must know whether they are to be submitted again.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = self._watch.news()
            if found or (time.monotonic() >= deadline and (timeout or not self._watch.in_doubt)):
                return found
            time.sleep(min(_PAUSE, max(deadline - time.monotonic(), 0.02)))

    def settle(self, sets: Sequence[WorkSet]) -> None:
        """Forget the sets; end the tasks of those that nobody waits for any more."""
        unwanted = []
        for work in sets:
            flight = self._watch.flights.pop(work.id, None)
            if flight is None:
                continue
            flight.submission.settle(work.id)
            job, index = flight.task
            if flight.left and job:
                unwanted.append(f"{job}_{index}")
        with contextlib.suppress(UserError):
            client.scancel(unwanted)
        self._watch.drop_empty()

    def discard(self, ids: Collection[str] | None = None) -> set[str]:
        """Take back the sets (of these ids) whose tasks have not started; none if Slurm can't be asked."""
        try:
            return self._discard(ids)
        except SlurmAwayError:
            return set()

    def _discard(self, ids: Collection[str] | None) -> set[str]:
        queued = self._watch.queued(client.squeue())
        flights = {name: f for name, f in self._watch.flights.items() if ids is None or name in ids}
        waiting = {name: t for name, f in flights.items() if f.left and (t := queued.get(f.task))}
        waiting = {name: task for name, task in waiting.items() if task.state == "PENDING"}
        client.scancel([f"{t.job}_{t.index}" for t in waiting.values()], pending=True)
        queued = self._watch.queued(client.squeue())
        dropped = set()
        for name in waiting:
            now = queued.get(self._watch.flights[name].task)
            if now is None or not now.alive:
                flight = self._watch.flights.pop(name)
                flight.submission.settle(name)
                dropped.add(name)
        self._watch.drop_empty()
        return dropped

    def leave(self, repo: Repo) -> None:
        """See to it (when this executor is closed) that a pass is made when an array is done."""
        self._leaving = True

    def cancel(self, repo: Repo | None = None) -> None:
        """End all tasks, and the step that continues if nothing is left for it. UserError if slurmctld is away."""
        self._leaving = self._leaving and repo is not None
        queue = client.squeue()
        self._watch.queued(queue)  # by which jobs are known again whose id was not noted
        ours = None if repo is None else str(repo.path)
        submissions = {key: s for key, s in self._watch.submissions.items() if ours in (None, s.repo)}
        jobs = [job for s in submissions.values() for job in s.jobs.values()]
        if not set(self._folders()) - submissions.keys():
            self._next.cancel(queue)  # first: it waits for the arrays to end
        client.scancel(jobs)
        deadline = time.monotonic() + _END
        while time.monotonic() < deadline and any(t.alive and t.job in jobs for t in client.squeue()):
            time.sleep(_PAUSE * 3)
        for key, submission in submissions.items():
            submission.remove()
            del self._watch.submissions[key]
        for name, flight in list(self._watch.flights.items()):
            if flight.submission.folder in submissions:
                del self._watch.flights[name]
        for path in {submission.repo for submission in submissions.values()}:
            self._sweep(Repo(Path(path)))

    def close(self) -> None:
        """Submit the step that continues, if the scheduler leaves; take back one that waits for a time for nothing."""
        leaving, self._leaving = self._leaving, False
        if leaving:
            try:
                client.insist(self._go_on)
            except UserError as error:
                why = error.problems[0]
                _LOG.warning(
                    f"running tasks continue, but the follow-up job could not be submitted: {why}; "
                    "run minipach schedule when they have finished"
                )
        elif self._next.waits_for_a_time:
            with contextlib.suppress(UserError):  # a pass for nothing is no harm
                self._next.submit_due(pending_work.due(self._project), client.squeue(), self._options.of_next)

    def _go_on(self) -> None:
        queue = client.squeue()
        alive = {t.job for t in queue if t.alive}
        jobs = [job for submission in self._opened() for job in submission.jobs.values() if job in alive]
        self._next.submit(jobs, queue, self._options.of_next)
        self._next.submit_due(pending_work.due(self._project), queue, self._options.of_next)

    def come_back(self, seconds: int) -> None:
        """Make a pass later: another schedule holds the project's lock."""
        client.insist(lambda: self._next.submit([], client.squeue(), self._options.of_next, wait=seconds))

    # --- submitting

    def _submit_arrays(self, submission: Submission, members: Sequence[WorkSet]) -> None:
        """Submit as many arrays as Slurm's limit requires; with a throttle, one after the other."""
        most = client.largest_array()
        throttle = min([n for n in (self._options.throttle, self._limits.get(members[0].pipeline)) if n], default=0)
        before = ""
        for start in range(0, len(members), most):
            part = members[start : start + most]
            number = submission.add_array([work.id for work in part])
            options = [
                f"--array=0-{len(part) - 1}" + (f"%{throttle}" if throttle else ""),
                f"--job-name=minipach:{part[0].pipeline}",
                f"--comment={submission.comment(number)}",
                f"--chdir={submission.folder}",
                f"--output=out/{number}-%A_%a.txt",
                "--input=/dev/null",
                *self._options.of_tasks(part),
            ]
            if throttle and before:
                options.append(f"--dependency=afterany:{before}")
            try:
                before = client.sbatch(
                    options, [*_STEP, "minipach.executors.slurm.task", str(submission.folder), str(number)]
                )
            except BaseException:
                submission.drop_array()
                raise
            submission.note_job(number, before)

    # --- what there is

    def _is_there(self, work: WorkSet) -> bool:
        """Return whether a set is submitted; if it ended, and was not settled, what is kept of it goes."""
        there = self._watch.flights.get(work.id)
        if there is not None:
            if there.left:
                return True
            there.submission.settle(work.id)
            return False
        for folder in self._folders():
            if (folder / "sets" / f"{work.id}.json").is_file():  # of this pipeline, which is ours
                submission = Submission.open(folder)
                if len(submission.done(work)) < len(work.parts):
                    self._watch.take(Submission.open(folder), work)
                    return True
                submission.settle(work.id)
        return False

    def _needed_by(self, repo: Repo) -> int:
        """Return the CPUs that a set of the pipeline in this repo needs."""
        for path, pipeline in self._project.pipelines.items():
            if self._project.root / path == repo.path:
                return max(1, ceil(Needs.of(pipeline).cpu))
        return 1

    def _opened(self) -> list[Submission]:
        """Return all submissions. Another schedule may remove one of its own meanwhile."""
        found = []
        for folder in self._folders():
            try:
                found.append(self._watch.submissions.get(folder) or Submission.open(folder))
            except UserError:
                if (folder / "about.json").is_file():
                    raise
        return found

    def _clear_unfinished(self) -> None:
        """Remove the folders that a killed scheduler could not finish; another schedule may just write one."""
        for folder in self._folder.glob("*-*/"):
            with contextlib.suppress(FileNotFoundError):
                age = time.time() - max(place.stat().st_mtime for place in (folder, folder / "sets"))
                if age > _UNFINISHED and not (folder / "about.json").is_file():
                    remove_tree(folder)

    def _folders(self) -> list[Path]:
        return sorted(path.parent for path in self._folder.glob("*/about.json"))

    def _sweep(self, repo: Repo) -> None:
        """Remove the slots of tasks that could not do it themselves."""

        def alive() -> set[tuple[str, int]]:
            return {(t.job, t.index) for t in client.squeue() if t.alive}

        with contextlib.suppress(UserError):
            clear_slots(repo, alive)


def is_of(submission: Submission, repo: Repo) -> bool:
    """Return whether what a submission names is this repo."""
    return os.path.realpath(submission.repo) == os.path.realpath(repo.path)


def take_back(submissions: Sequence[Submission], path: str, repo: Repo) -> list[Submission]:
    """Return the submissions of this repo (`path` in the project) that are still valid; remove the others.

    What a moved project had submitted names a folder that is not there: its tasks could do nothing but fail. They are
    ended, and the plan has their sets still. A copy's belong to the original, whose tasks are let alone. AwayError
    where slurmctld can't be asked.
    """
    holding = [s for s in submissions if is_of(s, repo)]
    others = [s for s in submissions if s.path == path and not is_of(s, repo)]
    moved = [s for s in others if not another_is(Path(s.repo), repo.path)]
    if moved:
        queue = client.squeue()
        comments = {s.comment(number) for s in moved for number in range(len(s.arrays))}
        client.scancel(sorted({t.job for t in queue if t.comment in comments and t.alive}))
        roots = {s.repo.removesuffix(f"/{path}") for s in moved}
        for root in roots:
            FollowUpJob.cancel_of(root, queue)
        _LOG.warning(
            f"{path}: sets submitted in {', '.join(sorted(roots))}, the project's earlier location, are withdrawn"
        )
    for submission in others:
        submission.remove()
    return holding
