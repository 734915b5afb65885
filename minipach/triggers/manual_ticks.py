"""Ticks by hand: list them, skip them, run one, fill in times that were missed."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minipach.model.clock import tick_name, tick_of
from minipach.model.ticks import Ticks
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.clock_states import ClockView, clock_views, deferrals, tick_states
from minipach.planning.due_ticks import MOST, TickState
from minipach.project.lock import project_lock
from minipach.project.project import Project
from minipach.project.settings import slots
from minipach.project.targets import Targets
from minipach.publish.tick_commits import commit_asked, commit_skip
from minipach.records.tick_repo import skip_reasons
from minipach.scheduling.add_ticks import add_due_ticks
from minipach.scheduling.events import Message, Reporter
from minipach.scheduling.schedule_report import Options, ScheduleReport
from minipach.scheduling.service import run
from minipach.spec.cron_line import BadLineError, parse_line, parse_moment
from minipach.support.errors import Problem, UserError
from minipach.support.text import many, suggest
from minipach.triggers.trigger import TriggerRow

Reprocess = Literal["none", "failed", "all"]


@dataclass(frozen=True, slots=True)
class TickRow:
    """One tick as `minipach cron list` shows it. state: done, pending, failed, left, due, blocked or skipped."""

    pipeline: str
    input: str
    tick: int
    state: str
    cause: str
    reason: str = ""

    def as_json(self) -> dict[str, str]:
        """Return it as documented for `minipach cron list --json`."""
        return {
            "pipeline": self.pipeline,
            "input": self.input,
            "tick": tick_name(self.tick),
            "state": self.state,
            "cause": self.cause,
            "reason": self.reason,
        }


def tick_rows(project: Project, view: ClockView) -> Iterator[TickRow]:
    """Yield all ticks of a clock that are there, due, blocked or skipped, in order."""
    reasons = skip_reasons(project, view.input.repo)
    states = tick_states(project, view.path, view.input, view.ticks) if view.ticks.there else {}
    found: dict[int, tuple[str, str]] = {tick: (states.get(tick, "pending"), "") for tick in view.ticks.there}
    found |= {tick: ("skipped", reasons.get(tick, "")) for tick in view.ticks.skipped - view.ticks.there}
    found |= {tick: ("due", "") for tick in view.change.add}
    found |= {tick: ("blocked", why) for tick, why in view.change.blocked}
    for tick, (state, reason) in sorted(found.items()):
        yield TickRow(view.pipeline, view.input.name, tick, state, view.ticks.cause(tick), reason)


def clock_of(project: Project, name: str, input_name: str | None, now: int) -> ClockView:
    """Return the clock of a pipeline.

    Raises:
        UserError: There is none, or several of which `input_name` names none.
    """
    path = project.path_of(name)
    project.need([path])
    views = clock_views(project, now, [path])
    if not views:
        fix = "add a `cron` input, or `minipach.schedule`"
        raise UserError(Problem("cron.no-clock", project.spec_path(path), "the pipeline has no clock", fix))
    chosen = [view for view in views if input_name in (None, view.input.name)]
    if len(chosen) != 1:
        names = [view.input.name for view in views]
        message = f"no clock is called {input_name!r}" if not chosen else f"several clocks: {', '.join(names)}"
        fix = suggest(input_name or "", names) if not chosen else f"add --input {names[0]}"
        raise UserError(Problem("cron.which-clock", name, message, fix))
    return chosen[0]


def tick_at(view: ClockView, text: str) -> int:
    """Return the tick that a word of the command line names.

    Raises:
        UserError: It is no time.
    """
    try:
        tick = tick_of(text)
        return parse_moment(text, view.clock.zone) if tick is None else tick
    except BadLineError as error:
        raise UserError(Problem("cron.bad-time", text, error.message, error.fix)) from None


def skip_ticks(project: Project, view: ClockView, ticks: Collection[int], reason: str, reporter: Reporter) -> None:
    """Commit that ticks are not to be added, and remove those that are there.

    Raises:
        UserError: No tick is due at one of the times; the repo of ticks can't be changed.
    """
    for tick in ticks:
        if tick not in view.ticks.there and not _is_due(view, tick):
            following = parse_line(view.clock.line, view.clock.zone).following(tick, _origin(view))
            fix = f"name the next one, {tick_name(following)}" if following is not None else ""
            raise UserError(Problem("cron.no-tick", tick_name(tick), "no tick is due at this time", fix))
    project = add_due_ticks(project, 0, [view.path]).project  # makes the repo
    with project_lock(project.local.lock, wait=True, notify=lambda line: reporter.report(Message(line)), without=()):
        commit_skip(project, view.input.repo, ticks, " ".join(reason.split()) or "no reason given")


def run_ticks(
    project: Project,
    view: ClockView,
    ticks: Sequence[int],
    reporter: Reporter,
    *,
    jobs: int | None = None,
    wait: bool | None = None,
) -> ScheduleReport:
    """Add ticks and run the pipeline; what is done already of them runs again.

    Raises:
        UserError: The schedule can't run, as in `service.run`.
    """
    again = [tick for tick in ticks if tick in view.ticks.there]
    fresh = [tick for tick in ticks if tick not in view.ticks.there]
    if fresh:
        project = _add(project, view, fresh, reporter)
    targets = _targets(project, view.path)
    if not again:
        return run(project, targets, Options(), reporter, jobs=jobs, wait=wait)
    names = datums_of(project, view, again)
    forced = Targets(targets.order, {view.path: tuple(names)}, frozenset([view.path])) if names else targets
    return run(project, forced, Options(force=bool(names)), reporter, jobs=jobs, wait=wait)


@dataclass(frozen=True, slots=True)
class Backfill:
    """The work of a backfill. add: ticks that are missing · again: ticks that run again · skipped: left as they are."""

    add: tuple[int, ...]
    again: tuple[int, ...]
    skipped: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as documented for `minipach cron backfill --dry-run --json`."""
        parts = {"add": self.add, "again": self.again, "skipped": self.skipped}
        return {what: [tick_name(tick) for tick in ticks] for what, ticks in parts.items()}


