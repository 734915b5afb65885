"""The actions on a project: run, continue, retry, cancel, wait. For the command line, executors, and any program.

No function prints or ends the process. Progress comes as events (see `events`), results as return values, the user's
errors as `UserError`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from minipach.executors.registry import Backend, chosen
from minipach.git.repo import Repo, is_dataset
from minipach.model.job_entries import JobRow
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.failures import failed_last_time
from minipach.project.lock import Alone, Claims, Holder, project_lock, register
from minipach.project.project import Project
from minipach.project.targets import Targets
from minipach.publish.contents import keep_within_limit
from minipach.publish.egress import send_outputs
from minipach.publish.fold_results import fold_results
from minipach.records import pending_work
from minipach.records.job_database import Ledger
from minipach.scheduling.add_ticks import Added, add_held
from minipach.scheduling.control import cancel as end_holders
from minipach.scheduling.control import cancel_sets, close_gone, not_done, wait_until_done, wait_until_free
from minipach.scheduling.events import Message, Reporter, forwarded
from minipach.scheduling.schedule_report import Options, ScheduleReport
from minipach.scheduling.scheduler import Scheduler
from minipach.support.errors import Problem, UserError
from minipach.support.text import byte_count, many

_CAUSE = "cause="  # begins the name of an option that says why a job began
_LATER = 300  # seconds until an executor makes a pass again that another schedule kept from starting


def run(
    project: Project,
    targets: Targets,
    options: Options,
    reporter: Reporter,
    *,
    jobs: int | None = None,
    wait: bool | None = None,
) -> ScheduleReport:
    """Compute what is missing of the targets, publish it, and return what became of each pipeline.

    Args:
        project: The project. Other schedules leave its pipelines alone while this one works on them.
        targets: The pipelines and datums, upstream first.
        options: How to run them; `follow` is set from `wait` and the executor.
        reporter: Receives the events.
        jobs: Datums at once; None: as configured.
        wait: True: wait for sets that outlive this call. None: wait only where they don't. False: as None, and don't
            wait for another schedule's lock either.

    Raises:
        UserError: Something for the user to mend; the lock is held by another schedule and `wait` is False.
        KeyboardInterrupt: Passed on, after the executor has kept what is finished.
    """
    backend = chosen(project)
    options = replace(options, follow=bool(wait) or backend.stays or not backend.lasting)
    if options.fail_fast and not options.follow:
        raise UserError(
            Problem(
                "option.needs-wait",
                "--fail-fast",
                f"what {backend.name} runs continues without this command",
                "add --wait, or omit it",
            )
        )
    _need_datums(project, targets)
    _need_resources(project, backend, targets)
    claimed = _claimed(project, backend, targets, reporter, wait=wait is not False, follows=options.follow)
    with forwarded(reporter), claimed as claims:
        now = int(time.time())
        added = _tick(project, targets, now, reporter, claims)
        earlier = _note_pending(added.project, backend, targets, options, claims)
        report = _pass(added.project, backend, targets, options, reporter, jobs, earlier, claims)
        report = _made_up(added, now, report, backend, targets, options, reporter, jobs, claims)
        report = _sent(added.project, targets, report, reporter)
        _keep_within_limit(project, reporter)
        return report


def _sent(project: Project, targets: Targets, report: ScheduleReport, reporter: Reporter) -> ScheduleReport:
    """Send outputs to the places of `egress`. A failure changes no branch, and the next schedule tries again."""
    problems = send_outputs(project, targets.order, lambda line: reporter.report(Message(line)))
    return replace(report, problems=(*report.problems, *problems)) if problems else report


def _keep_within_limit(project: Project, reporter: Reporter) -> None:
    """Drop contents that `minipach.cache-size` has no space for, unless they are the last copies."""
    number, size = keep_within_limit(project)
    if number:
        reporter.report(Message(f"dropped {many(number, 'content')} ({byte_count(size)}), for minipach.cache-size"))


def resume(project: Project, reporter: Reporter) -> ScheduleReport | None:
    """Continue what earlier schedules have left to be done. None: nothing, or another schedule is at it.

    Executors call it in a process of its own (`minipach go-on`). It is harmless to call it too often. Where another
    schedule holds the lock for longer than the executor lets a pass wait, the executor is asked to make it later.

    Raises:
        UserError: Something for the user to mend.
    """
    backend = chosen(project)
    if backend.patience is not None and not wait_until_free(
        project.local.lock,
        backend.patience,
        lambda line: reporter.report(Message(line)),
        but_schedules=backend.shares_project,
    ):
        backend.come_back(project, _LATER)
        return None
    asked = pending_work.pending(project) or Targets((), {}, frozenset())
    follows = backend.stays or not backend.lasting
    with forwarded(reporter), _claimed(project, backend, asked, reporter, wait=True, follows=follows) as claims:
        targets = pending_work.pending(project)
        if targets is None:
            # what it may still name has been removed from the project
            close_gone(project)
            with claims.locked():
                if pending_work.pending(project) is None:
                    pending_work.keep(project, ())
            return None
        # who stays with a pipeline publishes it: to wait for that would keep the others waiting
        leave = claims.are_followed if backend.lasting else None
        options = _as_begun(Options(follow=follows, leave=leave), pending_work.options(project))
        now = int(time.time())
        added = _tick(project, targets, now, reporter, claims)
        _note_pending(added.project, backend, targets, options, claims)
        report = _pass(added.project, backend, targets, options, reporter, None, None, claims)
        report = _made_up(added, now, report, backend, targets, options, reporter, None, claims)
        report = _sent(added.project, targets, report, reporter)
        _keep_within_limit(project, reporter)
        return report


def retry(
    project: Project,
    paths: Sequence[str],
    reporter: Reporter,
    *,
    jobs: int | None = None,
    wait: bool | None = None,
) -> ScheduleReport | None:
    """Run the datums of these pipelines that failed at their last attempt. None: there are none. As `run` else."""
    project.need(project.downstream(paths))
    targets = failed_last_time(project, paths)
    if targets is None:
        return None
    return run(project, targets, Options(retry_failed=True), reporter, jobs=jobs, wait=wait)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The result of `cancel`: the schedules that ran, whether they are gone, and the jobs of sets."""

    holders: tuple[Holder, ...]
    gone: bool
    jobs: tuple[JobRow, ...] = ()


