"""The loop over the DAG: assess, run what is missing, fold, publish, go on downstream; then one superdataset commit."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from minipach import leftovers
from minipach.adopt import adopt
from minipach.assess import Assessment, SnapshotStore
from minipach.base import Base, build_base
from minipach.checkout import dirty_paths, recover
from minipach.errors import UserError
from minipach.executors.base import Executor
from minipach.fold import fold
from minipach.git import Repo, need_identity
from minipach.ledger import Ledger
from minipach.plan import Plan, Step, again_published, force, without_output
from minipach.project import Project
from minipach.publish import publish
from minipach.results import own_branch
from minipach.rounds import DatumEnd, Round
from minipach.slots import clean_up
from minipach.superdataset import commit_gitlinks
from minipach.targets import Targets


class Reporter(Protocol):
    """Whoever shows people what goes on."""

    def say(self, message: str) -> None:
        """A line that people should read."""
        ...

    def begin(self, pipeline: str, plan: Plan) -> None:
        """A pipeline starts with this plan."""
        ...

    def progress(self, pipeline: str, done: int, failed: int, total: int) -> None:
        """So many datums of this round are done."""
        ...

    def failure(self, pipeline: str, end: DatumEnd) -> None:
        """A datum failed."""
        ...

    def end(self, report: PipelineReport) -> None:
        """A pipeline is done with."""
        ...


@dataclass
class PipelineReport:
    """What a schedule did to one pipeline. state: current, published, partial, failed, blocked, error."""

    name: str
    state: str
    job: str = ""
    commit: str = ""
    counts: dict[str, int] = field(
        default_factory=lambda: {"ran": 0, "reused": 0, "current": 0, "removed": 0, "recovered": 0, "failed": 0}
    )
    failed: list[dict[str, str]] = field(default_factory=list)
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """As documented for `minipach schedule --json`."""
        data: dict[str, Any] = {
            "name": self.name,
            "job": self.job,
            "commit": self.commit,
            "counts": self.counts,
            "failed": self.failed,
            "state": self.state,
        }
        if self.reason:
            data["reason"] = self.reason
        return data


@dataclass(frozen=True)
class ScheduleReport:
    """What a schedule did. problems: the user's to mend (exit code 2)."""

    pipelines: tuple[PipelineReport, ...]
    problems: tuple[str, ...]
    commit: str | None

    @property
    def ok(self) -> bool:
        """Whether everything asked for is done."""
        return not self.problems and all(
            p.state in ("current", "published", "partial") and not p.failed for p in self.pipelines
        )

    def as_json(self) -> dict[str, Any]:
        """As documented for `minipach schedule --json`."""
        return {
            "schema": 1,
            "ok": self.ok,
            "pipelines": [p.as_json() for p in self.pipelines],
            "problems": list(self.problems),
            "superdataset": self.commit,
        }


@dataclass(frozen=True, slots=True)
class Options:
    """How to go about it. force: run the datums asked for again · fail_fast: start nothing after a failure."""

    force: bool = False
    fail_fast: bool = False


