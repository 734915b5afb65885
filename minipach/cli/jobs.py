"""`jobs`, `job`, `usage`, `retry`, `cancel`, `wait`: what ran, what runs, and how it went."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import FAILED, TIMED_OUT, Here, can_redraw, guarded, say, show, show_json
from minipach.cli.options import JOBS, JSON, PIPELINE, PIPELINES, TIMEOUT
from minipach.cli.schedule import WAIT
from minipach.cli.sections import LOOK, RUN, add
from minipach.cli.tables import columns_left, show_table, state, table_lines
from minipach.model.states import counted
from minipach.project.project import Project
from minipach.support.text import byte_count, many, printable

if TYPE_CHECKING:
    from minipach.model.job_entries import Attempt, JobRow, Try
    from minipach.records.job_history import JobStory
    from minipach.views.top import Activity, OpenJob
    from minipach.views.usage import Usage

_BAR = 40  # characters of the longest bar
_WORKERS = 20  # workers that `top` shows
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
    _show_jobs(rows)
    for remark in remarks(project):
        say(remark)
    if not rows:
        show("no jobs on this machine yet; minipach schedule")


def _name(project: Project, pipeline: str | None) -> str | None:
    return None if pipeline is None else project.name_of(project.path_of(pipeline))


def _show_jobs(rows: Sequence[JobRow], *, commits: bool = False) -> None:
    """Print a row for each pass. commits: also the commits, which do not fit 80 columns beside the rest."""
    titles = ["JOB", "PIPELINE", "STATE", "CAUSE", "STARTED", "TIME", *(["COMMIT"] if commits else []), "DATUMS"]
    cells = []
    for row in rows:
        started = datetime.fromtimestamp(row.started).strftime("%Y-%m-%d %H:%M")
        took = _seconds(row.ended - row.started) if row.ended is not None else "-"
        cells.append(
            [
                row.id[:12],
                row.pipeline,
                row.state,
                row.cause or "-",
                started,
                took,
                *([row.commit[:8] or "-"] if commits else []),
                counted(row.counts) or "-",
            ]
        )
    show_table(titles, cells, right="TIME")


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
    _show_story(story)


def _show_story(story: JobStory) -> None:
    """Print the job's passes, its datums as a table, and below it what else is known of some of them."""
    _show_jobs(story.passes, commits=True)
    several = len(story.passes) > 1
    hosts = {one.host for _, one in story.attempts}
    measured = ["TRIES", "TIME", "CPU", "MEMORY", "READ", "WRITTEN", "DISK"]
    titles = ["DATUM", *(["PASS"] if several else []), "STATE", *measured, *(["HOST"] if len(hosts) > 1 else [])]
    cells = [
        [
            one.datum,
            *([str(number + 1)] if several else []),
            one.kind,
            str(one.tries),
            *_facts(one),
            *([one.host or "-"] if len(hosts) > 1 else []),
        ]
        for number, one in story.attempts
    ]
    if cells:
        show()
    show_table(titles, cells, right=" ".join(["PASS", *measured]))
    for host in hosts if len(hosts) == 1 else ():
        show(f"host: {host or 'not known'}")
    for (_, attempt), tries in zip(story.attempts, story.tries, strict=True):
        if attempt.kind == "ok" and not attempt.message and len(tries) < 2:
            continue
        show(f"{attempt.datum}: {_what(attempt)}")
        if len(tries) > 1:
            for place, one in enumerate(tries, 1):
                show(f"  try {place}: {_try(one)}")
        show(f"  log: {attempt.log}")


def _what(end: Attempt | Try) -> str:
    return state(end.kind) + (f", {printable(end.message)}" if end.message else "")


def _try(one: Try) -> str:
    when = f" at {datetime.fromtimestamp(one.started).strftime('%H:%M:%S')}" if one.started is not None else ""
    took = f", {_seconds(one.seconds)}" if one.seconds or one.kind != "lost" else ""  # else it is not known
    return f"{_what(one)}{when}{took}" + (f", on {one.host}" if one.host else "")


def _facts(attempt: Attempt) -> list[str]:
    """Return time, CPU, memory, bytes read and written and disk of an attempt; "-": not known."""
    took = attempt.took
    timed = bool(took.seconds) or attempt.kind != "lost"
    sizes = [took.memory, attempt.result.bytes_in, attempt.result.bytes_out, took.disk]
    return [
        _seconds(took.seconds) if timed else "-",
        f"{took.cpu:.2f} s" if timed else "-",
        *("-" if size is None else byte_count(size) for size in sizes),
    ]


def _seconds(value: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if value >= 2 * size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.2f} s"


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
    _show_usage(found)


_MEASURES = {
    "seconds": "time",
    "cpu": "CPU time",
    "memory": "memory",
    "bytes_in": "read",
    "bytes_out": "written",
    "disk": "disk",
}


