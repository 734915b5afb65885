"""The events of a schedule: one stream of data. The caller of a schedule passes a `Reporter`.

Order of a pipeline's events: `PipelineStarted` (not if there is nothing to do), any number of `Progress` and
`DatumFailed`, then one `PipelineEnded`. Events of several pipelines may alternate. `Message` may come at any time. A
schedule that raises sends no `PipelineEnded` for the pipelines that it worked on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from minipach.model.job_entries import Attempt
from minipach.scheduling.schedule_report import PipelineReport

LIBRARY = logging.getLogger("minipach")
"""The parent of every module's logger. Modules that have no reporter log here; nothing in the library prints."""


@dataclass(frozen=True, slots=True)
class Message:
    """A line for people."""

    text: str

    def as_json(self) -> dict[str, Any]:
        """Return the event as documented in docs/design/formats.md."""
        return {"event": "message", "text": self.text}


@dataclass(frozen=True, slots=True)
class PipelineStarted:
    """A pipeline has a plan. counts: datums by action (run, reuse, current, remove, skip)."""

    pipeline: str
    counts: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return the event as documented in docs/design/formats.md."""
        return {"event": "pipeline-started", "pipeline": self.pipeline, "counts": dict(self.counts)}


@dataclass(frozen=True, slots=True)
class Progress:
    """So many datums of this round are done, the failed ones included."""

    pipeline: str
    done: int
    failed: int
    total: int

    def as_json(self) -> dict[str, Any]:
        """Return the event as documented in docs/design/formats.md."""
        return {
            "event": "progress",
            "pipeline": self.pipeline,
            "done": self.done,
            "failed": self.failed,
            "total": self.total,
        }


@dataclass(frozen=True, slots=True)
class DatumFailed:
    """A datum failed or was lost."""

    pipeline: str
    end: Attempt

    def as_json(self) -> dict[str, Any]:
        """Return the event as documented in docs/design/formats.md."""
        return {
            "event": "datum-failed",
            "pipeline": self.pipeline,
            "datum": self.end.datum,
            "state": self.end.kind,
            "exit": self.end.result.exit,
            "message": self.end.message,
            "log": self.end.log,
        }


@dataclass(frozen=True, slots=True)
class PipelineEnded:
    """The schedule is done with a pipeline."""

    report: PipelineReport

    def as_json(self) -> dict[str, Any]:
        """Return the event as documented in docs/design/formats.md."""
        return {"event": "pipeline-ended", "pipeline": self.report.name, "report": self.report.as_json()}


Event: TypeAlias = Message | PipelineStarted | Progress | DatumFailed | PipelineEnded


class Reporter(Protocol):
    """Receives the events of a schedule, in order, in the schedule's own thread."""

    def report(self, event: Event) -> None:
        """Take one event. Must return soon: the schedule waits."""
        ...


class _Forward(logging.Handler):
    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.report(Message(record.getMessage()))


@contextmanager
def forwarded(reporter: Reporter) -> Iterator[None]:
    """Send what modules of the library log meanwhile to the reporter, as messages."""
    handler = _Forward(reporter)
    before = LIBRARY.level, LIBRARY.propagate, LIBRARY.handlers
    LIBRARY.setLevel(logging.INFO)
    LIBRARY.propagate = False
    LIBRARY.handlers = [handler]
    try:
        yield
    finally:
        LIBRARY.level, LIBRARY.propagate, LIBRARY.handlers = before