def plan_backfill(
    project: Project, view: ClockView, first: int | None, last: int | None, now: int, reprocess: Reprocess
) -> Backfill:
    """Return which ticks from `first` to `last` a backfill adds and runs again. None: the clock's start; now.

    Raises:
        UserError: The clock keeps only its newest tick; it has no start; too many ticks.
    """
    if view.clock.overwrite:
        fix = "remove `overwrite`, or use minipach cron run"
        raise UserError(Problem("cron.overwrites", view.at, "this clock keeps its newest tick only", fix))
    begin = _origin(view) if first is None else first
    end = min(now, last if last is not None else now, view.clock.end if view.clock.end is not None else now)
    grid = []
    for tick in parse_line(view.clock.line, view.clock.zone).between(begin, end, min(begin, _origin(view))):
        grid.append(tick)
        if len(grid) > MOST:
            raise UserError(
                Problem("cron.too-many-ticks", view.at, f"more than {MOST} ticks in this time", "narrow it by --from")
            )
    missing = [tick for tick in grid if tick not in view.ticks.there | view.ticks.skipped]
    there = [tick for tick in sorted(view.ticks.there) if begin <= tick <= end]
    states: dict[int, TickState] = {}
    if reprocess == "failed":
        states = tick_states(project, view.path, view.input, view.ticks)
    again = [tick for tick in there if reprocess == "all" or states.get(tick) in ("failed", "left")]
    skipped = [tick for tick in grid if tick in view.ticks.skipped - view.ticks.there]
    return Backfill(tuple(missing), tuple(again), tuple(skipped))


