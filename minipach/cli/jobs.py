"""`jobs`, `job`, `usage`, `retry`, `cancel`, `wait`: what ran, what runs, and how it went."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import FAILED, TIMED_OUT, Here, can_redraw, guarded, paint, say, show, show_json
from minipach.cli.options import JOBS, JSON, PIPELINE, PIPELINES, TIMEOUT
from minipach.cli.schedule import WAIT
from minipach.cli.sections import LOOK, RUN, add
from minipach.project.project import Project
from minipach.support.text import many, printable

if TYPE_CHECKING:
    from minipach.model.attempt import JobRow, Try, Used
    from minipach.records.job_history import JobStory
    from minipach.views.usage import Usage

_STATES = {
    "current": "32",
    "published": "32",
    "running": "36",
    "submitted": "36",
    "failed": "31",
    "error": "31",
    "interrupted": "33",
}
_KINDS = {"ok": "32", "failed": "31", "lost": "33"}
_BAR = 40  # characters of the longest bar
_REFRESH = 1.0  # seconds between two looks of `top`


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, RUN, retry, wait, cancel)
    add(app, LOOK, jobs, job, top, usage)


@guarded
def jobs(
    context: typer.Context,
    pipeline: Annotated[
        str | None, typer.Argument(metavar="PIPELINE", help="Select a pipeline. [default: all]")
    ] = None,
    most: Annotated[
        int, typer.Option("-n", "--last", min=1, metavar="N", help="List the last N jobs, newest first.")
    ] = 20,
    as_json: JSON = False,
) -> None:
    """List the last jobs on this machine.

    Example: minipach jobs edges -n 5
    """
    from minipach.records.job_history import job_json, last_jobs
    from minipach.scheduling.stalled import remarks

    here: Here = context.obj
    project = here.project()
    rows = last_jobs(project, _name(project, pipeline), most)
    if as_json:
        show_json({"schema": 1, "jobs": [job_json(row) for row in rows]})
        return
    for row in rows:
        show(_line(row))
    for remark in remarks(project):
        say(remark)
    if not rows:
        show("no jobs on this machine yet; minipach schedule")


def _name(project: Project, pipeline: str | None) -> str | None:
    return None if pipeline is None else project.name_of(project.path_of(pipeline))


def _line(row: JobRow) -> str:
    started = datetime.fromtimestamp(row.started).strftime("%Y-%m-%d %H:%M:%S")
    took = _seconds(row.ended - row.started) if row.ended is not None else "-"
    counts = ", ".join(f"{n} {what}" for what, n in row.counts.items() if n)
    state = paint(f"{row.state:11}", _STATES.get(row.state, "0"))
    line = f"{row.id[:12]}  {row.pipeline:12} {state} {started}  {took:>8}  {row.commit[:10]:10}  {counts}"
    return line.rstrip()


@guarded
def job(
    context: typer.Context,
    ident: Annotated[
        str,
        typer.Argument(metavar="ID", help="Select a job by the beginning of its id, or the last job of a pipeline."),
    ],
    as_json: JSON = False,
) -> None:
    """Show a job and the outcome of each datum.

    An outcome has the exit code, tries, time, memory, bytes read and written, host, and the path of the log.

    Example: minipach job 3f2a
    """
    from minipach.records.job_history import read_job

    here: Here = context.obj
    story = read_job(here.project(), ident)
    if as_json:
        show_json({"schema": 1, **story.as_json()})
        return
    for line in _story(story):
        show(line)


def _story(story: JobStory) -> Iterator[str]:
    for row in story.passes:
        yield _line(row)
    for (number, used), tries in zip(story.attempts, story.tries, strict=True):
        several = f"pass {number + 1}: " if len(story.passes) > 1 else ""
        what = paint(used.kind, _KINDS.get(used.kind, "0")) + (f", {printable(used.message)}" if used.message else "")
        yield f"  {several}{printable(used.datum)}: {what}; {', '.join(_facts(used))}"
        if len(tries) > 1:
            yield from (f"    try {place}: {_try(one)}" for place, one in enumerate(tries, 1))
        yield f"    {used.log}"


def _try(one: Try) -> str:
    what = paint(one.kind, _KINDS.get(one.kind, "0")) + (f", {printable(one.message)}" if one.message else "")
    when = f" at {datetime.fromtimestamp(one.started).strftime('%H:%M:%S')}" if one.started is not None else ""
    took = f", {_seconds(one.seconds)}" if one.seconds or one.kind != "lost" else ""  # else nobody could tell
    return f"{what}{when}{took}" + (f", on {one.host}" if one.host else "")


def _facts(used: Used) -> Iterator[str]:
    if used.tries > 1:
        yield many(used.tries, "try", "tries")
    if used.seconds or used.kind != "lost":
        yield _seconds(used.seconds)
        yield f"{used.cpu:.2f} s CPU"
    if used.memory is not None:
        yield f"{_size(used.memory)} memory"
    if used.bytes_in is not None:
        yield f"{_size(used.bytes_in)} in"
    if used.bytes_out is not None:
        yield f"{_size(used.bytes_out)} out"
    if used.disk is not None:
        yield f"{_size(used.disk)} disk"
    if used.host:
        yield f"on {used.host}"


def _seconds(value: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if value >= 2 * size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.2f} s"


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


@guarded
def usage(
    context: typer.Context,
    pipeline: PIPELINE,
    as_json: JSON = False,
) -> None:
    """Show measured resources, and suggest `resource_requests`.

    Covers the last 10,000 successful datums of a pipeline on this machine. Memory is a datum's peak; very short
    datums have the peak of their set. Disk is the peak of a datum's scratch space and outputs, sampled once a second.

    Example: minipach usage edges
    """
    from minipach.views.usage import read_usage

    here: Here = context.obj
    project = here.project()
    found = read_usage(project, project.path_of(pipeline))
    if as_json:
        show_json({"schema": 1, **found.as_json()})
        return
    for line in _usage(found):
        show(line)


_MEASURES = {
    "seconds": "time",
    "cpu": "CPU time",
    "memory": "memory",
    "bytes_in": "read",
    "bytes_out": "written",
    "disk": "disk",
}


def _usage(found: Usage) -> Iterator[str]:
    yield f"{found.pipeline}: {many(found.runs, 'run')} of a datum"
    yield f"  {'':9}{'min':>10}{'median':>10}{'95%':>10}{'max':>10}"
    for name, label in _MEASURES.items():
        summary = found.measures[name]
        form = _seconds if name in ("seconds", "cpu") else _size
        values = [summary.min, summary.median, summary.p95, summary.max] if summary else []
        shown = "".join(f"{form(v):>10}" for v in values) if summary else f"{'not known':>10}"
        yield f"  {label:9}{shown}"
    most = max(b.count for b in found.histogram)
    yield "time of a datum"
    for b in found.histogram:
        bar = "#" * -(-_BAR * b.count // most)
        yield f"  {_seconds(b.low):>9} - {_seconds(b.high):<9} {bar:{_BAR}} {b.count}"
    yield "for spec.yml"
    yield "resource_requests:"
    for name, value in found.suggested.items():
        yield f"  {name}: {value}"


@guarded
def retry(
    context: typer.Context,
    pipelines: PIPELINES = None,
    at_once: JOBS = None,
    as_json: JSON = False,
    wait: WAIT = None,
) -> None:
    """Run again the datums whose last attempt failed.

    Runs no other datums of these pipelines. Then publishes and continues downstream, like `schedule`.

    Example: minipach retry edges
    """
    from minipach.cli.schedule import reporting, tell
    from minipach.scheduling.service import retry as run_failed

    here: Here = context.obj
    project = here.project()
    paths = [project.path_of(name) for name in pipelines or []] or list(project.order)
    with reporting() as terminal:
        report = run_failed(project, paths, terminal, jobs=at_once, wait=wait)
    if report is not None:
        tell(report, as_json=as_json)
    elif as_json:
        show_json({"schema": 1, "ok": True, "pipelines": [], "problems": [], "superdataset": None})
    else:
        show("nothing failed last time")


@guarded
def top(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Print the current state once.")] = False,
    as_json: JSON = False,
) -> None:
    """Show running jobs, workers and waiting datum sets.

    DONE includes results that are not recorded yet. RAN counts datums that have finished in a set that is still
    running (from its log). The screen is refreshed each second. Press Ctrl-C to leave.

    Example: minipach top
    """
    from minipach.views.top import Top, lines

    here: Here = context.obj
    looked = Top(here.project())
    if as_json:
        show_json({"schema": 1, **looked.look().as_json()})
        return
    if once or not can_redraw(sys.stdout):
        for line in lines(looked.look()):
            show(line)
        return
    _watch(lambda: [printable(line) for line in lines(looked.look())])


def _watch(text: Callable[[], list[str]]) -> None:
    """Show what changes until Ctrl-C, which is how one leaves, and no error."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with suppress(KeyboardInterrupt), Live(console=Console(), screen=True, auto_refresh=False) as live:
        while True:
            live.update(Text("\n".join(text()), no_wrap=True, overflow="ellipsis"), refresh=True)
            time.sleep(_REFRESH)