class Scheduler:
    """One pass over a project. The caller holds the project's lock and closes the executor."""

    def __init__(
        self, project: Project, ledger: Ledger, make_executor: Callable[[], Executor], reporter: Reporter
    ) -> None:
        self.project = project
        self.ledger = ledger
        self.reporter = reporter
        self._make_executor = make_executor
        self.executor: Executor | None = None
        self._warned: set[str] = set()

    def run(self, targets: Targets, options: Options) -> ScheduleReport:
        """Bring the chosen pipelines up to date, one after the other."""
        reports: dict[str, PipelineReport] = {}
        problems: list[str] = []
        commits: dict[str, str] = {}
        self._recover(self.project.repo, "the superdataset")
        leftovers.begin(self.project.repo)
        for path in targets.order:
            name = self.project.name_of(path)
            stuck = [u for u in self.project.upstream(path) if u in reports and reports[u].state in _STOPPED]
            if stuck:
                waits = self.project.name_of(stuck[0])
                report = PipelineReport(name, "blocked", reason=f"waits for {waits}")
            else:
                try:
                    report = self._pipeline(path, commits, targets, options)
                except UserError as error:
                    problems += error.problems
                    report = PipelineReport(name, "error", reason=error.problems[0])
            reports[path] = report
            self.reporter.end(report)
        new = self._commit_project(reports, commits)
        leftovers.end(self.project.repo)
        return ScheduleReport(tuple(reports.values()), tuple(problems), new)

    def _commit_project(self, reports: dict[str, PipelineReport], commits: dict[str, str]) -> str | None:
        done = [r for r in reports.values() if r.state == "published"]
        lines = [f"minipach: {', '.join(r.name for r in done) or 'inputs as used'}", ""]
        for r in done:
            lines.append(f"{r.name}: " + ", ".join(f"{n} {what}" for what, n in r.counts.items() if n))
            if r.failed:
                lines.append(f"{r.name}: {len(r.failed)} missing")
        return commit_gitlinks(self.project, commits, "\n".join(lines).rstrip() + "\n")

    def _pipeline(self, path: str, commits: dict[str, str], targets: Targets, options: Options) -> PipelineReport:
        place = next(p for p in self.project.places if p.path == path)
        if not place.is_dataset or path not in self.project.repos:
            for line in adopt(self.project, place):
                self.reporter.say(line)
        assessment = Assessment(self.project, path, SnapshotStore(self.project))
        try:
            self._tidy(assessment)
            self._warn_of_changes(assessment)
            report = _Pass(self, assessment, targets, options).run()
            leftovers.end(assessment.repo)
            if assessment.head:
                commits[path] = assessment.head
            for (repo, branch), commit in assessment.commits.items():
                if branch is None:
                    commits[repo] = commit
            return report
        except UserError:
            leftovers.clear(assessment.repo)
            raise
        finally:
            assessment.close()

    def _tidy(self, assessment: Assessment) -> None:
        """Finish or clear up what a kill left behind: a half-made checkout, slots, results not folded in yet."""
        self._recover(assessment.repo, assessment.path)
        leftovers.begin(assessment.repo)
        own_branch(assessment.repo)
        folded = fold(assessment.repo)
        if folded:
            self.reporter.say(f"{assessment.pipeline.name}: {folded} results of an interrupted job are kept")

    def _recover(self, repo: Repo, where: str) -> None:
        clean_up(repo)
        leftovers.clear(repo)
        for path in recover(repo):
            self.reporter.say(f"{where}: {path} was changed by somebody and is left as it is")

    def _warn_of_changes(self, assessment: Assessment) -> None:
        """Say what isn't committed, since only what is committed counts."""
        for path in dict.fromkeys([assessment.path, *(r for r, _ in assessment.commits)]):
            if path in self._warned:
                continue
            self._warned.add(path)
            changed = dirty_paths(Repo(self.project.root / path))
            if changed:
                more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
                self.reporter.say(
                    f"{path}: uncommitted changes are left out ({', '.join(changed[:3])}{more}); "
                    f"datalad save -d {self.project.root / path}"
                )

    def engine(self) -> Executor:
        """The executor, made when the first set is to run."""
        if self.executor is None:
            self.executor = self._make_executor()
        return self.executor

    def drop_engine(self) -> None:
        """Give up an executor that was cancelled: the next pipeline gets another."""
        if self.executor is not None:
            self.executor.close()
            self.executor = None


_STOPPED = frozenset({"failed", "blocked", "error", "partial"})


