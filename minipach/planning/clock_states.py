"""The clocks of a project as they stand: what is there, what is due, what waits, and what comes next. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from minipach.git.repo import is_dataset
from minipach.model.clock import Clock, tick_name, tick_of
from minipach.model.failures import LEFT_AFTER
from minipach.model.job_entries import Attempt
from minipach.model.pipeline import PfsInput
from minipach.model.states import SUCCEEDED
from minipach.model.ticks import Ticks
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.branch_triggers import Deferral
from minipach.planning.due_ticks import MOST, Due, TickState, due, needs_states
from minipach.planning.outside_now import outside_now
from minipach.planning.plan import PlannedDatum, skip_repeated_failures
from minipach.project.pauses import paused
from minipach.project.project import Project
from minipach.records.job_database import Ledger
from minipach.records.tick_repo import read_ticks
from minipach.spec.cron_line import local_time
from minipach.support.errors import Problem, UserError
from minipach.support.text import many, quoted

_ORDER: tuple[TickState, ...] = ("pending", "failed", "left", "done")  # of several datums, the first counts


@dataclass(frozen=True, slots=True)
class ClockView:
    """One clock of a pipeline.

    path: of the pipeline · at: the place in its spec · change: what is to be done now ·
    resume: the command that ends the pause of the pipeline; "" if it is not paused.
    """

    pipeline: str
    path: str
    at: str
    input: PfsInput
    clock: Clock
    ticks: Ticks
    change: Due
    resume: str = ""

    @property
    def shown_next(self) -> str:
        """The time of the next tick, on the clocks of its timezone; "" if never."""
        if self.change.following is None:
            return ""
        return f"{local_time(self.change.following, self.clock.zone):%Y-%m-%d %H:%M:%S} {self.clock.zone}"

    def as_json(self) -> dict[str, Any]:
        """Return it as documented for `minipach cron list --json` and `minipach triggers --json`."""
        following = self.change.following
        return {
            "pipeline": self.pipeline,
            "input": self.input.name,
            "repo": self.input.repo,
            "cron": self.clock.line,
            "timezone": self.clock.zone,
            "next": tick_name(following) if following is not None else None,
            "due": [tick_name(tick) for tick in self.change.add],
            "blocked": [{"tick": tick_name(tick), "reason": why} for tick, why in self.change.blocked],
            "paused": self.resume or None,
            "causes": dict(Counter(map(self.ticks.cause, self.ticks.there))),
        }

    def remarks(self) -> Iterator[str]:
        """Yield the lines about the clock in a plan."""
        add, blocked = self.change.add, self.change.blocked
        if problem := self.problem():
            yield str(problem)
        if add:
            ticks = f"{many(len(add), 'tick')} ({span(add)})"
            adds = (
                f"minipach schedule {quoted(self.pipeline)} adds them"
                if self.resume
                else "the next schedule adds what is due"
            )
            yield f"{self.pipeline}: due: {ticks}; {adds}"
        if blocked:
            first, why = blocked[0]
            more = f", and {len(blocked) - 1} more" if len(blocked) > 1 else ""
            yield f"{self.pipeline}: {tick_name(first)} {why}{more}"
        if not (add or blocked or self.ticks.there) and self.shown_next:
            yield f"{self.pipeline}: no tick yet; the next one is due at {self.shown_next}"

    def problem(self) -> Problem | None:
        """Return the reason why no tick can be added; None if there is none."""
        return _too_many(self.at) if self.change.too_many else None


def tick_problems(project: Project, now: int, paths: Collection[str]) -> Iterator[Problem]:
    """Yield the reasons why clocks of these pipelines can add no tick.

    Args:
        project: The project.
        now: The present, in seconds since 1970.
        paths: The pipelines.
    """
    for pipeline in (project.pipelines[path] for path in paths if path in project.pipelines):
        places = {need.repo: need.repo_at for need in pipeline.needs() if need.clock}
        for pfs, clock in pipeline.clocks():
            if due(clock, read_ticks(project, pfs.repo), now).too_many:
                yield _too_many(places[pfs.repo])


def _too_many(at: str) -> Problem:
    message = f"more than {MOST} ticks are missing"
    return Problem("cron.too-many-ticks", at, message, "write a later `start`, or a `minipach.schedule.expired_limit`")


def span(ticks: Collection[int]) -> str:
    """Return the first and the last of some ticks."""
    first, last = tick_name(min(ticks)), tick_name(max(ticks))
    return first if first == last else f"{first} to {last}"


def clock_views(project: Project, now: int, paths: Collection[str] | None = None) -> list[ClockView]:
    """Return the clocks of these pipelines (None: of all that are sound), in order.

    Args:
        project: The project.
        now: The present, in seconds since 1970.
        paths: The pipelines.
    """
    found = []
    chosen = project.order if paths is None else paths
    waits = paused(project) if any(project.pipelines[p].clocks() for p in chosen if p in project.pipelines) else {}
    for path in chosen:
        if path in project.problems or path not in project.pipelines:
            continue
        pipeline = project.pipelines[path]
        places = {need.repo: need.repo_at for need in pipeline.needs() if need.clock}
        for pfs, clock in pipeline.clocks():
            ticks = read_ticks(project, pfs.repo)
            states = tick_states(project, path, pfs, ticks) if needs_states(clock) and ticks.there else {}
            change = due(clock, ticks, now, states)
            found.append(
                ClockView(pipeline.name, path, places[pfs.repo], pfs, clock, ticks, change, waits.get(path, ""))
            )
    return found


def deferrals(project: Project, now: int, paths: Collection[str] | None = None) -> Iterator[tuple[str, Deferral]]:
    """Yield the inputs of these pipelines (None: of all) that wait for their trigger, each with the pipeline's path."""
    store = SnapshotStore(project, now=now)
    for path in project.order if paths is None else paths:
        if path in project.problems or path not in project.pipelines:
            continue
        if any(need.trigger for need in project.needs(path)):
            assessment = Assessment(project, path, store)
            try:
                yield from ((path, deferral) for deferral in assessment.deferred)
            except UserError:
                continue  # reported by the plan
            finally:
                assessment.close()


