"""One pipeline's part of a pass: rounds of plan and run until only copies are left, then publish.

The pass over all pipelines is in `dag_loop`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Iterator, Sequence, Set
from typing import Protocol, TypeAlias, TypeVar

from minipach.datums.identity import IdentityRecipe
from minipach.executors.base import Executor
from minipach.executors.registry import Backend, withdraw_others
from minipach.git.repo import need_identity
from minipach.model.failures import LEFT_AFTER, Beginning, named
from minipach.model.job_entries import Attempt, Repeated
from minipach.model.states import SUCCEEDED
from minipach.model.work_set import Base, Needs, Outcome, WorkSet
from minipach.planning.assessment import Assessment
from minipach.planning.outside_now import outside_now
from minipach.planning.plan import (
    Plan,
    PlannedDatum,
    force_datums,
    publish_forced,
    remove_recovered,
    skip_repeated_failures,
)
from minipach.planning.project_plan import drift_remarks
from minipach.project import output_branch
from minipach.project.branch_check import need_branch
from minipach.project.project import Project
from minipach.project.spec_of_now import is_spec_of_now
from minipach.project.targets import Targets
from minipach.publish.fold_results import PlacesAhead, fold_results
from minipach.publish.publisher import publish_results
from minipach.records.branch_history import last_publish
from minipach.records.job_database import Ledger
from minipach.scheduling.base_commit import build_base
from minipach.scheduling.dispatch import Round
from minipach.scheduling.events import DatumFailed, PipelineStarted, Progress, Reporter
from minipach.scheduling.schedule_report import Options, PipelineReport
from minipach.support.background import BackgroundCall
from minipach.support.errors import Problem, UserError
from minipach.support.text import NAMED, many


class Scheduling(Protocol):
    """The part of a schedule that its passes need."""

    project: Project
    ledger: Ledger
    reporter: Reporter
    backend: Backend
    ready: int  # pipelines that could begin, and wait for slots

    @property
    def lasting(self) -> bool:
        """Whether sets outlive the schedule."""
        ...

    @property
    def give_up_after(self) -> int:
        """The number of datums that, failing in the same way at the beginning of a job, end it."""
        ...

    def note_due(self, path: str, at: float | None) -> None:
        """Note when a pipeline's job has had its time (None: it has no limit, or is done)."""
        ...

    def say(self, message: str) -> None:
        """Report a line for people."""
        ...

    def engine(self) -> Executor:
        """Return the executor, made when the first set is to run."""
        ...


T = TypeVar("T")
Waiting: TypeAlias = Generator[Round, list[Outcome], T]
"""A part of a pass. It yields the round whose outcomes it waits for, and is sent those that have come, or none."""