class _Pass:
    """One pipeline's pass: rounds of plan and run until only copies are left, then publish."""

    def __init__(self, scheduler: Scheduler, assessment: Assessment, targets: Targets, options: Options) -> None:
        self.scheduler = scheduler
        self.assessment = assessment
        self.name = assessment.pipeline.name
        self.targets = targets
        self.options = options
        self.ran: set[str] = set()
        self.forced: set[str] = set()
        self.asked: set[str] | None = None  # None: every datum
        self.stopped = False
        self.overdue = False
        self.failed: dict[str, DatumEnd] = {}
        self.recovered: dict[str, DatumEnd] = {}
        limit = assessment.pipeline.job_timeout
        self.deadline = None if limit is None else time.monotonic() + limit

    def run(self) -> PipelineReport:
        """Do what the plan says; what happened."""
        a = self.assessment
        plan = a.quick_plan()
        report = PipelineReport(self.name, "current", commit=a.head or "")
        report.counts["current"] = plan.counts["current"]
        forced = self.options.force and self.assessment.path in self.targets.named
        if self.targets.limits(a.path):  # even if nothing is to be done: a mistyped name must not pass
            self.asked = self.targets.names(a.path, [s.name for s in plan.steps if s.action != "remove"])
        if plan.is_current and not forced:
            return report
        need_identity(a.repo)
        base = build_base(a)
        a.refresh()  # an image that was taken in just now has a place and a content id
        plan = a.plan()
        if forced:
            self.forced = self.asked if self.asked is not None else {t.datum.name for t in a.tasks}
            plan = force(plan, self.forced)
        self.scheduler.reporter.begin(self.name, plan)
        report.job = _job_id(a, base)
        key = self.scheduler.ledger.start_job(report.job, self.name)
        try:
            plan = self._rounds(plan, base, report.job, key)
            self._publish(plan, base, report)
        except BaseException as error:
            report.state = "error" if isinstance(error, Exception) else "interrupted"
            raise
        finally:
            self.scheduler.ledger.end_job(key, report.state, report.counts, report.commit)
        return report

    def _rounds(self, plan: Plan, base: Base, job: str, key: int) -> Plan:
        """Run until nothing is left to run: a copy that turned out not to be provable runs in a second round."""
        a = self.assessment
        while True:
            todo = [
                s
                for s in plan.of("run")
                if s.name not in self.failed
                and s.name not in self.recovered
                and (self.asked is None or s.name in self.asked)
            ]
            again = [s.name for s in todo if s.name in self.ran]
            if again:
                raise UserError(f"{a.path}: the result of {again[0]!r} was stored, but can't be found again")
            if not todo or self.stopped:
                return plan
            try:
                self._run(todo, base, job, key)
            finally:
                fold(a.repo)
            a.refresh()
            plan = again_published(a.plan(), self.forced & self._succeeded, a.known)

    @property
    def _succeeded(self) -> set[str]:
        return self.ran - self.failed.keys() - self.recovered.keys()

    def _run(self, todo: Sequence[Step], base: Base, job: str, key: int) -> None:
        """Run these datums, in sets whose size follows from what the first ones took."""
        tasks = [s.task for s in todo if s.task is not None]
        logs = self.scheduler.project.state_dir / "logs" / self.name / str(key)
        round_ = Round(self.assessment, base, job, logs, self.scheduler.engine(), frozenset(self.forced))
        round_.learn_from(self.scheduler.ledger.durations(self.name))
        for end in round_.run(tasks, self.deadline):
            self.ran.add(end.task.datum.name)
            if end.kind == "recovered":
                self.recovered[end.task.datum.name] = end
            elif end.kind != "ok":
                self.failed[end.task.datum.name] = end
                self.scheduler.reporter.failure(self.name, end)
                if self.options.fail_fast:
                    self.stopped = True
                    round_.stop()
            self.scheduler.ledger.add_attempt(key, self.name, end)
            failed = sum(t.datum.name in self.failed for t in tasks)
            self.scheduler.reporter.progress(self.name, round_.done, failed, len(tasks))
        if round_.overdue:
            self.stopped = self.overdue = True
            self.scheduler.drop_engine()

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
        report.failed = [{"name": n, "log": o.log} for n, o in sorted(self.failed.items())]
        if self.failed and a.pipeline.publish == "complete":
            report.state = "failed"
            over = "; the job's time (job_timeout) was over" if self.overdue else ""
            report.reason = f"{len(self.failed)} of {len(plan.steps)} datums failed{over}; the branch stays as it was"
            report.counts["reused"] = report.counts["removed"] = 0
            return
        missing = [s for s in plan.of("run") if s.name not in self.failed and s.name not in self.recovered]
        if missing and a.pipeline.publish == "complete":
            report.state = "partial"
            report.reason = f"{len(missing)} datums were not asked for; nothing is published until all are there"
            report.counts["reused"] = report.counts["removed"] = 0
            return
        plan = without_output(plan, {end.task.id for end in self.recovered.values()}, a.state)
        changes = [s for s in plan.steps if s.action == "remove" or (s.action == "reuse" and s.source)]
        if changes:
            report.commit = publish(a, base, plan, report.job)
            a.refresh()
        report.state = "published"


def _job_id(assessment: Assessment, base: Base) -> str:
    """One pass of one pipeline over one state of its inputs: the same state is the same job, wherever it runs."""
    parts = [assessment.pipeline.name, base.tree, sorted(t.id for t in assessment.tasks)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