@guarded
def cancel(context: typer.Context, timeout: TIMEOUT = None) -> None:
    """Stop the running schedule and all submitted work.

    Waits until the schedule has stopped. Results of finished sets are kept. All datums of a running set will run
    again.

    Example: minipach cancel
    """
    from minipach.scheduling.service import cancel as end

    here: Here = context.obj
    done = end(here.project(), timeout, say)
    if not done.gone:
        say(f"still running: {done.holder}")
        raise typer.Exit(TIMED_OUT)
    for row in done.jobs:
        show(f"ended: job {row.id[:12]} of {row.pipeline}")
    if done.holder or not done.jobs:
        show(f"ended: {done.holder}" if done.holder else "nothing runs")


@guarded
def wait(
    context: typer.Context,
    pipelines: PIPELINES = None,
    timeout: TIMEOUT = None,
) -> None:
    """Wait until no work is running or pending.

    Exit code 1: a datum failed, or the last job of a pipeline (or of one upstream) is incomplete and the pipeline is
    not current. Exit code 2: work is pending, but no process will continue it (the Slurm follow-up job was cancelled,
    or another executor is configured). Exit code 3: the time given by --timeout is over.

    Example: minipach wait --timeout 3600, or minipach wait edges && make figures
    """
    from minipach.scheduling.service import wait as wait_for

    here: Here = context.obj
    project = here.project()
    paths = [project.path_of(name) for name in pipelines] if pipelines else project.order
    bad = wait_for(project, paths, timeout, say)
    if bad is None:
        say(f"still running after {many(timeout or 0.0, 'second')}")
        raise typer.Exit(TIMED_OUT)
    for row in bad:
        say(f"{row.pipeline}: {row.state}; minipach job {row.id[:12]} tells more")
    if bad:
        raise typer.Exit(FAILED)
