"""`schedule`: do what the plan says."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import FAILED, USER, Here, Note, can_redraw, colours, guarded, say, say_layout, show, show_json
from minipach.cli.options import DOWNSTREAM, JOBS, JSON, TARGETS, UPSTREAM
from minipach.cli.sections import RUN, add
from minipach.model.states import ENDS, FINE, counted
from minipach.support.text import NAMED, many, quoted

if TYPE_CHECKING:
    from minipach.cli.bars import Bars
    from minipach.model.failures import FailureKind
    from minipach.model.job_entries import Attempt
    from minipach.project.project import Project
    from minipach.scheduling.events import Event, Reporter
    from minipach.scheduling.schedule_report import PipelineReport, ScheduleReport


WAIT = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait",
        help="Wait until all work is done, or stop if another schedule has one of the pipelines. "
        "[default: wait, except for rq and slurm]",
    ),
]


QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Print failures and problems only.")]
VERBOSE = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print a line for each datum set that ends, with times and rates.")
]

_NOTHING_DONE = ("current", "service")  # states of pipelines


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, RUN, schedule)
    app.command("go-on", hidden=True)(go_on)


@guarded
def schedule(
    context: typer.Context,
    what: TARGETS = None,
    jobs: JOBS = None,
    as_json: JSON = False,
    upstream: UPSTREAM = False,
    downstream: DOWNSTREAM = True,
    force: Annotated[bool, typer.Option("--force", help="Run current datums again. The record says so.")] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Start no more datums after a failure. Needs --wait with rq and slurm.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Continue even if the first datums all fail in the same way.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run datums too that failed in two jobs with unchanged content.")
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Read the newest commits of all inputs, whatever their triggers say.")
    ] = False,
    wait: WAIT = None,
    events: Annotated[
        bool, typer.Option("--events", help="Print progress on standard error as lines of JSON, one per event.")
    ] = False,
    quiet: QUIET = False,
    verbose: VERBOSE = False,
) -> None:
    """Compute missing results, publish them and continue downstream.

    Exit code 0: all selected pipelines are current. 1: a datum failed; the other results are published or kept. 2:
    there is a problem to fix.

    Nothing runs if a selected pipeline, or one it depends on, has an invalid spec, refers to a missing repository, or
    is part of a cycle. Name the other pipelines to run only those.

    A job stops when its first 5 datums all fail in the same way (setting minipach.give-up-after; 0: never). A datum
    that failed in two jobs with unchanged content, code and image does not run again.

    Example: minipach schedule edges -j 4, or minipach schedule 'edges:sub-*'
    """
    from minipach.executors.early_start import end_early, note_state
    from minipach.executors.registry import chosen_name
    from minipach.planning.checks import sound_targets
    from minipach.scheduling.schedule_report import Options
    from minipach.scheduling.service import run
    from minipach.support.errors import Problem, UserError

    here: Here = context.obj
    project = here.project()
    note = Note("reading the project") if not quiet and not events else None
    try:
        targets = sound_targets(project, what or [], upstream=upstream, downstream=downstream)
    finally:
        if note is not None:
            note.clear()
    if not quiet:
        say_layout(project)
    if quiet and verbose:
        raise UserError(
            Problem("option.conflict", "", "--quiet and --verbose exclude each other", "leave one of them out")
        )
    if fail_fast and keep_going:
        raise UserError(
            Problem("option.conflict", "", "--fail-fast and --keep-going exclude each other", "leave one of them out")
        )
    options = Options(force=force, fail_fast=fail_fast, keep_going=keep_going, retry_failed=retry_failed, now=now)
    detail = -1 if quiet else int(verbose)
    try:
        with reporting(events=events, detail=detail, project=project, jobs=jobs) as reporter:
            report = run(project, targets, options, reporter, jobs=jobs, wait=wait)
    finally:
        end_early()
    note_state(
        project.local,
        [project.root, *(project.root / path for path in project.repos)],
        [project.root / place.path / spec for place in project.places for spec in place.specs],
        local=chosen_name(project) == "local",
        done=report.ok and not report.in_flight and not report.problems,
    )
    notify(report, as_json=as_json, quiet=quiet)


@guarded
def go_on(context: typer.Context) -> None:
    """Continue the pending work of earlier schedules. Executors run this command."""
    from minipach.scheduling.service import resume
    from minipach.triggers import alerts
    from minipach.triggers.push_back import push_back

    here: Here = context.obj
    with reporting() as terminal:
        report = resume(here.project(), terminal)
        push_back(here.project(), terminal)
        alerts.evaluate(here.project())
    if report is not None:
        notify(report, as_json=False)


_NONE = "no pipelines yet; a folder with a spec.yml is one"


def notify(report: ScheduleReport, *, as_json: bool, quiet: bool = False, none: str = _NONE) -> None:
    """Say what became of a schedule, and leave with its exit code.

    quiet: only what is wrong · none: the line where no pipeline had a part.
    """
    for problem in report.problems:
        say(str(problem))
    if as_json:
        show_json(report.as_json())
    elif quiet:
        pass
    elif report.in_flight:
        show(on_its_way(report))
    elif report.ok and all(p.state in _NOTHING_DONE for p in report.pipelines):
        show("nothing to do" if report.pipelines else none)
    elif can_redraw(sys.stderr):
        for line in summary(report):
            say(line)
    if report.problems:
        raise typer.Exit(USER)
    if not report.ok:
        raise typer.Exit(FAILED)


def summary(report: ScheduleReport) -> list[str]:
    """Return the last lines for a person: the sum, if several pipelines did something, and the next command."""
    changed = [p for p in report.pipelines if p.state not in _NOTHING_DONE]
    lines = []
    if len(changed) > 1:
        sums: dict[str, int] = {}
        for row in changed:
            for what, count in row.counts.items():
                sums[what] = sums.get(what, 0) + count
        counts = counted(sums)
        lines.append(f"{many(len(changed), 'pipeline')}" + (f": {counts}" if counts else ""))
    failed = next((p for p in changed if p.failed), None)
    published = next((p for p in reversed(changed) if p.state in ("published", "partial")), None)
    if failed is not None:
        first = failed.failed[0]["name"]
        again = f"minipach run-one {quoted(f'{failed.name}:{first}')}"
        lines.append(f"next: {again} tries it with what you change; then minipach schedule")
    elif published is not None:
        lines.append(f"next: minipach diff {quoted(published.name)} shows what changed")
    return lines


def on_its_way(report: ScheduleReport) -> str:
    """Return what to say of a schedule that left sets submitted.

    Where it is one pipeline's, its logs can be followed.
    """
    from minipach.model.states import GOING

    names = [p.name for p in report.pipelines if p.state in GOING]
    which = f"{names[0]} " if len(names) == 1 else ""
    return f"submitted; minipach wait, minipach jobs, minipach logs {which}--follow"


@contextlib.contextmanager
def reporting(
    *, events: bool = False, detail: int = 0, project: Project | None = None, jobs: int | None = None
) -> Iterator[Reporter]:
    """Show what is reported meanwhile; no bar is left on the screen.

    Args:
        events: Whether it is shown as JSON.
        detail: The same as that of `Terminal`.
        project: The project; with it, bars name the running datums.
        jobs: Datums at once, for the time to go; None: as configured.
    """
    if events:
        yield EventLines()
        return
    terminal = Terminal(detail, project, jobs)
    try:
        yield terminal
    finally:
        terminal.stop()


class EventLines:
    """The events of a schedule as lines of JSON on stderr, for programs."""

    def report(self, event: Event) -> None:
        """Print an event."""
        say(json.dumps(event.as_json()))


class Terminal:
    """Progress for people, on stderr: a bar for each pipeline on a terminal, plain lines elsewhere.

    detail: -1 shows only what is wrong; 1 shows a line for each datum set that ends, with the rate.
    """

    def __init__(self, detail: int = 0, project: Project | None = None, jobs: int | None = None) -> None:
        self._detail = detail
        self._project = project
        self._jobs = jobs
        self._since: dict[str, float] = {}  # by pipeline
        self._bars: Bars | None = None
        self._last: dict[str, float] = {}
        self._tty = colours(sys.stderr)
        self._note = Note("reading the project") if project and detail == 0 else None
        # failed datums by pipeline, how they failed and what they said last
        self._alike: dict[str, dict[tuple[FailureKind, str], list[str]]] = {}

    def report(self, event: Event) -> None:
        """Show an event."""
        from minipach.scheduling import events

        self._clear_note()

        match event:
            case events.Message(text):
                if self._detail >= 0:
                    say(text)
            case events.PipelineStarted(pipeline, counts):
                self._start(pipeline, counts)
            case events.Progress(pipeline, done, failed, total):
                self._progress(pipeline, done, failed, total)
            case events.DatumFailed(pipeline, end):
                self._failure(pipeline, end)
            case events.PipelineEnded(report):
                self._end(report)

    def _start(self, pipeline: str, counts: Mapping[str, int]) -> None:
        self._since[pipeline] = self._last[pipeline] = time.monotonic()
        if self._detail < 0:
            return
        say(f"{pipeline}: " + ", ".join(f"{n} {action}" for action, n in counts.items() if n))
        if self._tty and self._detail == 0 and counts.get("run"):
            self._draw(pipeline, 0, 0, counts["run"])

    def _rate(self, pipeline: str, done: int) -> str:
        """Return how many datums end in a second or a minute."""
        seconds = time.monotonic() - self._since.get(pipeline, time.monotonic())
        if not done or seconds < 1:
            return ""
        rate = done / seconds
        return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"

    def _progress(self, pipeline: str, done: int, failed: int, total: int) -> None:
        if self._detail < 0:
            return
        if self._detail > 0:
            seconds = time.monotonic() - self._since.get(pipeline, time.monotonic())
            rest = f", {failed} of them failed" if failed else ""
            rate = self._rate(pipeline, done)
            say(f"{pipeline}: {done} of {total} done{rest} after {seconds:.1f} s" + (f", {rate}" if rate else ""))
        elif self._tty:
            self._draw(pipeline, done, failed, total)
        elif done == total or time.monotonic() - self._last.get(pipeline, 0.0) > 5:
            self._last[pipeline] = time.monotonic()
            say(f"{pipeline}: {done} of {total} done" + (f", {failed} of them failed" if failed else ""))

    def _draw(self, pipeline: str, done: int, failed: int, total: int) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone; the work continues
            if self._bars is None:
                self._bars = self._start_bars()
            self._bars.draw(pipeline, done, failed, total)
        if done == total:
            self._take_off(pipeline)

    def _take_off(self, pipeline: str) -> None:
        """Take the bar of a pipeline off the screen."""
        if self._bars is None or self._bars.take_off(pipeline):
            self.stop()

    def _start_bars(self) -> Bars:
        from minipach.cli.bars import Bars

        if self._project is None:
            return Bars(lambda _: {}, lambda *_: None)
        from minipach.project.settings import slots
        from minipach.views.running_datums import RunningDatums

        running = RunningDatums(self._project)
        at_once = slots(self._project.repo, self._jobs)
        return Bars(running.names, lambda pipeline, count: running.expected(pipeline, count, at_once))

    def stop(self) -> None:
        """Take all bars off the screen."""
        self._clear_note()
        if self._bars is not None:
            with contextlib.suppress(OSError):
                self._bars.stop()
            self._bars = None

    def _clear_note(self) -> None:
        if self._note is not None:
            self._note.clear()
            self._note = None

    def _failure(self, pipeline: str, end: Attempt) -> None:
        """Show why a datum failed, and the end of its log; of those that failed alike, only the first in full."""
        from minipach.model.failures import failure_kind, without_name
        from minipach.records.job_logs import log_tail

        name = end.datum
        tail = log_tail(end.log)
        fix = (failure_kind(end), without_name(tail[-1], name) if tail else "")
        alike = self._alike.setdefault(pipeline, {}).setdefault(fix, [])
        alike.append(name)
        if len(alike) > 1:
            return
        say(f"{pipeline}: {name} {ENDS[end.kind]}: {end.message}")
        for line in tail:
            say(f"    {line}")

    def _notify_alike(self, pipeline: str) -> None:
        """Name the datums that failed as one did that was shown."""
        from minipach.model.failures import named

        for first, *others in self._alike.pop(pipeline, {}).values():
            if others:
                count = many(len(others), "datum")
                say(f"{pipeline}: {count} failed in the same way as {first}: {named(others, NAMED)}")

    def _end(self, report: PipelineReport) -> None:
        self._take_off(report.name)
        self._notify_alike(report.name)
        if report.state == "current" or (self._detail < 0 and report.state in FINE and not report.failed):
            return
        counts = counted(report.counts)
        line = f"{report.name}: {report.state}"
        if report.state != "error":
            line += f" ({counts})" if counts else ""
            line += f": {report.reason}" if report.reason else ""
            if report.failed:
                line += f"; minipach logs {report.name}"
            say(line + (f" [job {report.job}]" if self._detail > 0 and report.job else ""))
