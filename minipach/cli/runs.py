"""`schedule`: do what the plan says."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.frame import FAILED, USER, Here, colours, guarded, say, say_layout, show, show_json
from minipach.cli.options import DOWNSTREAM, JOBS, JSON, TARGETS, UPSTREAM
from minipach.cli.sections import RUN, add
from minipach.escape import printable
from minipach.plan import ENDS, Plan
from minipach.project import Project
from minipach.wording import many

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from minipach.entries import DatumEnd
    from minipach.failures import Way
    from minipach.report import Options, PipelineReport, ScheduleReport
    from minipach.targets import Targets

_NAMED = 8  # at most so many datums in a line

WAIT = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait",
        help="Wait until all work is done, or stop if another schedule runs. [default: wait, except for rq and slurm]",
    ),
]


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
    wait: WAIT = None,
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
    from minipach.errors import UserError
    from minipach.report import Options
    from minipach.targets import sound_targets

    here: Here = context.obj
    project = here.project()
    targets = sound_targets(project, what or [], upstream=upstream, downstream=downstream)
    say_layout(project)
    if fail_fast and keep_going:
        raise UserError("--fail-fast and --keep-going exclude each other; leave one of them out")
    options = Options(force=force, fail_fast=fail_fast, keep_going=keep_going, retry_failed=retry_failed)
    carry_out(project, targets, options, jobs, as_json=as_json, wait=wait)


@guarded
def go_on(context: typer.Context) -> None:
    """Continue the pending work of earlier schedules. Executors run this command."""
    from minipach.report import Options

    here: Here = context.obj
    carry_out(here.project(), None, Options(), None, as_json=False, wait=None)


def carry_out(
    project: Project, targets: Targets | None, options: Options, jobs: int | None, *, as_json: bool, wait: bool | None
) -> None:
    """Run a schedule under the project's lock, report, and leave with its exit code.

    targets: None for what earlier schedules have left to be done · wait: follow to the end, also where sets outlive
    this command (None: there, hand over and go) · False: also don't wait for another schedule. UserError.
    """
    from minipach import goal
    from minipach.errors import UserError
    from minipach.executors.choose import choose
    from minipach.ledger import Ledger
    from minipach.lock import project_lock
    from minipach.running import close_gone
    from minipach.schedule import Scheduler

    choice = choose(project, jobs)
    options = replace(options, follow=bool(wait) or not choice.lasting)
    if options.fail_fast and not options.follow:
        raise UserError(
            f"--fail-fast: what {choice.name} runs goes on without this command; add --wait, or leave it out"
        )
    reporter = Terminal()
    with project_lock(project.state_dir / "lock", wait=wait is not False, tell=say):
        going_on = targets is None
        close_gone(project)
        targets = targets or goal.pending(project)
        if targets is None:
            goal.keep(project, ())  # what it may still name has been removed from the project
            return
        options = _as_begun(options, goal.options(project)) if going_on else options
        earlier = goal.begin(project, targets, _lasting(options)) if choice.lasting else []
        ledger = Ledger(project.state_dir / "ledger.sqlite")
        scheduler = Scheduler(project, ledger, choice.make, reporter, lasting=choice.lasting)
        try:
            report = scheduler.run(targets, options)
            if goal.exists(project):
                goal.end(project, targets, report, () if going_on else earlier)
            if choice.lasting:
                left = goal.paths(project)
                for broken in (p.name for p in report.pipelines if p.state == "error"):
                    if project.path_of(broken) not in left:
                        ledger.close_jobs(broken, "error")
        except BaseException as error:
            reporter.stop()
            if scheduler.executor is not None and not choice.lasting:
                scheduler.executor.cancel()
            elif choice.lasting and isinstance(error, KeyboardInterrupt):
                if not going_on:  # with that, whoever ends us means to make the pass anew
                    handed_over = [project.path_of(row.pipeline) for row in ledger.open_jobs()]
                    goal.keep(project, project.downstream(handed_over))
                say("what was handed over goes on; minipach wait, or minipach cancel")
            raise
        finally:
            if scheduler.executor is not None:
                scheduler.executor.close()
            ledger.close()
    _tell(report, as_json=as_json)


def _as_begun(options: Options, kept: frozenset[str]) -> Options:
    """Return the options of a pass that goes on with what an earlier schedule left."""
    return replace(options, keep_going="keep-going" in kept, retry_failed="retry-failed" in kept)


def _lasting(options: Options) -> list[str]:
    """Return the names of the options that also later passes of a job must know."""
    return ["keep-going"] * options.keep_going + ["retry-failed"] * options.retry_failed


def _tell(report: ScheduleReport, *, as_json: bool) -> None:
    """Say what became of a schedule, and leave with its exit code."""
    for problem in report.problems:
        say(problem)
    if as_json:
        show_json(report.as_json())
    elif report.in_flight:
        show(on_its_way(report))
    elif report.ok and all(p.state == "current" for p in report.pipelines):
        show("nothing to do" if report.pipelines else "no pipelines yet; a folder with a spec.yml is one")
    if report.problems:
        raise typer.Exit(USER)
    if not report.ok:
        raise typer.Exit(FAILED)


def on_its_way(report: ScheduleReport) -> str:
    """What to say of a schedule that left sets on their way: where it is one pipeline's, its logs can be followed."""
    from minipach.report import GOING

    names = [p.name for p in report.pipelines if p.state in GOING]
    which = f"{names[0]} " if len(names) == 1 else ""
    return f"on its way; minipach wait, minipach jobs, minipach logs {which}--follow"