def backfill(
    project: Project,
    view: ClockView,
    work: Backfill,
    reporter: Reporter,
    *,
    backwards: bool = False,
    jobs: int | None = None,
    wait: bool | None = None,
) -> ScheduleReport:
    """Add and run what `plan_backfill` says. The clock's limits hold: the ticks come in portions.

    Raises:
        UserError: The schedule can't run, as in `service.run`; `backwards` with `depends_on_past`.
    """
    if backwards and view.clock.depends_on_past:
        message = "--backwards runs each tick before the one that it waits for (depends_on_past)"
        raise UserError(Problem("option.conflict", "--backwards", message, "leave it out"))
    size = 1 if view.clock.depends_on_past else view.clock.max_active_runs
    if not size:
        size = slots(project.repo, jobs) if backwards else MOST
    ticks = list(reversed(work.add)) if backwards else list(work.add)
    portions = [ticks[n : n + size] for n in range(0, len(ticks), size)] or ([[]] if work.again else [])
    wait = True if len(portions) > 1 else wait  # the next portion waits for the results of this one
    report = ScheduleReport((), (), None)
    for portion in portions:
        if portion:
            project = _add(project, view, portion, reporter, backfilled=True)
        targets, options = _targets(project, view.path), Options(cause="backfill")
        if portion is portions[-1] and work.again:  # with the last ones: one job for one state
            names = datums_of(project, view, (*portion, *work.again))
            targets = Targets(targets.order, {view.path: tuple(names)}, frozenset([view.path])) if names else targets
            options = Options(force=bool(names), retry_failed=True, cause="backfill")
        report = report.then(run(project, targets, options, reporter, jobs=jobs, wait=wait))
        if view.clock.depends_on_past and not report.ok:
            return report
    return report


def datums_of(project: Project, view: ClockView, ticks: Collection[int]) -> list[str]:
    """Return the names of the datums that take these ticks."""
    wanted = {f"/{tick_name(tick)}" for tick in ticks}
    assessment = Assessment(project, view.path, SnapshotStore(project))
    try:
        return [
            datum.name
            for datum in assessment.datums
            if any((m.input, m.repo) == (view.input.name, view.input.repo) and m.path in wanted for m in datum.matches)
        ]
    finally:
        assessment.close()


def _add(
    project: Project, view: ClockView, ticks: Collection[int], reporter: Reporter, *, backfilled: bool = False
) -> Project:
    """Add ticks that a person asks for, and return the project as it is then."""
    project = add_due_ticks(project, 0, [view.path]).project  # makes the repo
    with project_lock(project.local.lock, wait=True, notify=lambda line: reporter.report(Message(line)), without=()):
        (there,) = (v.ticks for v in clock_views(project, 0, [view.path]) if v.input == view.input)
        wanted = [tick for tick in ticks if tick not in there.there]
        if wanted:
            due = [tick for tick in wanted if _is_due(view, tick)]
            how = {"backfilled": backfilled, "overwrite": view.clock.overwrite}
            commit_asked(project, view.input.repo, there, wanted, due=due, **how)
            reporter.report(Message(f"{view.pipeline}: {many(len(wanted), 'tick')} added to {view.input.repo}"))
    return project


def _targets(project: Project, path: str) -> Targets:
    return Targets(project.downstream([path]), {}, frozenset([path]))


def _is_due(view: ClockView, tick: int) -> bool:
    line = parse_line(view.clock.line, view.clock.zone)
    return next(line.between(tick, tick, min(tick - 1, _origin(view))), None) is not None


def _origin(view: ClockView) -> int:
    ticks: Ticks = view.ticks
    known = view.clock.start if view.clock.start is not None else ticks.began
    return known if known is not None else 0


def clock_triggers(project: Project) -> Iterator[TriggerRow]:
    """Yield a line of `minipach triggers` for each clock, and for each input that waits for its trigger."""
    now = int(time.time())
    for path, deferral in deferrals(project, now):
        at = deferral.state.following
        following = f"at {tick_name(at)}" if at is not None else "when enough has been committed"
        name = f"{project.name_of(path)}:{deferral.input}"
        yield TriggerRow(
            "branch", name, "deferred", following=following, why=f"{deferral.text}; minipach schedule --now"
        )
    for view in clock_views(project, now):
        problem = view.problem()
        looked = max(view.ticks.there, default=None)
        yield TriggerRow(
            "cron",
            view.pipeline if len(project.pipelines[view.path].clocks()) == 1 else f"{view.pipeline}:{view.input.name}",
            _state_of(view),
            heard=tick_name(looked) if looked is not None else None,
            following=_next_of(view),
            why=str(problem) if problem else view.resume or "; ".join(why for _, why in view.change.blocked[:1]),
        )


def _next_of(view: ClockView) -> str:
    if view.resume:
        return "nothing until it is resumed"
    return f"a tick is due at {view.shown_next}" if view.shown_next else "no more ticks"


def _state_of(view: ClockView) -> str:
    if view.resume:
        return "paused"
    if view.change.add:
        return "due"
    if view.change.blocked or view.problem():
        return "blocked"
    return "waits" if view.shown_next else "over"
