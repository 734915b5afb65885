"""The bars of a schedule on a terminal: for each pipeline the datums done, the rate, the time to go, what runs now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
from rich.text import Text

from minipach.support.text import printable

if TYPE_CHECKING:
    from rich.progress import Task

_EACH = 0.5  # seconds between two looks at what runs
_NAMED = 3  # datums
_WIDTH = 20  # of a bar

Running = Callable[[Sequence[str]], dict[str, list[str]]]
Expected = Callable[[str, int], float | None]


class Bars:
    """A bar for each pipeline that runs.

    Args:
        running: Returns the names of the datums that run, for the names of pipelines.
        expected: Returns the seconds that so many datums of a pipeline will take, or None.
        console: The terminal; None is stderr.
    """

    def __init__(self, running: Running, expected: Expected, console: Console | None = None) -> None:
        self._running = running
        self._expected = expected
        self._looked = 0.0
        self._names: dict[str, list[str]] = {}
        self._tasks: dict[str, Task] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(_WIDTH),
            MofNCompleteColumn(),
            _Live(self),
            console=console or Console(stderr=True),
            transient=True,
            refresh_per_second=4,
        )
        self._progress.start()

    def draw(self, pipeline: str, done: int, failed: int, total: int) -> None:
        """Show how far a pipeline is."""
        if pipeline not in self._tasks:
            more: dict[str, Any] = {
                "pipeline": pipeline,
                "since": time.monotonic(),
                "expected": self._expected(pipeline, total),
            }
            ident = self._progress.add_task(printable(pipeline), total=total, failed=0, **more)
            self._looked = 0.0  # what runs of this one was not asked yet
            self._tasks[pipeline] = next(task for task in self._progress.tasks if task.id == ident)
        task = self._tasks[pipeline]
        self._progress.update(task.id, completed=done, total=total, failed=failed)

    def take_off(self, pipeline: str) -> bool:
        """Remove the bar of a pipeline. Returns whether none is left."""
        if task := self._tasks.pop(pipeline, None):
            self._progress.remove_task(task.id)
        return not self._tasks

    def stop(self) -> None:
        """Remove all bars."""
        self._progress.stop()

    def names(self, pipeline: str) -> list[str]:
        """Return the datums of a pipeline that run now."""
        now = time.monotonic()
        if now - self._looked > _EACH:
            self._looked = now
            self._names = self._running(list(self._tasks))
        return self._names.get(pipeline, [])


class _Live(ProgressColumn):
    """The rate, the time to go and the running datums of a pipeline."""

    max_refresh = 0.25

    def __init__(self, bars: Bars) -> None:
        super().__init__()
        self._bars = bars

    def render(self, task: Task) -> Text:
        """Return the text beside a bar."""
        fields = task.fields
        parts = [f"{fields['failed']} failed"] if fields["failed"] else []
        parts += [part for part in pace(task.completed, task.total or 0, fields["since"], fields["expected"]) if part]
        names = [printable(name) for name in self._bars.names(fields["pipeline"])]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        if names:
            parts.append(f"now {', '.join(names[:_NAMED])}{more}")
        return Text(", ".join(parts), no_wrap=True, overflow="ellipsis")


def pace(done: float, total: float, since: float, expected: float | None) -> tuple[str, str]:
    """Return the rate and the time to go in words; before the first datum has ended, by earlier ones.

    Args:
        done: The datums that have ended.
        total: All datums.
        since: The start, as of `time.monotonic`.
        expected: The seconds that earlier datums let expect for all, or None.
    """
    took = max(0.0, time.monotonic() - since)
    if done and took >= 1:
        rate = done / took
        words = f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"
        return words, f"{_clock((total - done) / rate)} left"
    if expected is not None:
        return "", f"about {_clock(max(0.0, expected - took))} left"
    return "", f"{_clock(took)} so far"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