def _start_bar(pipeline: str, total: int) -> tuple[Progress, TaskID]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    bar.start()
    return bar, bar.add_task(printable(pipeline), total=total, failed="")


class Terminal:
    """Progress for people, on stderr: a bar on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._bar: tuple[Progress, TaskID] | None = None
        self._last = 0.0
        self._tty = colours(sys.stderr)
        self._alike: dict[tuple[Way, str], list[str]] = {}  # failed datums by how they failed and what they said last

    def say(self, message: str) -> None:
        """A line that people should read."""
        say(message)

    def begin(self, pipeline: str, plan: Plan) -> None:
        """A pipeline starts."""
        counts = ", ".join(f"{n} {action}" for action, n in plan.counts.items() if n)
        say(f"{pipeline}: {counts}")
        self._last = time.monotonic()

    def progress(self, pipeline: str, done: int, failed: int, total: int) -> None:
        """A datum is done."""
        if self._tty:
            self._draw(pipeline, done, failed, total)
        elif done == total or time.monotonic() - self._last > 5:
            self._last = time.monotonic()
            say(f"{pipeline}: {done} of {total} done" + (f", {failed} failed" if failed else ""))

    def _draw(self, pipeline: str, done: int, failed: int, total: int) -> None:
        if self._bar is None:
            self._bar = _start_bar(pipeline, total)
        bar, task = self._bar
        note = f"{failed} failed" if failed else ""
        with contextlib.suppress(OSError):  # the terminal is gone; the work goes on
            bar.update(task, description=printable(pipeline), completed=done, total=total, failed=note)
        if done == total:
            self.stop()

    def stop(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar[0].stop()
            self._bar = None

    def failure(self, pipeline: str, end: DatumEnd) -> None:
        """A datum failed: why, and the end of its log. Of those that failed alike, only the first is shown in full."""
        from minipach.failures import way_of, without_name
        from minipach.logs import log_tail

        name = end.task.datum.name
        tail = log_tail(end.log)
        alike = self._alike.setdefault((way_of(end), without_name(tail[-1], name) if tail else ""), [])
        alike.append(name)
        if len(alike) > 1:
            return
        say(f"{pipeline}: {name} {ENDS[end.kind]}: {end.message}")
        for line in tail:
            say(f"    {line}")

    def _tell_alike(self, pipeline: str) -> None:
        """Name the datums that failed as one did that was shown."""
        from minipach.failures import named

        for first, *others in self._alike.values():
            if others:
                count = many(len(others), "datum")
                say(f"{pipeline}: {count} failed in the same way as {first}: {named(others, _NAMED)}")
        self._alike.clear()

    def end(self, report: PipelineReport) -> None:
        """A pipeline is done with."""
        self.stop()
        self._tell_alike(report.name)
        if report.state == "current":
            return
        counts = ", ".join(f"{n} {what}" for what, n in report.counts.items() if n)
        line = f"{report.name}: {report.state}"
        if report.state != "error":
            line += f" ({counts})" if counts else ""
            line += f": {report.reason}" if report.reason else ""
            if report.failed:
                line += f"; minipach logs {report.name}"
            say(line)
