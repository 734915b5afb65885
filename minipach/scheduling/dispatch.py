"""One round of a job: datums cut into sets, run by an executor, and what became of each datum."""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from minipach.datums import launch_command
from minipach.execution.set_size import BOOKKEEPING, TRIAL, Sizer, free_slots
from minipach.executors.base import Executor
from minipach.git.annex_keys import size_of
from minipach.model.datum import Task
from minipach.model.job_entries import Attempt, DatumResult, Duration, Raised, Took, Try
from minipach.model.outside import at_limits, beside, limits_of_set, seen_by
from minipach.model.pipeline import SetSpec
from minipach.model.work_set import Base, Outcome, Streak, WorkSet, tried_again
from minipach.planning.assessment import Assessment
from minipach.planning.command_check import absent_script
from minipach.records.job_logs import count_sets, note_set, noted_sets, part_of
from minipach.scheduling.work_sets import make_set


@dataclass(frozen=True, slots=True)
class _Flight:
    """A submitted set: its datums (None: no longer one of the pipeline's), and the indices not reported yet.

    since: when it was submitted, on the clock of `time.monotonic`.
    """

    work: WorkSet
    members: tuple[Task | None, ...]
    left: set[int]
    since: float = field(default_factory=time.monotonic)


class Round:
    """Runs datums once through an executor. A datum that fails in a set is tried again by itself."""

    def __init__(
        self,
        assessment: Assessment,
        base: Base,
        job: str,
        logs: Path,
        engine: Executor,
        forced: frozenset[str],
        lasting: bool,
        record: Callable[[Task, Try, bool], None] = lambda _task, _try, _wants_memory: None,
        *,
        ready: int = 0,
        raised: Mapping[str, Raised] = MappingProxyType({}),
    ) -> None:
        """lasting: whether sets outlive the scheduler · record: gets a try of a datum that is tried again by itself, at
        once, and whether the next one is to have more memory: that may end in a later pass · ready: pipelines that
        could begin now, and wait for slots · raised: datums whose memory was raised before this round.
        """
        self.assessment = assessment
        self._record = record
        self._raised = raised
        self.base = base
        self.job = job
        self.logs = logs
        self.engine = engine
        self.forced = forced
        self.lasting = lasting
        self.done = 0
        self.overdue = False
        self.is_late = False  # the job's time is over: nobody should wait for outcomes
        self.ended: list[WorkSet] = []  # for the executor to settle, once their ends are on record
        pipeline = assessment.pipeline
        slots = min(engine.slots, pipeline.parallelism or engine.slots)
        sets = pipeline.sets
        batched = pipeline.transform.batching
        if pipeline.datum_timeout is not None and pipeline.transform.err_cmd and not batched:
            # a time that is over ends the whole set, and then err_cmd would have no datum to run for
            sets = SetSpec(number=1)
        self._others = not lasting and ready >= engine.slots
        self._by_size = not (sets.number or sets.per_worker or sets.size_bytes or batched)
        trials = self._by_size and not lasting  # who submitted a set must be there to cut another one of the rest
        self.sizer = Sizer(slots, sets, lambda t: launch_command.length(pipeline, t), self._size, batched, trials)
        self._waiting: dict[str, _Flight] = {}
        self._queue: deque[Task] = deque()
        self._alone: deque[tuple[Task, int, int]] = deque()  # tries that are left, how often its memory was raised
        self._streak = Streak()
        self._lost: dict[str, Attempt] = {}  # how datums ended in a set that was lost, until they are tried again
        self._sets = count_sets(logs)
        self._total = 0
        self._deadline: float | None = None
        self._absent = self._absent_script()
        self._most = 1 if self._absent else pipeline.datum_tries

    def _absent_script(self) -> str | None:
        """Return the script of the command that isn't in the repo: without it every try ends in the same way."""
        a = self.assessment
        return absent_script(a.pipeline, a.shows) if a.head else None

    def learn_from(self, durations: Sequence[Duration]) -> None:
        """Begin with what such datums took before."""
        if durations:
            self.sizer.pace.work = max(0.0, sum(d.seconds for d in durations) / len(durations) - BOOKKEEPING)

    def adopt(self, sets: Sequence[WorkSet], tasks: Sequence[Task]) -> None:
        """Wait for these sets too, which are submitted since an earlier pass. tasks: all that the pipeline has."""
        there = {(t.id, t.datum.name): t for t in tasks}
        for work in sets:
            members = tuple(there.get((d["id"], d["name"])) for d in work.datums)
            if any(members):
                self._waiting[work.id] = _Flight(work, members, set(range(len(members))))
        others = [f.work for f in self._waiting.values() if Path(f.work.log).parent != self.logs]
        noted = noted_sets(self.logs) if others else set()
        for work in others:  # of a job that this one took the place of: who follows this one wants to see them
            if work.id not in noted:
                names = [str(d["name"]) for d in work.datums]
                log = os.path.relpath(work.log, self.logs)
                note_set(self.logs, log, [] if work.chunk else names, ident=work.id, holds=names, tries=work.tries)

    def waits_for(self, set_id: str) -> bool:
        """Return whether a set is waited for."""
        return set_id in self._waiting

    @property
    def in_flight(self) -> int:
        """The number of submitted sets."""
        return len(self._waiting)

    def begin(self, tasks: Sequence[Task], deadline: float | None = None) -> None:
        """Take the datums to run; each comes back once from `take`, when it has ended for good.

        deadline: when the job's time is over, on the clock of `time.monotonic`. What isn't done by then has failed, and
        what the executor has of this pipeline is cancelled.
        """
        limit = self.assessment.pipeline.parallelism
        if limit is not None:
            self.engine.limit(self.assessment.pipeline.name, limit)
        flying = {(t.id, t.datum.name) for flight in self._waiting.values() for t in flight.members if t}
        for task in tasks:
            before = self._raised.get(task.datum.name)
            if (task.id, task.datum.name) in flying:
                continue
            if before is not None and self._can_raise(task, before):
                self._alone.append((task, max(1, self._most - before.failed), before.raised))
            else:
                self._queue.append(task)
        self._total = len(tasks)
        self._deadline = deadline

    def go_on(self) -> bool:
        """Submit what the executor should have now. False: the round is over, and no outcome is waited for."""
        if not (self._queue or self._alone or self._waiting):
            return False
        self.is_late = self._deadline is not None and time.monotonic() > self._deadline
        if not self.is_late:
            self._fill(self._total)
        return True

    def take(self, outcomes: Iterable[Outcome]) -> list[Attempt]:
        """Take outcomes of this round's sets, and return the datums that are done with."""
        ends = [*self._attempts_of(outcomes), *self._drop_hopeless()]
        if self.is_late:  # what has ended in time counts
            self.overdue = True
            self.engine.cancel(self.assessment.repo)
            ends += self._give_up()
        return ends

    def _attempts_of(self, outcomes: Iterable[Outcome]) -> list[Attempt]:
        found = []
        for outcome in outcomes:
            flight = self._waiting.get(outcome.set_id)
            if flight is None:
                continue
            for index, end in (*self._ends(flight, outcome), *self._put_back(flight, outcome)):
                flight.left.discard(index)
                if end is not None:
                    self.done += 1
                    found.append(end)
            if not flight.left:
                self._note_end(self._waiting.pop(outcome.set_id).work)
        return found

    def _note_end(self, work: WorkSet) -> None:
        """Note a set that is done with; what it holds of its datums only where its executor may ask for that."""
        self.ended.append(work if self.lasting else replace(work, parts=(), inputs_of=(), files=(), datums=()))

    def _drop_hopeless(self) -> Iterator[Attempt]:
        """Yield the remaining lost sets as not tried, where one datum after the other is lost alone, too."""
        if not self._streak.is_hopeless:
            return
        dropped = [task for task, *_ in self._alone if task.datum.name in self._lost]
        self._alone = deque(row for row in self._alone if row[0].datum.name not in self._lost)
        for task in dropped:
            self.done += 1
            yield self._lost.pop(task.datum.name)

    def _give_up(self) -> Iterator[Attempt]:
        flights = list(self._waiting.values())
        running = [(task, f.work.log) for f in flights for i, task in enumerate(f.members) if task and i in f.left]
        waiting = [(task, "") for task in (*self._queue, *(task for task, *_ in self._alone))]
        for flight in flights:
            self._note_end(flight.work)
        self._waiting.clear()
        self._queue.clear()
        self._alone.clear()
        for task, log in (*running, *waiting):
            what = "ended" if log else "not started"
            self.done += 1
            result = DatumResult(0, "failed", 1, f"{what}: the job reached its time limit (job_timeout)")
            yield Attempt(task.datum.name, task.id, result, 0, "", log)

    def stop(self) -> None:
        """Start nothing more; what runs continues to its end."""
        self._queue.clear()
        self._alone.clear()
        for dropped in self.engine.discard(self._waiting.keys()):
            flight = self._waiting.pop(dropped, None)
            if flight is not None:
                self._note_end(flight.work)

    def _fill(self, total: int) -> None:
        """Keep the executor busy, with little queued ahead: later sets are cut with what earlier ones taught.

        An executor whose sets outlive us gets all, once it is known how long they take, or if it can't wait for that;
        and what is forced, since a later pass doesn't know that it is.
        """
        known = self.sizer.pace.work is not None or not self._by_size
        ahead = self.sizer.pace.sure or not self._by_size or self.lasting
        free = self._free
        most = (2 if ahead else 1) * (self.sizer.slots if known else free)
        if self.lasting and (known or self.engine.at_once or self.forced):
            most = sys.maxsize
        sets = []
        while (self._queue or self._alone) and len(self._waiting) < most:
            if self._alone:
                task, tries, raised = self._alone.popleft()
                sets.append(self._cut([task], tries, raised))
            elif self.engine.at_once and self._by_size:
                count = self.sizer.chunk(total)
                members = [self._queue.popleft() for _ in range(min(count, len(self._queue)))]
                sets.append(self._cut(members, None, chunk=True))
            else:
                at_work = None if self.lasting else self._at_work
                count = self.sizer.take(self._queue, total, free, others=self._others, at_work=at_work)
                trial = TRIAL if self.sizer.is_trial and count > 1 else None
                sets.append(self._cut([self._queue.popleft() for _ in range(count)], None, trial=trial))
        if sets:
            self.engine.submit(sets)

    @property
    def _free(self) -> int:
        """The slots that other pipelines leave to this one: sets for more than those would not begin sooner."""
        if self.lasting:
            return self.sizer.slots
        return free_slots(self.sizer.slots, self.engine.slots, self.engine.running - len(self._waiting))

    @property
    def _at_work(self) -> int:
        """The datums of submitted sets that are not done yet, by the time that has passed since."""
        pace, now = max(self.sizer.pace.work or 0.0, 0.001), time.monotonic()
        return sum(max(0, math.ceil(len(f.left) - (now - f.since) / pace)) for f in self._waiting.values())

    def _cut(
        self,
        members: Sequence[Task],
        tries: int | None,
        raised: int = 0,
        *,
        chunk: bool = False,
        trial: float | None = None,
    ) -> WorkSet:
        forced = members[0].datum.name in self.forced
        log = self.logs / f"{self._sets:06d}-{_slug(members[0].datum.name)}.log"
        self._sets += 1
        work = replace(
            make_set(self.assessment, self.base, members, self.job, str(log), forced=forced), tries=self._most
        )
        if tries is not None:
            work = replace(work, tries=tries, tried=work.tries - tries)
            work = work.with_memory(raised) if raised else work
        elif chunk and len(members) > 1:
            work = replace(work, chunk=True)
        elif len(members) > 1:
            work = replace(work, tries=1, trial=trial)  # those that fail are tried again by themselves
        # the worker of a chunk says what it cuts
        names = [t.datum.name for t in members]
        most = self._most
        note_set(self.logs, log.name, [] if work.chunk else names, ident=work.id, holds=names, tries=most)
        self._waiting[work.id] = _Flight(work, tuple(members), set(range(len(members))))
        return work

    def _ends(self, flight: _Flight, outcome: Outcome) -> Iterator[tuple[int, Attempt | None]]:
        """Yield the datums that are done with, by their index; the others go back to be tried by themselves."""
        results = outcome.results(len(flight.members))
        if outcome.kind == "ok":
            self.sizer.pace.learn(outcome.seconds, len(results), outcome.own_seconds)
        again = tried_again(results, self._most, None if flight.work.chunk else len(flight.members))
        if len(results) == 1 or outcome.kind != "lost":
            self._streak.note(outcome)
        for one in results:
            task = flight.members[one.index]
            if task is None:
                yield one.index, None
            elif flight.work.trial is not None and one.beside is not None:
                # another's output was in the way: whether that matters is for publishing to say, which names both
                self._alone.append((task, self._most, flight.work.raised))
                yield one.index, None
            elif left := self._raised_tries(flight, one, outcome):
                for before in _tries_before(one, outcome):
                    self._record(task, before, False)
                self._record(task, _as_try(one, outcome), True)
                self._alone.append((task, left, flight.work.raised + 1))
                yield one.index, None
            elif one.index in again:
                for before in (*_tries_before(one, outcome), _as_try(one, outcome)):
                    self._record(task, before, False)
                self._try_alone(flight, task, again[one.index], outcome)
                yield one.index, None
            else:
                yield one.index, self._end(flight, task, one, outcome, len(results))

    def _put_back(self, flight: _Flight, outcome: Outcome) -> Iterator[tuple[int, None]]:
        """Yield the datums that a set did not begin (see WorkSet.trial): they are in the queue again."""
        if flight.work.trial is None:
            return
        begun = {one.index for one in outcome.results(len(flight.members))}
        for index in sorted(set(range(len(flight.members))) - begun, reverse=True):
            task = flight.members[index]
            if task is not None:
                self._queue.appendleft(task)
            yield index, None

    def _raised_tries(self, flight: _Flight, one: DatumResult, outcome: Outcome) -> int:
        """Return how many tries with more memory are left for a datum; 0: none, or no machine has so much."""
        if not one.wants_memory:
            return 0
        work = flight.work
        left = self._most - work.tried - (outcome.tries if one.state == "failed" else 0)
        more = replace(work.needs, memory=round(work.needs.memory * work.more_memory))
        return left if left > 0 and self.engine.can_have(more) else 0

    def _can_raise(self, task: Task, before: Raised) -> bool:
        """Return whether the spec still gives more memory to a datum that had too little, and a machine has it."""
        work = make_set(self.assessment, self.base, [task], self.job, "")
        return work.more_memory > 1 and self.engine.can_have(work.with_memory(before.raised).needs)

    def _end(self, flight: _Flight, task: Task, one: DatumResult, outcome: Outcome, count: int) -> Attempt:
        """Return what became of a datum for good. count: the datums that the outcome is of."""
        message = one.message
        if one.state in ("failed", "stopped") and self._absent:
            message = f"{message}; {self._absent} is not in the pipeline's repo"
        alone = count == 1 and flight.work.trial is None
        tries = outcome.tries + (self._most - flight.work.tries if alone and one.state != "lost" else 0)
        took = one.took or Took(0.0, 0.0, outcome.seconds / count, outcome.cpu / count, outcome.memory)
        return Attempt(
            task.datum.name,
            task.id,
            replace(one, message=message, took=took),
            tries,
            outcome.host,
            _log_of(one, outcome),
            outcome.started or None,
            outcome.ended,
            before=_tries_before(one, outcome),
            outside=self._outside(flight, task, one),
        )

    def _outside(self, flight: _Flight, task: Task, one: DatumResult) -> str:
        """Return what a failure had to do with what is outside of the datum's identity."""
        if one.state != "failed":
            return ""
        others = flight.work.datums
        if one.beside is not None and 0 <= one.beside < len(others):
            other = others[one.beside]
            return beside(str(other["id"]), str(other["name"]), task.datum.name, self.assessment.pipeline.out)
        return at_limits(one.limit, one.exit, limits_of_set(flight.work), seen_by(flight.work.head))

    def _try_alone(self, flight: _Flight, task: Task, tries: int, outcome: Outcome) -> None:
        if flight.work.chunk:  # its worker tries by itself, and reports it once more
            return
        self._alone.append((task, tries, flight.work.raised))
        if outcome.kind == "lost":
            self._lost[task.datum.name] = _lost_end(task, outcome)

    def _size(self, task: Task) -> int:
        """Return the bytes of a datum's inputs, as far as annex keys have a size."""
        total = 0
        for match in task.datum.matches:
            for _, entry in self.assessment.snapshots[match.repo, match.branch].below(match.path):
                total += size_of(entry.key) or 0 if entry.key else 0
        return total


