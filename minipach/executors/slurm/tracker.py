"""The sets that are submitted through Slurm: their reports, tasks that are alive, and sets to submit again."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from minipach.executors.outcome_check import check_outcome
from minipach.executors.slurm import client
from minipach.executors.slurm.client import QueuedTask, SlurmAwayError
from minipach.executors.slurm.submission import Life, Submission, final, narrowed
from minipach.model.job_entries import DatumResult, Try
from minipach.model.work_set import LOST_TRIES, Outcome, WorkSet
from minipach.records.job_logs import lost_log, note_set
from minipach.support.validation import InvalidError

_LOG = logging.getLogger(__name__)
_OF_MEMORY = re.compile(r"exceeded (?:job )?memory limit|oom[-_ ]?kill", re.IGNORECASE)  # as slurmstepd says it
_PACE = 3.0  # seconds between two looks at squeue, at least
_SLOWEST = 30.0
_SKEW = 5.0  # seconds by which a task's clock may be ahead of ours
_SOONEST = 0.5  # where the answer decides something


@dataclass
class SubmittedSet:
    """A set submitted.

    runs: the (array, index) of its tasks, the last one is the one that counts · last: the place in `runs` of the last
    task that reported anything · over: whether the last task reported its end · gone: when Slurm was first seen not
    to have it any more, on the clock of `time.monotonic`.
    """

    work: WorkSet
    submission: Submission
    left: set[int]
    runs: list[tuple[int, int]] = field(default_factory=list)
    last: int = -1
    over: bool = False
    code: int = 0
    gone: float | None = None
    state: str = ""

    @property
    def in_vain(self) -> int:
        """The number of tasks in a row that reported nothing, including the last one."""
        return len(self.runs) - 1 - self.last

    @property
    def task(self) -> tuple[str, int]:
        """Slurm's job and index of the last task; no job: not known."""
        number, index = self.runs[-1] if self.runs else (-1, -1)
        return self.submission.jobs.get(number, ""), index


