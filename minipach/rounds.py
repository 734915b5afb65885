"""One round of a job: datums cut into sets, run by an executor, and what became of each datum."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from minipach import records
from minipach.assess import Assessment
from minipach.base import Base
from minipach.executors.base import Executor
from minipach.keys import size_of
from minipach.ledger import Duration
from minipach.logs import note_set, part_of
from minipach.records import Task
from minipach.sets import Outcome, WorkSet, make_set
from minipach.sizing import BOOKKEEPING, Sizer
from minipach.spec import SetSpec


@dataclass(frozen=True, slots=True)
class DatumEnd:
    """What became of a datum.

    kind: as in Outcome, or `recovered`: it failed and its `err_cmd` succeeded · seconds, cpu: its share of the set's ·
    memory: the set's peak, in bytes · bytes_in, bytes_out: of its files (None: not known) · log: a file, its own where
    it has one.
    """

    task: Task
    kind: Literal["ok", "failed", "lost", "recovered"]
    exit: int
    message: str
    seconds: float
    cpu: float
    tries: int
    host: str
    log: str
    memory: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None


class Round:
    """Runs datums once through an executor. A datum that fails in a set is tried again by itself."""

    def __init__(
        self, assessment: Assessment, base: Base, job: str, logs: Path, engine: Executor, forced: frozenset[str]
    ) -> None:
        self.assessment = assessment
        self.base = base
        self.job = job
        self.logs = logs
        self.engine = engine
        self.forced = forced
        self.done = 0
        self.overdue = False
        pipeline = assessment.pipeline
        slots = min(engine.slots, pipeline.parallelism or engine.slots)
        sets = pipeline.sets
        if pipeline.datum_timeout is not None and pipeline.transform.err_cmd:
            # a time that is over ends the whole set, and then err_cmd would have no datum to run for
            sets = SetSpec(number=1)
        self.sizer = Sizer(slots, sets, lambda t: records.length(pipeline, t), self._size)
        self._waiting: dict[str, tuple[WorkSet, Sequence[Task]]] = {}
        self._queue: deque[Task] = deque()
        self._alone: deque[tuple[Task, int]] = deque()
        self._sets = 0

    def learn_from(self, durations: Sequence[Duration]) -> None:
        """Begin with what such datums took before."""
        if durations:
            self.sizer.work = max(0.0, sum(d.seconds for d in durations) / len(durations) - BOOKKEEPING)

    def run(self, tasks: Sequence[Task], deadline: float | None = None) -> Iterator[DatumEnd]:
        """Run the datums; each comes back once, as it ends for good.

        deadline: when the job's time is over, on the clock of `time.monotonic`. What isn't done by then has failed, and
        the executor is cancelled: the caller makes a new one.
        """
        limit = self.assessment.pipeline.parallelism
        if limit is not None:
            self.engine.limit(self.assessment.pipeline.name, limit)
        self._queue.extend(tasks)
        total = len(tasks)
        while self._queue or self._alone or self._waiting:
            if deadline is not None and time.monotonic() > deadline:
                self.overdue = True
                self.engine.cancel()
                yield from self._give_up()
                return
            self._fill(total)
            for outcome in self.engine.poll(0.5):
                if outcome.set_id in self._waiting:
                    work, members = self._waiting.pop(outcome.set_id)
                    for end in self._ends(work, members, outcome):
                        self.done += 1
                        yield end

    def _give_up(self) -> Iterator[DatumEnd]:
        running = [(task, work.log) for work, members in self._waiting.values() for task in members]
        waiting = [(task, "") for task in (*self._queue, *(task for task, _ in self._alone))]
        self._waiting.clear()
        self._queue.clear()
        self._alone.clear()
        for task, log in (*running, *waiting):
            what = "ended" if log else "not started"
            self.done += 1
            yield DatumEnd(task, "failed", 1, f"{what}: the job's time (job_timeout) was over", 0.0, 0.0, 0, "", log)

    def stop(self) -> None:
        """Start nothing more; what runs goes on to its end."""
        self._queue.clear()
        self._alone.clear()
        for dropped in self.engine.discard():
            self._waiting.pop(dropped, None)

    def _fill(self, total: int) -> None:
        """Keep the executor busy, with little queued ahead: later sets are cut with what earlier ones taught."""
        ahead = 1 if self.sizer.work is None and not self.assessment.pipeline.sets.number else 2
        while (self._queue or self._alone) and len(self._waiting) < ahead * self.sizer.slots:
            if self._alone:
                task, tries = self._alone.popleft()
                self._submit([task], tries)
            else:
                count = self.sizer.take(self._queue, total)
                self._submit([self._queue.popleft() for _ in range(count)], None)

    def _submit(self, members: Sequence[Task], tries: int | None) -> None:
        forced = members[0].datum.name in self.forced
        log = self.logs / f"{self._sets:06d}-{_slug(members[0].datum.name)}.log"
        self._sets += 1
        work = make_set(self.assessment, self.base, members, self.job, str(log), forced=forced)
        if tries is not None:
            work = replace(work, tries=tries)
        elif len(members) > 1:
            work = replace(work, tries=1)  # those that fail are tried again by themselves
        note_set(self.logs, log.name, [t.datum.name for t in members])
        self._waiting[work.id] = (work, members)
        self.engine.submit([work])

    def _ends(self, work: WorkSet, members: Sequence[Task], outcome: Outcome) -> Iterator[DatumEnd]:
        """The datums that are done with; the others go back to be tried by themselves."""
        count = len(members)
        if outcome.kind == "ok":
            self.sizer.learn(outcome.seconds, count)
        bad = {index: (code, message) for index, code, message in outcome.bad}
        recovered = {index: (code, message) for index, code, message in outcome.recovered}
        most = self.assessment.pipeline.datum_tries
        for index, task in enumerate(members):
            code, message = bad.get(index) or recovered.get(index) or (outcome.exit, outcome.message)
            kind: Literal["ok", "failed", "lost", "recovered"] = outcome.kind
            if index in recovered:  # also in a failed set, and there beside what its time ended
                kind = "recovered"
            elif index in bad:
                kind = "failed"
            # another datum's time was over, which ended the set: that was no try of this one
            spared = outcome.kind == "failed" and bool(bad) and index not in bad
            more = most if spared else most - 1
            if kind == "failed" and count > 1 and more > 0:
                self._alone.append((task, more))
                continue
            log = part_of(outcome.log, index) if count > 1 and outcome.kind != "lost" else outcome.log
            tries = outcome.tries + (self.assessment.pipeline.datum_tries - work.tries if count == 1 else 0)
            came, went = outcome.moved[index] if outcome.moved else (None, None)
            share, cpu = outcome.seconds / count, outcome.cpu / count
            yield DatumEnd(task, kind, code, message, share, cpu, tries, outcome.host, log, outcome.memory, came, went)

    def _size(self, task: Task) -> int:
        """Bytes of a datum's inputs, as far as keys tell them."""
        total = 0
        for match in task.datum.matches:
            for _, entry in self.assessment.snapshots[match.repo, match.branch].below(match.path):
                total += size_of(entry.key) or 0 if entry.key else 0
        return total


def _slug(name: str) -> str:
    """A datum's name as part of a log's file name."""
    return re.sub(r"[^0-9A-Za-z._-]+", "_", name)[:60].strip(".") or "datum"
