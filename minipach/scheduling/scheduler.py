"""One pass over a project: its begin, the loop over its pipelines (`dag_loop.py`), one superdataset commit."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

from minipach.executors.base import Executor
from minipach.executors.registry import Backend
from minipach.git import crash_cleanup
from minipach.git.checkout import is_cut_short
from minipach.git.gc_lock import gc_held_off
from minipach.git.maintenance import maintain
from minipach.git.merging import settle
from minipach.git.repo import Repo, is_dataset
from minipach.git.worktrees import clean_up
from minipach.model.messages import SUBJECT
from minipach.model.states import GOING, STOPPED, PipelineState, counted
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.plan import Plan
from minipach.project.adoption import adopt, adopt_all
from minipach.project.discovery import PipelineLocation
from minipach.project.lock import Alone, Claims
from minipach.project.project import Project
from minipach.project.settings import give_up_after
from minipach.project.targets import Targets
from minipach.project.uncommitted import remarks, shared_targets, uncommitted
from minipach.publish.fold_results import fold_results
from minipach.publish.superdataset import commit_gitlinks, holder_heads
from minipach.records import pending_work
from minipach.records.job_database import Ledger
from minipach.records.results_branch import own_branch
from minipach.scheduling.dag_loop import DagLoop
from minipach.scheduling.events import Message, PipelineEnded, Reporter
from minipach.scheduling.pipeline_pass import PipelinePass, Waiting
from minipach.scheduling.schedule_report import Options, PipelineReport, ScheduleReport
from minipach.storage.setup import enable_confirmed
from minipach.storage.store import stores
from minipach.support.background import BackgroundCall
from minipach.support.errors import Problem, UserError
from minipach.support.text import many


class Scheduler:
    """One pass over a project. The caller has registered it, or holds the project's lock; it closes the executor."""

    def __init__(
        self,
        project: Project,
        ledger: Ledger,
        backend: Backend,
        reporter: Reporter,
        *,
        jobs: int | None = None,
        claims: Claims | None = None,
    ) -> None:
        """backend: what makes the executor, when the first set is to run · jobs: as for `Backend.make`.

        claims: the pipelines that this schedule has for itself. None: all.
        """
        self.project = project
        self.backend = backend
        self.ledger = ledger
        self.reporter = reporter
        self._jobs = jobs
        self._claims = claims or Alone()
        self.executor: Executor | None = None
        self.ready = 0
        self._reports: dict[str, PipelineReport] = {}
        self._problems: list[Problem] = []
        self._used = _Used()
        self._order: Sequence[str] = ()
        self._adopted: set[str] = set()  # folders that this schedule has made datasets of
        self._seen: set[str] = set()  # repos where uncommitted changes were looked for

    @property
    def lasting(self) -> bool:
        """Whether sets outlive this schedule; then those of earlier ones are adopted."""
        return self.backend.lasting

    @cached_property
    def give_up_after(self) -> int:
        """The number of datums that, failing in the same way at the beginning of a job, end it."""
        return give_up_after(self.project.repo)

    def note_due(self, path: str, at: float | None) -> None:
        """Note when a pipeline's job has had its time (None: it has no limit, or is done)."""
        if pending_work.is_due(self.project, path, at):
            return
        with self._claims.locked():
            pending_work.note_due(self.project, path, at)

    def say(self, message: str) -> None:
        """Report a line for people."""
        self.reporter.report(Message(message))

    def run(self, targets: Targets, options: Options) -> ScheduleReport:
        """Bring the chosen pipelines up to date, each as soon as what it takes from is."""
        with self._step():
            self._settle_data()
            lines, self._adopted = adopt_all(self.project, self._new(targets))
            for line in lines:
                self.say(line)
            began = holder_heads(self.project)
        self._reports = {}
        self._problems = []
        self._used = _Used()
        self._order = [self.project.name_of(path) for path in targets.order]
        loop = DagLoop(
            self,
            lambda path: self._pipeline(path, targets, options),
            self._note,
            self._claims.take,
            follow=options.follow,
            leave=options.leave,
        )
        for path in loop.run(targets.order, self.project.upstream):
            why = "another schedule works on it, or on what it takes from; the next pass looks again"
            self._note(path, PipelineReport(self.project.name_of(path), "waiting", reason=why))
        reports = {path: self._reports[path] for path in targets.order}
        with self._step():
            postponed = options.postpone is not None and options.postpone()
            with gc_held_off(self.project.repo):
                new = None if postponed else self._commit_project(reports, self._used.commits, began)
        if new:
            maintain(self.project.repo)
        return ScheduleReport(tuple(reports.values()), tuple(self._problems), new)

    def _new(self, targets: Targets) -> list[PipelineLocation]:
        """Return the folders that this pass makes datasets of, as far as all that they take from is there by then."""
        project = self.project
        known = set(project.repos)
        new = [p for p in project.places if p.path in targets.order and not (p.is_dataset and p.path in known)]
        return [p for p in new if not project.trouble([p.path]) and not project.lacks(p.path, but=targets.order)]

    @contextlib.contextmanager
    def _step(self) -> Iterator[None]:
        """Hold the project's lock to write to the superdataset; finish or clear up what a kill left there."""
        repo = self.project.repo
        with self._claims.locked():
            self._recover(repo, "the superdataset")
            crash_cleanup.begin(repo)
            try:
                yield
            except UserError:
                crash_cleanup.clear(repo)
                raise
            crash_cleanup.end(repo)

    def _settle_data(self) -> None:
        """Finish or take back what a killed `sync` or `pull` left by half in datasets that are no pipelines."""
        for path in self.project.repos:
            if path not in self.project.order and is_dataset(self.project.root / path):
                with contextlib.closing(Repo(self.project.root / path)) as repo:
                    for left in settle(repo) if is_cut_short(repo) else ():
                        self.say(f"{path}: {left} was changed by somebody and is left as it is")

    def _note(self, path: str, report: PipelineReport) -> None:
        self._claims.release(path)
        self._reports[path] = report
        self.reporter.report(PipelineEnded(report))

    def _pipeline(self, path: str, targets: Targets, options: Options) -> Waiting[PipelineReport]:
        """Make one pipeline's pass, and return what became of it, whatever that is."""
        name = self.project.name_of(path)
        stopped = [u for u in self.project.upstream(path) if u in self._reports and self._reports[u].state in STOPPED]
        try:
            if stopped:
                states = {self._reports[u].state for u in stopped}
                going = states <= GOING
                why = f"waits for {self.project.name_of(stopped[0])}"
                self._end_overdue(path, name)
                other: PipelineState = "deferred" if states == {"deferred"} else "blocked"
                return PipelineReport(name, "waiting" if going else other, reason=why)
            self._need_inputs(path)
            return (yield from self._pass(path, targets, options))
        except UserError as error:
            # where the executor is at fault, each pipeline meets the same
            self._problems += [p for p in error.problems if p not in self._problems]
            return PipelineReport(name, "error", reason=str(error.problems[0]))

    def _need_inputs(self, path: str) -> None:
        """Raise UserError if a pipeline, or what it takes from, is broken, or if it takes from one that never ran."""
        problems = self.project.trouble([path]) or self.project.lacks(path)
        if problems:
            raise UserError(problems)

    def _end_overdue(self, path: str, name: str) -> None:
        """End what is submitted of a pipeline that waits once more, and whose job has had its time."""
        due = pending_work.due(self.project, path) if self.lasting else None
        if due is None or time.time() < due:
            return
        repo = Repo(self.project.root / path)
        sets = self.engine().adopt(repo)
        self.engine().cancel(repo)
        self.ledger.close_jobs(name, "failed")
        self.note_due(path, None)
        self.say(f"{name}: the job reached its time limit (job_timeout); sets ended: {len(sets)}")

    def _commit_project(
        self, reports: dict[str, PipelineReport], commits: dict[str, str], began: dict[str, str | None]
    ) -> str | None:
        done = [r for r in reports.values() if r.state == "published"]

        def message(moved: Collection[str]) -> str:
            # another pass may have published a pipeline, and have ended before it was recorded
            earlier = [self.project.name_of(path) for path in sorted(moved) if path in self.project.pipelines]
            lines = [f"{SUBJECT}{', '.join([r.name for r in done] or earlier) or 'inputs as used'}", ""]
            for r in done:
                lines.append(f"{r.name}: {counted(r.counts)}")
                if r.missing:
                    lines.append(f"{r.name}: {r.missing} missing")
            return "\n".join(lines).rstrip() + "\n"

        return commit_gitlinks(self.project, commits, message, began)

    def _pass(self, path: str, targets: Targets, options: Options) -> Waiting[PipelineReport]:
        place = next(p for p in self.project.places if p.path == path)
        turn = self._used.next_turn()
        if not place.is_dataset or path not in self.project.repos:
            if path not in self._adopted:
                with self._step():
                    done = adopt(self.project, place)
                for line in done:
                    self.say(line)
            holder = self.project.holder_of(path)
            if holder:  # which has a commit more
                self._used.note(turn, holder, Repo(self.project.root / holder).head() or "")
        assessment = Assessment(self.project, path, SnapshotStore(self.project, release=options.now))
        try:
            self._tidy(assessment)
            name = assessment.pipeline.name
            if assessment.has_nothing:
                crash_cleanup.end(assessment.repo)
                reasons = [f"{deferral.repo}: {deferral.text}" for deferral in assessment.deferred]
                return PipelineReport(name, "deferred", reason="; ".join(reasons) or assessment.no_datums)
            for deferral in assessment.deferred:
                self.say(f"{name}: deferred: {deferral.repo}: {deferral.text}")
            plan = self._plan(assessment)
            if assessment.pipeline.service is not None:
                crash_cleanup.end(assessment.repo)
                self._note_used(turn, assessment)
                return _of_service(plan)
            changes = any(n for action, n in plan.counts.items() if action != "current")
            with gc_held_off(assessment.repo) if changes else contextlib.nullcontext():
                report = yield from PipelinePass(self, assessment, targets, options).run(plan)
            crash_cleanup.end(assessment.repo)
            if changes and report.state == "published":
                maintain(assessment.repo)
            self._note_used(turn, assessment)
            return report
        except UserError:
            crash_cleanup.clear(assessment.repo)
            raise
        finally:
            assessment.close()

    def _note_used(self, turn: int, assessment: Assessment) -> None:
        """Note the commits that a pass has used, for the superdataset."""
        if assessment.source:
            self._used.note(turn, assessment.path, assessment.source)
        for (repo, branch), commit in assessment.commits.items():
            if branch is None and repo not in self.project.holders and (repo, branch) not in assessment.deferrals:
                self._used.note(turn, repo, commit)

    def _tidy(self, assessment: Assessment) -> None:
        """Finish or clear up what a kill left behind: a half-made checkout, slots, results not folded in yet."""
        self._recover(assessment.repo, assessment.path)
        crash_cleanup.begin(assessment.repo)
        own_branch(assessment.repo)
        for store in stores(self.project).values():  # workers may have sent contents there
            try:
                enable_confirmed(self.project, assessment.repo, assessment.path, store, self.say)
            except UserError as error:  # it is missed only by results that are there alone
                self.say(str(error))
        folded = fold_results(assessment.repo)
        if folded and not self.lasting:  # where sets outlive schedules, this is the way of all results
            self.say(f"{assessment.pipeline.name}: kept from an interrupted job: {many(folded, 'result')}")

    def _recover(self, repo: Repo, where: str) -> None:
        clean_up(repo)
        for path in settle(repo):
            self.say(f"{where}: {path} was changed by somebody and is left as it is")

    def _plan(self, assessment: Assessment) -> Plan:
        """Return the plan.
        While it is made, git looks for uncommitted changes, and the first worker starts if one is likely.

        A worker imports datalad, which takes longer than most plans.
        """
        paths = [
            p
            for p in dict.fromkeys(
                [
                    assessment.path,
                    *(r for r, _ in assessment.commits),
                    *shared_targets(self.project, [assessment.path]),
                ]
            )
            if p not in self._seen
        ]
        self._seen.update(paths)
        found = BackgroundCall(lambda: uncommitted(self.project, paths))
        try:
            plan = assessment.quick_plan(news=None if self.lasting else self.engine)
        except UserError:  # an interrupt waits for nothing
            self._warn_of_changes(found)
            raise
        self._warn_of_changes(found)
        return plan

    def _warn_of_changes(self, found: BackgroundCall[dict[str, list[str]]]) -> None:
        for line in remarks(self.project, found.result()):
            self.say(line)

    def engine(self) -> Executor:
        """Return the executor, made when the first set is to run."""
        if self.executor is None:
            self.executor = self.backend.make(self.project, self._jobs)
            self.executor.prefer(self._order)
        return self.executor


def _of_service(plan: Plan) -> PipelineReport:
    """Return the report of a service. Raises UserError if it can't run."""
    if plan.problems:
        raise UserError(plan.problems)
    return PipelineReport(plan.pipeline, "service", reason=plan.note)


class _Used:
    """The commits that the superdataset is to name, by repo: as the latest pass that used a repo has seen it."""

    def __init__(self) -> None:
        self.commits: dict[str, str] = {}
        self._turns: dict[str, int] = {}
        self._turn = 0

    def next_turn(self) -> int:
        """Count a pass that begins; return its number."""
        self._turn += 1
        return self._turn

    def note(self, turn: int, repo: str, commit: str) -> None:
        """Note the commit of a repo that a pass has used; passes end in another order than they begin."""
        if turn >= self._turns.get(repo, 0):
            self._turns[repo] = turn
            self.commits[repo] = commit