class SubmissionTracker:
    """Waits for sets. submit: hands sets of a submission to Slurm once more."""

    def __init__(self, submit: Callable[[Submission, Sequence[WorkSet]], None], grace: float) -> None:
        """grace: seconds that the file system may be late with what a task reported before it ended."""
        self.flights: dict[str, SubmittedSet] = {}
        self.submissions: dict[Path, Submission] = {}
        self.running = 0
        self._submit = submit
        self._grace = grace
        self._news: list[Outcome] = []
        self._away = False
        self._began = self._looked = time.monotonic()

    def take(self, submission: Submission, work: WorkSet) -> None:
        """Wait for a set from now on."""
        self.submissions[submission.folder] = submission
        self.flights[work.id] = SubmittedSet(work, submission, set(range(len(work.parts))), submission.runs(work.id))

    def look_soon(self, *, soon: bool) -> None:
        """Ask Slurm at the next look (or: not for a while, since all was submitted just now)."""
        self._looked = time.monotonic() - (_SLOWEST if soon else 0)

    def news(self) -> list[Outcome]:
        """Return the outcomes that were reported since the last call."""
        self.read()
        if not self._news:
            self._look()
        news, self._news = self._news, []
        return news

    @property
    def in_doubt(self) -> bool:
        """Whether a task is gone, while its last report may not have passed the file system yet."""
        return not self._away and any(f.gone is not None for f in self._waiting())

    def _waiting(self) -> list[SubmittedSet]:
        """Return the sets with missing outcomes, except those whose job has reached its time limit."""
        left = time.time() + _SKEW
        over = {folder for folder, s in self.submissions.items() if (due := s.due) is not None and due < left}
        return [f for f in self.flights.values() if f.left and f.submission.folder not in over]

    def read(self) -> None:
        """Read the new reports of tasks."""
        for submission in self.submissions.values():
            for report in submission.new_lines():
                flight = self.flights.get(submission.arrays[report.array][report.index])
                if flight is None or flight.submission is not submission:
                    continue
                if (report.array, report.index) not in flight.runs:
                    continue
                run = flight.runs.index((report.array, report.index))
                if report.outcome is not None and not _fits(report.outcome, flight.work):
                    continue
                if report.outcome is None:
                    if run == len(flight.runs) - 1:
                        flight.over, flight.code = True, report.code
                    continue
                lost = flight.runs[
                    flight.last + 1 : run
                ]  # they reported nothing; this one began with what they had in hand
                flight.last = max(flight.last, run)
                new = [index for index in final(flight.work, report.outcome) if index in flight.left]
                flight.left.difference_update(new)
                if new:
                    before = (*(_lost_try(flight, task) for task in lost), *report.outcome.before)
                    self._news.append(replace(narrowed(report.outcome, len(flight.work.parts), new), before=before))

    def _look(self) -> None:
        """Ask Slurm, if it is time, which tasks are alive. Sets of tasks that are gone are submitted again, or lost."""
        now = time.monotonic()
        waiting = self._waiting()
        pace = min(max(_PACE, (now - self._began) / 20), _SLOWEST)
        if not self._away and any(f.over or (f.gone is not None and now - f.gone >= self._grace) for f in waiting):
            pace = _SOONEST
        if not waiting or now - self._looked < pace:
            return
        self._looked = now
        try:
            queued = self.queued(client.squeue())
        except SlurmAwayError as error:
            if not self._away:
                _LOG.warning(f"{error.problems[0].what}; waiting for it")
            self._away = True
            return
        if self._away:
            _LOG.warning("Slurm: slurmctld answers again")
            self._away = False
        self.running = sum(1 for f in waiting if (t := queued.get(f.task)) and t.state == "RUNNING")
        lost = []
        stuck = {(t.job, t.index) for t in queued.values() if t.stuck}
        with contextlib.suppress(SlurmAwayError):
            client.scancel([f"{f.task[0]}_{f.task[1]}" for f in waiting if f.task in stuck])
        for flight in waiting:
            task = queued.get(flight.task)
            if task is not None:
                flight.state = task.state + (f", {task.reason}" if task.reason not in ("", "None") else "")
            # one that says that it has ended need not be waited for, but what Slurm says of its end may be wanted
            if task is not None and task.alive and not task.stuck and (not flight.over or flight.in_vain >= LOST_TRIES):
                flight.gone = None
                continue
            flight.gone = now if flight.gone is None else flight.gone
            if flight.over or now - flight.gone >= self._grace:
                lost.append(flight)
        for folder in {flight.submission.folder for flight in lost}:
            self.submissions[folder].look_again()
        self.read()
        for folder, submission in self.submissions.items():
            self._try_again(submission, [f for f in lost if f.left and f.submission.folder == folder])

    def _try_again(self, submission: Submission, flights: Sequence[SubmittedSet]) -> None:
        """Submit once more what tasks left undone; a set that keeps killing its task is lost (of a chunk: a datum)."""
        for flight in flights:
            if flight.in_vain >= LOST_TRIES or (_can_be_raised(flight.work) and self._was_out_of_memory(flight)):
                self._lose(flight, flight.in_vain)
        again = [f for f in flights if f.left]
        if not again:
            return
        try:
            self._submit(submission, [f.work for f in again])
        except SlurmAwayError:
            pass  # later
        finally:
            for flight in again:
                runs = submission.runs(flight.work.id)
                if len(runs) > len(flight.runs):
                    flight.runs, flight.over, flight.gone, flight.state = runs, False, None, ""

    def _lose(self, flight: SubmittedSet, times: int) -> None:
        """Give a set up (of a chunk: the datum that its tasks can't have come past), and say what Slurm knew."""
        work = flight.work
        first = min(flight.left)
        part = work.part([first]) if work.chunk else work
        number, index = flight.runs[-1]
        how = f"killed by signal {-flight.code}" if flight.code < 0 else f"exit code {flight.code}"
        said = flight.submission.said(number, index)
        over = self._was_out_of_memory(flight)
        states = ["out of memory"] if over else []
        states += [flight.state] if flight.state else []
        message = f"its task ended {times} times without a result ({f'its worker: {how}; ' if flight.over else ''}"
        message += f"Slurm: {', '.join(states) or 'it is unknown there'})"
        log = Path(part.log)
        with contextlib.suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                file.write(f"minipach: {message}\n{said}\n")
            note_set(log.parent, log.name, [str(d["name"]) for d in part.datums])
        raised = over and _can_be_raised(part)
        datums = (DatumResult(first, "lost", 1, message, wants_memory=raised),) if work.chunk or raised else ()
        life = flight.submission.lives.get((number, index), Life(0.0, ""))
        outcome = Outcome(
            work.id,
            "lost",
            1,
            message,
            life.seconds,
            times,
            part.log,
            life.host,
            datums=datums,
            started=life.began,
            ended=life.ended or 0.0,
        )
        flight.submission.notify_lost(number, index, outcome)
        self.read()

    def _was_out_of_memory(self, flight: SubmittedSet) -> bool:
        """Return whether Slurm has said so of the last task of a set."""
        return _OF_MEMORY.search(flight.submission.said(*flight.runs[-1])) is not None

    def queued(self, queue: Sequence[QueuedTask]) -> dict[tuple[str, int], QueuedTask]:
        """Return the tasks by job and index; an array whose id could not be noted is known again by its comment."""
        for submission in self.submissions.values():
            for number in range(len(submission.arrays)):
                if number not in submission.jobs:
                    job = next((t.job for t in queue if t.comment == submission.comment(number)), None)
                    if job is not None:
                        submission.note_job(number, job)
        return {(task.job, task.index): task for task in queue}

    def drop_empty(self) -> None:
        """Remove the submissions whose sets are all settled."""
        for folder, submission in list(self.submissions.items()):
            if not any((folder / "sets").iterdir()):
                del self.submissions[folder]
                submission.remove()


def _fits(outcome: Outcome, work: WorkSet) -> bool:
    """Return whether an outcome can be one of a set; if not, say so."""
    try:
        check_outcome(outcome, work)
    except InvalidError as error:
        _LOG.warning(f"{work.pipeline}: what a task of Slurm has noted of set {work.id[:12]} is skipped ({error})")
        return False
    return True


def _can_be_raised(work: WorkSet) -> bool:
    """Return whether a set has a single datum, which gets more memory after it was out of that."""
    return work.more_memory > 1 and len(work.parts) == 1


def _lost_try(flight: SubmittedSet, task: tuple[int, int]) -> Try:
    number, index = task
    # of a chunk, the logs are those of what its task has cut
    log = "" if flight.work.chunk else lost_log(flight.work.log, flight.runs.index(task) + 1)
    message = f"Slurm's task {flight.submission.jobs.get(number, '?')}_{index} ended without a result"
    life = flight.submission.lives.get(task)
    if life is None:
        return Try("lost", 1, message, log=log)
    return Try("lost", 1, message, life.began, life.ended, life.seconds, host=life.host, log=log)