def _lost_end(task: Task, outcome: Outcome) -> Attempt:
    result = DatumResult(0, "lost", 1, outcome.message)
    return Attempt(task.datum.name, task.id, result, outcome.tries, outcome.host, outcome.log)


def _log_of(one: DatumResult, outcome: Outcome) -> str:
    """Return the log of a datum alone, where the set's was cut."""
    return outcome.log if one.part is None or outcome.kind == "lost" else part_of(outcome.log, one.part)


def _tries_before(one: DatumResult, outcome: Outcome) -> tuple[Try, ...]:
    """Return the tries of a datum's set before the last one, with the logs of this datum alone, where they were cut."""
    if one.part is None:
        return outcome.before
    part = one.part
    return tuple(
        replace(before, log=part_of(before.log, part))
        if before.log and (before.log != outcome.log or outcome.kind != "lost")
        else before
        for before in outcome.before
    )


def _as_try(one: DatumResult, outcome: Outcome) -> Try:
    """Return what a set came to, as a try of one of its datums that is tried again by itself."""
    kind = "lost" if one.state in ("lost", "stopped") else "failed"
    message = "its set was stopped: another datum reached its time limit" if one.state == "stopped" else one.message
    took = one.took or Took(outcome.started, outcome.ended, outcome.seconds, outcome.cpu, outcome.memory)
    return Try.of(took, kind, one.exit, message, outcome.host, _log_of(one, outcome))


def _slug(name: str) -> str:
    """Return a datum's name as part of a log's file name."""
    return re.sub(r"[^0-9A-Za-z._-]+", "_", name)[:60].strip(".") or "datum"