def _show_usage(found: Usage) -> None:
    show(f"{found.pipeline}: {many(found.runs, 'run')} of a datum")
    show()
    cells = []
    for name, label in _MEASURES.items():
        form = _seconds if name in ("seconds", "cpu") else byte_count
        one = found.measures[name]
        values = [form(value) for value in (one.min, one.median, one.p95, one.max)] if one else ["-"] * 4
        cells.append([label, *values])
    show_table(["MEASURE", "MIN", "MEDIAN", "95%", "MAX"], cells, right="MIN MEDIAN 95% MAX")
    show()
    most = max(b.count for b in found.histogram)
    ends = [(_seconds(b.low), _seconds(b.high)) for b in found.histogram]
    beside = max(len(low) for low, _ in ends) + max(len(high) for _, high in ends) + len("DATUMS") + 6
    wide = columns_left(beside, 8, _BAR)
    bars = [
        [low, high, str(b.count), "#" * -(-wide * b.count // most)]
        for (low, high), b in zip(ends, found.histogram, strict=True)
    ]
    show_table(["FROM", "TO", "DATUMS", "TIME OF A DATUM"], bars, right="FROM TO DATUMS")
    show()
    show("for spec.yml:")
    show("resource_requests:")
    for name, value in found.suggested.items():
        show(f"  {name}: {value}")


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
    from minipach.cli.schedule import notify, reporting
    from minipach.scheduling.service import retry as run_failed

    here: Here = context.obj
    project = here.project()
    paths = [project.path_of(name) for name in pipelines or []] or list(project.order)
    with reporting(project=project, jobs=at_once) as terminal:
        report = run_failed(project, paths, terminal, jobs=at_once, wait=wait)
    if report is not None:
        notify(report, as_json=as_json)
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
    from minipach.views.top import Top

    here: Here = context.obj
    looked = Top(here.project())
    if as_json:
        show_json({"schema": 1, **looked.look().as_json()})
        return
    if once or not can_redraw(sys.stdout):
        for line in top_lines(looked.look()):
            show(line)
        return
    _watch(lambda: list(top_lines(looked.look())))


def top_lines(look: Activity) -> Iterator[str]:
    """Yield the lines of `top`."""
    clock = time.strftime("%H:%M:%S", time.localtime(look.when))
    yield printable(f"{clock}  executor {look.executor}" + (f"; {look.note}" if look.note else ""))
    if not (look.jobs or look.workers or look.waiting or look.next):
        yield "nothing runs"
        return
    yield from _below(  # what matters most comes first: a narrow terminal cuts the rest off
        ["JOB", "PIPELINE", "STATE", "TIME", "DONE", "FAILED", "TO-GO", "RAN", "RUNNING", "WAITING", "PER-MINUTE"],
        [_job_row(job) for job in look.jobs],
    )
    if look.next:
        yield ""
        yield printable(f"then: {', '.join(look.next)}")
    rows = []
    for worker in look.workers[:_WORKERS]:
        runs = [f"{what} ({_clock(seconds)})" for what, seconds in worker.runs] or ["-"]
        rows += [[worker.name if n == 0 else "", worker.has if n == 0 else "", run] for n, run in enumerate(runs)]
    yield from _below(["WORKER", "HAS", "RUNS"], rows)
    if len(look.workers) > _WORKERS:
        yield f"and {len(look.workers) - _WORKERS} more; --json has all"
    yield from _below(["WAITING", "KIND", "WHY"], [[str(w.sets), w.kind, w.why] for w in look.waiting])


def _job_row(job: OpenJob) -> list[str]:
    rate = "-" if job.rate is None else f"{job.rate:g}"
    done = f"{job.done} of {job.total}" if job.total else str(job.done)
    waiting = str(job.waiting) + (f" ({job.behind} in sets that run)" if job.behind else "")
    now = [str(job.ran), str(job.running), waiting]
    to_go = "-" if job.eta is None else _clock(job.eta)
    return [job.id[:12], job.pipeline, job.state, _clock(job.seconds), done, str(job.failed), to_go, *now, rate]


def _below(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield an empty line and a table, if it has rows. A wide one is cut at the screen's edge, not folded."""
    if rows:
        yield ""
        yield from table_lines(head, rows, fold=False)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _watch(text: Callable[[], list[str]]) -> None:
    """Show what changes until Ctrl-C, which is how one leaves, and no error."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with suppress(KeyboardInterrupt), Live(console=Console(), screen=True, auto_refresh=False) as live:
        while True:
            lines = Text.from_ansi("\n".join(text()), no_wrap=True, overflow="ellipsis")
            live.update(lines, refresh=True)
            time.sleep(_REFRESH)


@guarded
def cancel(context: typer.Context, timeout: TIMEOUT = None) -> None:
    """Stop all running schedules and all submitted work.

    Waits until the schedules have stopped. Results of finished datums are kept. The datum that runs in a set, and those
    after it, will run again.

    Example: minipach cancel
    """
    from minipach.scheduling.service import cancel as end

    here: Here = context.obj
    done = end(here.project(), timeout, say)
    if not done.gone:
        for holder in done.holders:
            say(f"still running: {holder}")
        raise typer.Exit(TIMED_OUT)
    for row in done.jobs:
        show(f"ended: job {row.id[:12]} of {row.pipeline}")
    for holder in done.holders:
        show(f"ended: {holder}")
    if not (done.holders or done.jobs):
        show("nothing runs")


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
        say(f"{row.pipeline}: {row.state}; minipach job {row.id[:12]} shows more")
    if bad:
        raise typer.Exit(FAILED)
