"""The options of a schedule, and the report of what it did. The report of a project is in `views.project_report`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from minipach.model.states import FINE, PipelineState
from minipach.support.errors import Problem, problems_json


@dataclass
class PipelineReport:
    """The report of one pipeline.

    state: current, published, partial, failed, blocked, error; submitted (its sets are submitted), waiting (for a
    pipeline whose sets are); deferred (no commit of an input has been released yet) · job: of this pass; where there
    was nothing to do, the one that published what is current; empty if there is none · missing: how many datums are
    without a result of now, those that failed included ·
    wrote_nothing: the datums that ran and have no output.
    """

    name: str
    state: PipelineState
    job: str = ""
    commit: str = ""
    counts: dict[str, int] = field(
        default_factory=lambda: {"ran": 0, "reused": 0, "current": 0, "removed": 0, "recovered": 0, "failed": 0}
    )
    failed: list[dict[str, str]] = field(default_factory=list)
    reason: str = ""
    missing: int = 0
    wrote_nothing: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach schedule --json`."""
        data: dict[str, Any] = {
            "name": self.name,
            "job": self.job or None,
            "commit": self.commit,
            "counts": self.counts,
            "failed": self.failed,
            "state": self.state,
        }
        if self.reason:
            data["reason"] = self.reason
        if self.wrote_nothing:
            data["wrote_nothing"] = self.wrote_nothing
        return data


@dataclass(frozen=True)
class ScheduleReport:
    """The report of a schedule. problems: errors to fix (exit code 2)."""

    pipelines: tuple[PipelineReport, ...]
    problems: tuple[Problem, ...]
    commit: str | None

    @property
    def ok(self) -> bool:
        """Whether everything asked for is done, or submitted."""
        return not self.problems and all(p.state in FINE and not p.failed for p in self.pipelines)

    def then(self, later: ScheduleReport) -> ScheduleReport:
        """Return the report of two passes, one after the other."""
        rows = {p.name: p for p in self.pipelines}
        for row in later.pipelines:
            before = rows.get(row.name)
            if before is not None and row.state == "current" and before.state != "error":
                continue
            if before is not None:
                done = ("ran", "reused", "removed", "recovered")
                row.counts |= {what: before.counts[what] + row.counts[what] for what in done}
            rows[row.name] = row
        problems = tuple(dict.fromkeys((*self.problems, *later.problems)))
        return ScheduleReport(tuple(rows.values()), problems, later.commit or self.commit)

    @property
    def in_flight(self) -> bool:
        """Whether something is submitted."""
        return any(p.state == "submitted" for p in self.pipelines)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach schedule --json`."""
        return {
            "schema": 1,
            "ok": self.ok,
            "pipelines": [p.as_json() for p in self.pipelines],
            "problems": problems_json(self.problems),
            "superdataset": self.commit,
        }


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a schedule.

    force: run the datums asked for again · fail_fast: start nothing after a failure · keep_going: also not if the first
    datums all fail in the same way · retry_failed: also run what failed twice with the very same content · follow: wait
    for what runs; if off, and the executor's sets outlive us, hand them over and go.

    now: no trigger of an input counts · cause: what the job database says of jobs that begin (see `JobRow`) ·
    postpone: returns whether another pass follows at once and makes the superdataset's commit; called just before it ·
    leave: returns whether another pass follows, which may wait for pipelines that another schedule has; called while
    nothing else is left.
    """

    force: bool = False
    fail_fast: bool = False
    keep_going: bool = False
    retry_failed: bool = False
    follow: bool = True
    cause: str = "manual"
    now: bool = False
    postpone: Callable[[], bool] | None = None
    leave: Callable[[], bool] | None = None