def cancel(project: Project, timeout: float | None, notify: Callable[[str], None]) -> Cancelled:
    """End the schedules that run, as Ctrl-C would, and the sets that schedules have left to an executor.

    timeout: seconds to wait for them (None: as long as it takes); if they are over, their sets are left alone.
    Raises UserError where one can't be asked: it runs on another machine, or is another user's.
    """
    holders, gone = end_holders(project.local.lock, timeout)
    if not gone:
        return Cancelled(holders, False)
    return Cancelled(holders, True, tuple(cancel_sets(project, notify)))


def wait(
    project: Project, paths: Sequence[str], timeout: float | None, notify: Callable[[str], None]
) -> list[JobRow] | None:
    """Wait until no schedule runs and no set is left to an executor.

    Returns the last jobs, of these pipelines and those upstream, that are incomplete while the pipeline isn't current;
    None if `timeout` seconds were not enough. Raises UserError where work is pending that nothing will continue.
    """
    return not_done(project, paths) if wait_until_done(project, timeout, notify) else None


def _need_resources(project: Project, backend: Backend, targets: Targets) -> None:
    """Raise UserError if a pipeline that has something to run requests what no machine of the executor has."""
    sound = [path for path in targets.order if path in project.pipelines]
    found = ((path, backend.too_much(project, project.pipelines[path])) for path in sound)
    problems = [problem for path, problem in found if problem is not None and _has_to_run(project, path)]
    if problems:
        raise UserError(problems)


def _need_datums(project: Project, targets: Targets) -> None:
    """Raise UserError if a pipeline that is to become a dataset has none of the datums that are asked for."""
    new = {place.path for place in project.places if not place.is_dataset}
    for path in new & set(targets.patterns) & set(project.pipelines):
        if set(project.upstream_of([path])) & set(targets.order) - {path}:
            continue  # its datums may still change
        assessment = Assessment(project, path, SnapshotStore(project))
        try:
            datums = None if assessment.deferred else [datum.name for datum in assessment.datums]
        except UserError:  # its pass reports it
            datums = None
        finally:
            assessment.close()
        if datums is not None:
            targets.names(path, datums, assessment.pipeline.exclude)


def _has_to_run(project: Project, path: str) -> bool:
    """Return whether a pipeline has something to run as things are. One that can't be planned yet has."""
    assessment = Assessment(project, path, SnapshotStore(project))
    try:
        return bool(assessment.quick_plan().counts["run"])
    except UserError:
        return True
    finally:
        assessment.close()


def _note_pending(project: Project, backend: Backend, targets: Targets, options: Options, claims: Claims) -> list[str]:
    """Note what is asked for where sets outlive a schedule; return what was pending before."""
    if not backend.lasting:
        return []
    with claims.locked():
        return pending_work.begin(project, targets, _lasting(options))


def _locked(project: Project, backend: Backend, reporter: Reporter, *, wait: bool) -> AbstractContextManager[None]:
    return project_lock(
        project.local.lock,
        wait=wait,
        notify=lambda line: reporter.report(Message(line)),
        label=backend.pass_label(),
    )


