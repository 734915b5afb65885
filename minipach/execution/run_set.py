"""A worker: one datum set → `datalad containers-run` in a slot → one result ref. Nothing else is written."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from minipach.execution.checks_beside import ChecksBeside, DamagedInputError
from minipach.execution.chosen_runtime import chosen_runtime, needs_image
from minipach.execution.resource_usage import Meter
from minipach.execution.result_ref import BadOutputError, check_new_names, write_result_ref
from minipach.execution.secrets import SecretError
from minipach.execution.set_try import DataladError, LauncherReport, try_set
from minipach.execution.staging import HopelessError, StagingError, Untouched, Unverified, check_own, stage
from minipach.git.git_error import GitError
from minipach.git.worktrees import Slot, clear_scratch
from minipach.model.failures import FINAL
from minipach.model.job_entries import DatumResult, Took, Try, took
from minipach.model.launch_protocol import NOT_KEPT
from minipach.model.log_marks import mark
from minipach.model.messages import SUBJECT, next_try, once_more
from minipach.model.states import ResultState, SetKind
from minipach.model.work_set import LOST_TRIES, Outcome, WorkSet
from minipach.project.disk_full import DiskFull, explain, places_of_set
from minipach.records.job_logs import rename_log, split_log
from minipach.support.stream_filter import printing_to
from minipach.support.text import byte_count, printable

_Ended = tuple[int, int, str]  # index of a datum, its exit code, why it failed
_PAUSE = 1.0  # seconds before another go, once and twice that


class _Stop:
    """Whether this process shall end, and whether the set that it runs can give what it has finished."""

    asked = False
    can_finish = False


def stop_early() -> bool:
    """Have the set of several datums that runs end with those that are finished. Return False if there is none."""
    _Stop.asked = True
    return _Stop.can_finish


def is_stopping() -> bool:
    """Return whether this process shall end: what a set gives from then on is a part of what it was to give."""
    return _Stop.asked


def run_set(work: WorkSet, slot: Slot, lost: int = 0) -> Outcome:
    """Run one set in a slot and point its result ref at the commit. Failures come back as outcomes.

    lost: how often it was begun before, by a worker that is gone: what the last one printed is kept.
    """
    started = time.time()
    if lost:
        with contextlib.suppress(OSError):
            rename_log(Path(work.log), lost, len(work.parts))
    try:
        with Meter(work, slot.path) as meter:
            outcome = _run_set(work, slot, meter)
    finally:
        _Stop.can_finish = False
    if len(work.parts) > 1 and outcome.kind != "lost":
        with contextlib.suppress(OSError):
            split_log(Path(work.log), len(work.parts))
    moved = dict(enumerate(meter.moved))
    datums = []
    for one in outcome.results(len(work.parts)):
        bytes_in, bytes_out = moved.get(one.index, (None, None))
        datums.append(replace(one, bytes_in=bytes_in, bytes_out=bytes_out))
    return replace(outcome, memory=meter.memory, datums=tuple(datums), started=started, ended=time.time())


def _run_set(work: WorkSet, slot: Slot, meter: Meter) -> Outcome:
    started = time.monotonic()
    try:
        with logging_to(Path(work.log)):
            return _Tries(work, slot, meter).run()
    except OSError as error:  # the log can't be written
        return _outcome(work, "lost", 1, str(error), time.monotonic() - started, 1)


class _Tries:
    """The tries of a set: those of the command are counted apart from those that never were up to it."""

    def __init__(self, work: WorkSet, slot: Slot, meter: Meter) -> None:
        self.work = work
        self.slot = slot
        self.meter = meter
        self.tries = 0
        self.lost = 0
        self.before: list[Try] = []
        self.each: list[Took] = []
        self.began = time.time()
        self.started = time.monotonic()
        self.cpu = _cpu()
        self.begun = len(work.parts)  # datums: the first ones of the set
        self._ready = False
        self._report = LauncherReport()  # of the last try
        self._checks: ChecksBeside | None = None  # None: all contents are verified
        self._verify_first = False
        self._copies: Untouched | None = None  # None: the command can't write to what is staged

    def run(self) -> Outcome:
        """Try until it is done, or as often as may be."""
        work = self.work
        if work.raised:
            _note(work.log, f"after it was out of memory, this try gets {byte_count(work.needs.memory)}")
        while True:
            try:
                outcome = self._once()
                if outcome is not None:
                    return self._complete(outcome)
                # what the datum had in a set with others counts too
                print(next_try(work.tried + self.tries + 1, work.tried + work.tries), flush=True)
            except BadOutputError as error:
                _note(work.log, str(error))
                return self._complete(self._outcome("failed", NOT_KEPT, str(error)))
            except (StagingError, SecretError, GitError, OSError) as error:
                self.lost += 1
                self._ready = False
                self._verify_first = self._verify_first or isinstance(error, DamagedInputError)
                full = self._disk_full(error)
                message = str(full.problem if full else error)
                _note(work.log, f"not the command's fault: {message}")
                self._measure()
                hopeless = isinstance(error, (HopelessError, SecretError)) or (full is not None and not full.passes)
                if self.lost >= LOST_TRIES or hopeless:
                    return self._complete(self._outcome("lost", 1, message))
                self._put_by("lost", 1, message)
                time.sleep(_PAUSE * self.lost)
                _note(work.log, once_more(self.lost + 1, LOST_TRIES))

    def _disk_full(self, error: Exception) -> DiskFull | None:
        """Return the full disk behind an error; None also if the repo itself has gone."""
        try:
            return explain(error, places_of_set(self.work, self.slot))
        except GitError:
            return None

    def _once(self) -> Outcome | None:
        """Return one try; None if the command failed and may try again."""
        work, slot = self.work, self.slot
        self._report = LauncherReport()
        self._begin()
        self._prepare()
        self._begin()  # what it took to get the inputs doesn't count
        _Stop.can_finish = len(work.parts) > 1 and not _Stop.asked
        try:
            tried = try_set(work, slot, self._checks.need_sound if self._checks else lambda: None)
        except DataladError:
            self.tries += 1
            check_new_names(slot)
            self.tries -= 1
            raise
        if tried.failure or (tried.exit != 0 and _Stop.asked):
            _Stop.can_finish = False
            if _Stop.asked:
                return self._outcome("lost", tried.exit, "interrupted")
            raise StagingError(tried.failure)
        changed = self._copies.changed() if self._copies else None
        if changed is not None:
            self._ready = False
            if len(work.parts) > 1:
                self.lost += 1
                message = f"a command changed its copy of {changed}, which others of this set read: each runs alone"
                _note(work.log, message)
                return self._outcome("lost", 1, message)
            _note(work.log, f"the command changed its copy of {changed}; the source is as it was")
        self.tries += 1
        report = self._report = tried.report
        if work.trial is not None:
            self.begun = min(len(report.datums), len(work.parts)) or len(work.parts)
        self._measure(report)
        seconds, cpu = sum(t.seconds for t in self.each), sum(t.cpu for t in self.each)
        if tried.exit != 0:
            recovered = [(i, report.code(i), report.message(i, tried.exit)) for i in sorted(report.recovered)]
            raises = work.more_memory > 1 and report.is_out_of_memory(0)
            hopeless = raises or len(recovered) == len(work.parts) or tried.exit in FINAL
            if self.tries < work.tries and not hopeless:
                self._put_by("failed", tried.exit, tried.message)
                return None
            failed = self._outcome("failed", tried.exit, tried.message)
            bad_ones = report.failed if len(work.parts) > 1 else ()
            rest: ResultState = "stopped" if bad_ones else "failed"
            return replace(failed, datums=self._results(failed, bad_ones, recovered, rest))
        kept = work if self.begun == len(work.parts) else work.first(self.begun)
        bad, recovered = write_result_ref(kept, slot, self.each, tried, self.meter)
        for index, _, message in bad:
            _note(work.log, f"{work.datums[index]['name']}: {message}", index if len(work.parts) > 1 else None)
        if len(bad) == self.begun:
            failed = _outcome(work, "failed", bad[-1][1], bad[-1][2], seconds, self.tries, cpu)
            return replace(failed, datums=self._results(failed, bad, recovered, "failed"))
        found = _outcome(work, "ok", 0, "", seconds, self.tries, cpu)
        return replace(found, datums=self._results(found, bad, recovered, "ok"))

    def _results(
        self, outcome: Outcome, bad: Sequence[_Ended], recovered: Sequence[_Ended], rest: ResultState
    ) -> tuple[DatumResult, ...]:
        """Return what became of each datum that was begun. rest: the state of the others among them."""
        found = {one.index: replace(one, state=rest) for one in outcome.results(len(self.work.parts))[: self.begun]}
        for index, code, message in bad:
            found[index] = replace(found[index], state="failed", exit=code, message=message)
        for index, code, message in recovered:
            found[index] = replace(found[index], state="recovered", exit=code, message=message)
        return tuple(found.values())

    def _prepare(self) -> None:
        if self._checks is not None and not self._ready:
            self._checks.close()
            self._checks = None
        if self._ready:
            clear_scratch(self.slot.path)  # of a launcher that was killed: its command may run on
            return
        self.slot.reset(self.work.base)
        check_own(self.slot.main, self.work.base, self.work.image if needs_image() else "")
        share = chosen_runtime(self.slot.path, self.work.image).read_only
        waiting: list[Unverified] = []
        stage(self.slot.path, self.work.files, share=share, later=None if self._verify_first else waiting)
        self._checks = ChecksBeside(waiting) if waiting else None
        self.meter.count_inputs()
        self._copies = None if share else Untouched.now(self.slot.path, [file.dest for file in self.work.files])
        self._ready = True

    def _begin(self) -> None:
        self.began, self.started, self.cpu, self.each = time.time(), time.monotonic(), _cpu(), []
        self.meter.begin_try()

    def _measure(self, report: LauncherReport | None = None) -> None:
        """Note what this try's datums took, at its end."""
        if not self.each:
            seconds, count = time.monotonic() - self.started, self.begun
            own = [(d.began, d.ended, d.seconds, d.cpu) for d in report.datums.values()] if report else []
            found = took(own, count, self.began, seconds, _cpu() - self.cpu)
            disks = {index: datum.disk for index, datum in report.datums.items()} if report else {}
            self.each = [
                replace(one, memory=self.meter.peak(index), disk=disks.get(index)) for index, one in enumerate(found)
            ]

    def _put_by(self, kind: str, code: int, message: str) -> None:
        """Note this try, after which there is another."""
        # of a set of several, only those that were lost come here: their datums have equal shares
        self.before.append(Try.of(self.each[0], kind, code, message, platform.node(), self.work.log))

    def _complete(self, outcome: Outcome) -> Outcome:
        if self._checks is not None:
            self._checks.close()
        self._measure()
        each = dict(enumerate(self.each))
        datums = tuple(
            replace(one, took=each.get(one.index), wants_memory=self._wants_memory(one), **self._outside(one))
            for one in outcome.results(len(self.work.parts))
        )
        return replace(outcome, before=tuple(self.before), datums=datums)

    def _outside(self, one: DatumResult) -> dict[str, Any]:
        """Return what a failure had to do with what is outside of the datum's identity."""
        found = self._report.datums.get(one.index)
        if one.state != "failed" or found is None or not found.code:
            return {}
        return {"limit": found.hit, "beside": found.beside}

    def _wants_memory(self, one: DatumResult) -> bool:
        raises = self.work.more_memory > 1 and one.state == "failed"
        return raises and self._report.is_out_of_memory(one.index)

    def _outcome(self, kind: SetKind, code: int, message: str) -> Outcome:
        tries = self.lost if kind == "lost" else self.tries
        return _outcome(self.work, kind, code, message, time.monotonic() - self.started, tries, _cpu() - self.cpu)


def _outcome(
    work: WorkSet,
    kind: SetKind,
    code: int,
    message: str,
    seconds: float,
    tries: int,
    cpu: float = 0.0,
) -> Outcome:
    return Outcome(work.id, kind, code, message, seconds, tries, work.log, platform.node(), cpu)


def _cpu() -> float:
    """Return the processor time, in seconds, of all children of this process that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _note(log: str, message: str, index: int | None = None) -> None:
    """Add a line to a log. index: of the datum that it is about, in a set of several; else it is about the set."""
    line = f"{SUBJECT}{printable(message)}\n".encode(errors="surrogateescape")  # a name may hold anything
    with contextlib.suppress(OSError), Path(log).open("ab") as file:
        file.write(line if index is None else mark(index + 1) + line + mark(0))


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Send stdout and stderr of this process, and of all its children, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    try:
        with printing_to(target):
            yield
    finally:
        os.close(target)