def tick_states(project: Project, path: str, pfs: PfsInput, ticks: Ticks) -> dict[int, TickState]:
    """Return how the ticks that are there stand, by the plan and the job database; none where no plan can be made."""
    if not all(is_dataset(project.dataset_of(need.repo)) for need in project.needs(path)):
        return {}
    database = project.local.database
    ledger = Ledger(database) if database.is_file() else None
    assessment = Assessment(project, path, SnapshotStore(project))
    try:
        name = assessment.pipeline.name
        attempts = ledger.last_attempts(name) if ledger else {}
        repeated = ledger.repeated_failures(name, LEFT_AFTER) if ledger else {}
        plan = skip_repeated_failures(assessment.plan(), repeated, lambda: outside_now(project, assessment.pipeline))
    except UserError:
        return {}
    finally:
        assessment.close()
        if ledger:
            ledger.close()
    found: dict[int, set[TickState]] = {tick: {"done"} for tick in ticks.there}
    for step in plan.steps:
        for match in step.task.datum.matches if step.task else ():
            tick = tick_of(match.path[1:])
            if (match.input, match.repo) == (pfs.name, pfs.repo) and tick in found:
                found[tick].add(_state(step, attempts.get(step.name)))
    return {tick: next(state for state in _ORDER if state in states) for tick, states in found.items()}


def _state(step: PlannedDatum, last: Attempt | None) -> TickState:
    if step.action == "current" or (step.action == "reuse" and step.source is not None):
        return "done"
    if step.action == "skip":
        return "left"
    if last is None or last.datum_id != step.id:
        return "pending"
    return "done" if last.kind in SUCCEEDED else "failed"