def _claimed(
    project: Project, backend: Backend, targets: Targets, reporter: Reporter, *, wait: bool, follows: bool
) -> AbstractContextManager[Claims]:
    """Return the context of a schedule. follows: whether it stays until all sets have ended."""
    if not backend.shares_project:
        return _alone(project, backend, reporter, wait=wait)
    notify, label = (lambda line: reporter.report(Message(line))), backend.pass_label()
    return register(project.local.lock, targets.order, wait=wait, notify=notify, label=label, follows=follows)


@contextmanager
def _alone(project: Project, backend: Backend, reporter: Reporter, *, wait: bool) -> Iterator[Claims]:
    with _locked(project, backend, reporter, wait=wait):
        yield Alone()


def _pass(
    project: Project,
    backend: Backend,
    targets: Targets,
    options: Options,
    reporter: Reporter,
    jobs: int | None,
    earlier: Sequence[str] | None,
    claims: Claims,
) -> ScheduleReport:
    """Make one pass. earlier: what was pending before somebody asked for this; None: nobody did."""
    close_gone(project)
    ledger = Ledger(project.local.database)
    scheduler = Scheduler(project, ledger, backend, reporter, jobs=jobs, claims=claims)
    is_cut_short = False
    try:
        report = scheduler.run(targets, options)
        if pending_work.exists(project):
            with claims.locked():
                pending_work.end(project, targets, {p.name: p.state for p in report.pipelines}, earlier or ())
        if backend.lasting:
            left = pending_work.paths(project)
            for broken in (p.name for p in report.pipelines if p.state == "error"):
                if project.path_of(broken) not in left:
                    ledger.close_jobs(broken, "error")
        return report
    except BaseException as error:
        if scheduler.executor is not None and not backend.lasting:
            scheduler.executor.cancel()
            is_cut_short = True
        elif backend.lasting and isinstance(error, KeyboardInterrupt):
            if earlier is not None:  # else whoever ends us means to make the pass again
                handed_over = [project.path_of(row.pipeline) for row in ledger.open_jobs()]
                with claims.locked():
                    others = set(pending_work.paths(project)) - set(targets.order)  # of other schedules
                    pending_work.keep(project, {*project.downstream(handed_over), *others})
            reporter.report(Message("submitted sets continue; minipach wait, or minipach cancel"))
        raise
    finally:
        if scheduler.executor is not None:
            scheduler.executor.close()
        ledger.close()
        if is_cut_short:
            _store_finished(project, targets, reporter, claims)


def _store_finished(project: Project, targets: Targets, reporter: Reporter, claims: Claims) -> None:
    """Store what the workers of an interrupted pass have kept, so that `status` counts it."""
    for path in targets.order:
        if claims.has(path) and is_dataset(project.root / path):
            stored = fold_results(Repo(project.root / path))
            if stored:
                reporter.report(Message(f"{project.name_of(path)}: {many(stored, 'result')} kept"))


def _tick(project: Project, targets: Targets, now: int, reporter: Reporter, claims: Claims) -> Added:
    """Add the ticks that are due for whole pipelines."""
    paths = [path for path in targets.order if not targets.limits(path)]
    with claims.locked():
        return add_held(project, now, paths, lambda line: reporter.report(Message(line)))


def _made_up(
    added: Added,
    now: int,
    report: ScheduleReport,
    backend: Backend,
    targets: Targets,
    options: Options,
    reporter: Reporter,
    jobs: int | None,
    claims: Claims,
) -> ScheduleReport:
    """Make more passes as long as results make more ticks eligible. now: the same for all, so that it ends."""
    problems = added.problems
    while added.limited and not (options.fail_fast and any(p.failed for p in report.pipelines)):
        added = _tick(added.project, targets, now, reporter, claims)
        problems += added.problems
        if not added.ticks:
            break
        _note_pending(added.project, backend, targets, options, claims)
        again = replace(options, force=False)
        report = report.then(_pass(added.project, backend, targets, again, reporter, jobs, None, claims))
    return replace(report, problems=tuple(dict.fromkeys((*problems, *report.problems))))


def _as_begun(options: Options, kept: frozenset[str]) -> Options:
    """Return the options of a pass that continues what an earlier schedule left."""
    cause = next((name.removeprefix(_CAUSE) for name in kept if name.startswith(_CAUSE)), "manual")
    return replace(
        options, now="now" in kept, keep_going="keep-going" in kept, retry_failed="retry-failed" in kept, cause=cause
    )


def _lasting(options: Options) -> list[str]:
    """Return the names of the options that also later passes of a job must know."""
    names = ["keep-going"] * options.keep_going + ["now"] * options.now + ["retry-failed"] * options.retry_failed
    return [*names, f"{_CAUSE}{options.cause}"] if options.cause != "manual" else names