class PipelinePass:
    """One pipeline's pass: rounds of plan and run until only copies are left, then publish.

    While its sets run, other pipelines' passes continue (see `dag_loop`).
    """

    def __init__(self, scheduler: Scheduling, assessment: Assessment, targets: Targets, options: Options) -> None:
        self.scheduler = scheduler
        self.assessment = assessment
        self.name = assessment.pipeline.name
        self.targets = targets
        self.options = options
        self.ran: set[str] = set()
        self.forced: set[str] = set()
        self.recorded: set[tuple[str, str]] = set()  # (datum, log) of this job's attempts in the job database
        self.asked: set[str] | None = None  # None: every datum
        self.stopped = False
        self.gave_up = False
        self.beginning = Beginning(0 if options.keep_going else scheduler.give_up_after)
        self.repeated: dict[str, Repeated] = {}  # the datum ids that failed in several jobs with this very content
        self.overdue = False
        self.failed: dict[str, Attempt] = {}
        self.recovered: dict[str, Attempt] = {}
        self.empty: dict[str, str] = {}  # datums whose outputs have no bytes, with their ids
        self.flights: list[WorkSet] = []  # of earlier passes
        self.in_flight = 0
        self.deadline: float | None = None
        self.recipe: IdentityRecipe | None = None  # that was planned with
        self.places = PlacesAhead(assessment.repo.path)

    def run(self, plan: Plan) -> Waiting[PipelineReport]:
        """Run the pass: submit, collect and publish what the quick plan lists; return the report."""
        a = self.assessment
        if a.branch and a.head:
            output_branch.begin(a.repo, a.branch, a.head)
        report = PipelineReport(self.name, "current", commit=a.head or "")
        report.counts["current"] = plan.counts["current"]
        forced = self.options.force and self.assessment.path in self.targets.named
        if self.targets.limits(a.path):  # even if nothing is to be done: a mistyped name must not pass
            names = [s.name for s in plan.steps if s.action != "remove"]
            self.asked = self.targets.names(a.path, names, a.pipeline.exclude)
        before = self._adopt_flights(plan)
        if plan.is_current and not (forced or self.flights or before):
            return self._current(report)
        if not (self.options.retry_failed or forced or self.asked is not None):
            self.repeated = self.scheduler.ledger.repeated_failures(self.name, LEFT_AFTER)
        plan = self._skip(plan)
        self._prepare(plan, all_of_it=not (self.flights or forced or self.asked is not None))
        if plan.counts["run"]:
            self.scheduler.engine().expect(min(plan.counts["run"], a.pipeline.parallelism or plan.counts["run"]))
            for line in drift_remarks(a):  # what runs now runs in what is, and is recorded as what was
                self.scheduler.say(line)
        base = build_base(a)
        a.refresh()  # an image that was recorded just now has a place and a content id
        plan = a.plan()
        self.recipe = a.recipe
        restarted: set[str] = set()
        if forced:
            restarted = self.asked if self.asked is not None else {t.datum.name for t in a.tasks}
        report.job = _job_id(a, base)
        key = self._begin(report.job, before, restarted)
        try:
            plan = publish_forced(force_datums(plan, self.forced - self.ran), self.forced & self._succeeded, a.known)
            plan = self._skip(plan)
            self._announce(plan)
            plan = yield from self._rounds(plan, base, report.job, key)
            if self.in_flight:
                report.state = "submitted"
                report.reason = f"{many(self.in_flight, 'set')} in progress"
                report.counts["ran"] = len(self._succeeded)
            else:
                self._notify_of_nothing(report, key)
                self._publish(plan, base, report)
        except BaseException as error:
            report.state = "error" if isinstance(error, Exception) else "interrupted"
            if self.scheduler.lasting and report.state == "interrupted":
                report.state = "submitted"
            raise
        finally:
            self._end(key, report)
        return report

    def _adopt_flights(self, plan: Plan) -> list[Attempt]:
        """Take over the sets of earlier passes that still run, and return the forced runs that have ended in those."""
        if not self.scheduler.lasting:
            return []
        self.flights = self.scheduler.engine().adopt(self.assessment.repo)
        self.forced = {str(d["name"]) for work in self.flights if work.forced for d in work.datums}
        wanted = {(s.id, s.name) for s in plan.steps}
        return [u for u in self.scheduler.ledger.forced_runs(self.name) if (u.datum_id, u.datum) in wanted]

    def _current(self, report: PipelineReport) -> PipelineReport:
        """Return the report where there is nothing to do: with the job that published what is current."""
        a = self.assessment
        self.scheduler.ledger.close_jobs(self.name, "published")
        if a.head:
            known = self.scheduler.ledger.job_of(self.name, a.head)  # what is in git, without a walk to it
            report.job = known or last_publish(a.repo, a.head) or ""
        return report

    def _announce(self, plan: Plan) -> None:
        """Say what the plan is, and how much of it nobody asked for."""
        self.scheduler.reporter.report(PipelineStarted(self.name, plan.counts))
        others = [s for s in plan.of("run") if self.asked is not None and s.name not in self.asked]
        if others:
            left = many(len(others), "datum")
            self.scheduler.say(f"{self.name}: not requested, and still to run: {left}")

    def _prepare(self, plan: Plan, *, all_of_it: bool) -> None:
        """See before hours of work that the results can be published. all_of_it: this pass does what the plan says."""
        repo = self.assessment.repo
        if plan.problems and all_of_it:
            raise UserError(plan.problems)
        problem = self.scheduler.backend.too_much(self.scheduler.project, self.assessment.pipeline)
        if problem is not None and plan.counts["run"]:
            raise UserError(problem)
        if plan.note:
            self.scheduler.say(f"{self.name}: {plan.note}")
        need_identity(repo)
        if not self.assessment.branch:
            need_branch(repo, self.assessment.path)
        if self.assessment.image.is_away:
            what = "building the environment" if self.assessment.image.recipe else "fetching the image"
            self.scheduler.say(f"{self.name}: {what} {self.assessment.image.label}")
        if not self.scheduler.lasting and self.scheduler.ledger.open_jobs(self.name):
            withdraw_others(self.scheduler.backend, repo)  # what another executor would start later is done here
            self.scheduler.say(
                f"{self.name}: was submitted to another executor; its queued sets are withdrawn and run here; "
                "sets that already run there may run twice"
            )

    def _begin(self, job: str, before: Sequence[Attempt], restarted: Set[str]) -> int:
        """Return the job database's key for this pass: that of the job's earlier passes, if sets of it are submitted.

        before: forced runs that ended in earlier passes, for this one to publish · again: what this pass itself is to
        force; of that only the forced runs of the same job count, so that to say it twice runs it once.
        """
        ledger = self.scheduler.ledger
        row = ledger.open_job(job, self.name) if self.scheduler.lasting else None
        started = row.started if row else time.time()
        tasks = {(t.id, t.datum.name) for t in self.assessment.tasks}
        earlier = ledger.attempts(row.key) if row else []
        same_job = set(earlier)
        before = [u for u in before if (u.datum_id, u.datum) in tasks and (u in same_job or u.datum not in restarted)]
        self.forced |= restarted | {u.datum for u in before}
        self.recorded = {(u.datum, u.log) for u in earlier}
        for attempt in (*before, *earlier):
            too_early = attempt.kind == "ok" and not attempt.forced and attempt.datum in self.forced
            if (attempt.datum_id, attempt.datum) in tasks and not too_early:
                self._note(attempt)
        if row and self.repeated:  # earlier passes of this very job are no jobs of their own
            self.repeated = ledger.repeated_failures(self.name, LEFT_AFTER, but=row.key)
        ledger.close_jobs(self.name, "superseded", but=row.key if row else -1)
        limit = self.assessment.pipeline.job_timeout
        if limit is not None:
            self.deadline = time.monotonic() + limit - (time.time() - started)
        if self.scheduler.lasting:  # now: workers may want to know it, and we may be killed
            self.scheduler.note_due(self.assessment.path, started + limit if limit is not None else None)
        return row.key if row else ledger.start_job(job, self.name, self.options.cause)

    def _end(self, key: int, report: PipelineReport) -> None:
        if report.state == "submitted":
            self.scheduler.ledger.leave_job(key)
            self.scheduler.engine().leave(self.assessment.repo)
        else:
            self.scheduler.ledger.end_job(key, report.state, report.counts, report.commit)
            if self.scheduler.lasting:
                self.scheduler.note_due(self.assessment.path, None)

    def _note(self, end: Attempt) -> None:
        name = end.datum
        self.beginning.note(end)
        self.ran.add(name)
        self.failed.pop(name, None)
        self.recovered.pop(name, None)
        self.empty.pop(name, None)
        if end.kind == "ok" and end.result.bytes_out == 0:
            self.empty[name] = end.datum_id
        if end.kind == "recovered":
            self.recovered[name] = end
        elif end.kind != "ok":
            self.failed[name] = end

    def _rounds(self, plan: Plan, base: Base, job: str, key: int) -> Waiting[Plan]:
        """Run until nothing is left to run: a copy whose original failed runs in a second round."""
        a = self.assessment
        while True:
            todo = [
                s
                for s in plan.of("run")
                if s.name not in self.failed
                and s.name not in self.recovered
                and (self.asked is None or s.name in self.asked)
                and not self.gave_up
            ]
            again = [s.name for s in todo if s.name in self.ran]
            if again and a.recipe != self.recipe:
                raise UserError(_changed(a.path, "code or image"))
            if again:
                raise UserError(
                    Problem(
                        "result.not-found", a.path, f"the result of {again[0]!r} was stored, but can't be found again"
                    )
                )
            if not (todo or self.flights) or self.stopped or self.in_flight:
                return plan
            self.scheduler.ledger.note_asked(key, len(self.ran | {s.name for s in todo} | self._flying(plan)))
            ended: list[WorkSet] = []
            try:
                # publishing needs them: they are read while others compute
                ahead = BackgroundCall(lambda: (a.reserved, a.outputs)) if self._stays else None
                yield from self._run(todo, base, job, key, ended)
                if ahead is not None:
                    ahead.result()
                self.places.end()
            finally:
                fold_results(a.repo)
            if ended:
                self.scheduler.engine().settle(ended)
            self.flights = []
            a.refresh()
            plan = self._skip(publish_forced(a.plan(), self.forced & self._succeeded, a.known))

    def _skip(self, plan: Plan) -> Plan:
        """Return the plan less what failed again and again."""
        a = self.assessment
        return skip_repeated_failures(plan, self.repeated, lambda: outside_now(a.project, a.pipeline))

    def _flying(self, plan: Plan) -> set[str]:
        """Return the datums of earlier passes' sets; of those that have ended, the plan has a result already."""
        wanted = {(s.id, s.name) for s in plan.steps}
        return {str(d["name"]) for work in self.flights for d in work.datums if (d["id"], d["name"]) in wanted}

    @property
    def _stays(self) -> bool:
        """Whether this pass waits for what it submits."""
        return self.options.follow or not self.scheduler.lasting

    @property
    def _succeeded(self) -> set[str]:
        return self.ran - self.failed.keys() - self.recovered.keys()

    def _run(self, todo: Sequence[PlannedDatum], base: Base, job: str, key: int, ended: list[WorkSet]) -> Waiting[None]:
        """Run these datums, in sets whose size follows from what the first ones took.

        ended: gets the sets that are done with.
        """
        tasks = [s.task for s in todo if s.task is not None]
        logs = self.scheduler.project.local.logs / self.name / str(key)
        ledger = self.scheduler.ledger
        round_ = Round(
            self.assessment,
            base,
            job,
            logs,
            self.scheduler.engine(),
            frozenset(self.forced),
            self.scheduler.lasting,
            lambda task, one, wants: ledger.add_try(key, self.name, task.datum.name, one, wants_memory=wants),
            ready=self.scheduler.ready,
            raised=ledger.raised(key, job, self.name),
        )
        round_.learn_from(ledger.durations(self.name))
        self._take_back()
        round_.adopt(self.flights, self.assessment.tasks)
        ended += [work for work in self.flights if not round_.waits_for(work.id)]  # of datums that are no more
        failed = {t.datum.name for t in tasks} & self.failed.keys()
        round_.begin(tasks, self.deadline)
        while round_.go_on():
            outcomes = yield round_
            ends = round_.take(outcomes)
            if ends:
                if self.scheduler.lasting:  # its workers may send contents to a store
                    self.places.look()
                self._take(ends, round_, key, failed)
                self.scheduler.reporter.report(Progress(self.name, round_.done, len(failed), len(tasks)))
            if not (self._stays or outcomes):
                break
        ended += round_.ended
        self.in_flight = round_.in_flight
        if round_.overdue:
            self.stopped = self.overdue = True

    def _take(self, ends: Sequence[Attempt], round_: Round, key: int, failed: set[str]) -> None:
        """Record and report what became of datums. failed: gets the names of those that failed in this round."""
        with self.scheduler.ledger.together():
            for end in ends:
                self._note(end)
                self._record(key, end)
                (failed.add if end.datum in self.failed else failed.discard)(end.datum)
        for end in ends:
            if end.kind not in SUCCEEDED:
                self.scheduler.reporter.report(DatumFailed(self.name, end))
                if self.options.fail_fast:
                    self.stopped = True
                    round_.stop()
        if self.beginning.is_hopeless and not self.gave_up:
            self.gave_up = True
            round_.stop()

    def _take_back(self) -> None:
        """Take back what waits for what the spec asks of a machine no more: it might wait for ever."""
        engine, needs = self.scheduler.engine(), Needs.of(self.assessment.pipeline)
        others = {work.id: work for work in self.flights if work.needs != needs}
        dropped = engine.discard(others) if others else set()
        if dropped:  # now: what is cut again of the same datums has the same id
            engine.settle([others[i] for i in sorted(dropped)])
            self.flights = [work for work in self.flights if work.id not in dropped]
            count = many(len(dropped), "set")
            self.scheduler.say(f"{self.name}: its resources have changed; queued again: {count}")

    def _record(self, key: int, end: Attempt) -> None:
        """Note an attempt, once: a set that was not settled when a pass ended is reported by the next one too."""
        name = end.datum
        if end.log and (name, end.log) in self.recorded:
            return
        self.recorded.add((name, end.log))
        self.scheduler.ledger.add_attempt(key, self.name, end, forced=name in self.forced)

    def _publish(self, plan: Plan, base: Base, report: PipelineReport) -> None:
        a = self.assessment
        counts = plan.counts
        ran = self._succeeded
        report.counts.update(
            ran=len(ran),
            reused=sum(s.name not in ran for s in plan.of("reuse") if s.source is not None),
            current=counts["current"],
            removed=counts["remove"],
            recovered=len(self.recovered),
            failed=len(self.failed),
        )
        skipped = plan.of("skip")
        report.failed = [{"name": n, "message": o.message, "log": o.log} for n, o in sorted(self.failed.items())]
        report.failed += [{"name": s.name, "message": s.reason, "log": ""} for s in skipped]
        done = {end.datum_id for end in self.recovered.values()}
        lacking = [s for s in plan.steps if s.action in ("run", "reuse") and s.source is None and s.id not in done]
        report.missing = len(lacking) + len(skipped)
        self._notify_of_the_same(lacking)
        over = "; the job reached its time limit (job_timeout)" if self.overdue else ""
        failed = f"{len(self.failed)} of {many(len(plan.steps) - counts['remove'], 'datum')} failed"
        report.reason = "; ".join(self._left_out(plan))
        if report.failed and a.pipeline.publish == "complete":
            report.state = "failed"
            left = f"; {report.reason}" if report.reason else ""
            report.reason = f"{failed}{over}{left}; the branch does not change"
            report.counts["reused"] = report.counts["removed"] = 0
            return
        missing = [s for s in plan.of("run") if s.name not in self.failed and s.name not in self.recovered]
        if missing and a.pipeline.publish == "complete":
            report.state = "partial"
            report.reason = f"not requested: {many(len(missing), 'datum')}; nothing is published until all have results"
            report.counts["reused"] = report.counts["removed"] = 0
            return
        plan = remove_recovered(plan, {end.datum_id for end in self.recovered.values()}, a.state)
        changes = [s for s in plan.steps if s.action == "remove" or (s.action == "reuse" and s.source)]
        if changes:
            if not is_spec_of_now(a.project, a.path, a.repo):
                raise UserError(_changed(a.path, "spec"))
            if base.head != a.source:  # somebody has committed meanwhile: what they changed stays as it is
                base = build_base(a)
            report.commit = publish_results(a, base, plan, report.job)
            a.refresh()
        report.state = "published"

    def _left_out(self, plan: Plan) -> Iterator[str]:
        """Yield what was not run though it is missing, and what would run it."""
        if self.gave_up and (left := sum(s.name not in self.ran for s in plan.of("run"))):
            yield (
                f"the first {len(self.failed)} all failed in the same way, so the job stopped with {left} not run "
                f"(minipach schedule {self.name} --keep-going)"
            )
        if skipped := plan.counts["skip"]:
            yield f"{skipped} failed in earlier jobs and not run again (minipach retry {self.name})"

    def _notify_of_nothing(self, report: PipelineReport, key: int) -> None:
        """Name the datums that ran and wrote no file."""
        known = self.assessment.known
        report.wrote_nothing = [
            name
            for name, ident in self.empty.items()
            if any(r.name == name and not known.files(r) for r in known.of(ident))
        ]
        if report.wrote_nothing:
            self.scheduler.ledger.note_empty(key, report.wrote_nothing)
            count = many(len(report.wrote_nothing), "datum")
            self.scheduler.say(f"{self.name}: {count} wrote nothing: {named(report.wrote_nothing, NAMED)}")

    def _notify_of_the_same(self, lacking: Sequence[PlannedDatum]) -> None:
        """Say what has no result because what has the same content failed, and stood for it."""
        failed = {end.datum_id: name for name, end in self.failed.items()}
        same = [s for s in lacking if s.action == "reuse" and s.id in failed]
        if same:
            more = f" (as {many(len(same) - 1, 'more datum')} with one that failed)" if len(same) > 1 else ""
            self.scheduler.say(
                f"{self.name}: {same[0].name} has no result either: the same content as {failed[same[0].id]}{more}"
            )


def _job_id(assessment: Assessment, base: Base) -> str:
    """Return one pass of one pipeline over one state of its inputs.

    The same state is the same job, wherever it runs.
    """
    parts = [assessment.pipeline.name, base.tree, sorted(t.id for t in assessment.tasks)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _changed(path: str, what: str) -> Problem:
    """Return the problem of a pipeline that is another one than when its datums ran."""
    fix = "run the same command again for the committed version (finished results are kept)"
    return Problem("pipeline.changed-during-run", path, f"its {what} was changed while datums ran", fix)
