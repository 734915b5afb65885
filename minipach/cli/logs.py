"""`logs`: what the commands of datums printed, or print now."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from minipach.cli.common import Here, flush_to_reader, guarded, say, show, show_exactly, show_output
from minipach.cli.sections import LOOK, add
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.text import colours_only, printable


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, LOOK, logs)


@guarded
def logs(
    context: typer.Context,
    pipeline: Annotated[
        str | None,
        typer.Argument(metavar="PIPELINE[:DATUM]", help="Select a pipeline, or one of its datums. [default: all]"),
    ] = None,
    datum: Annotated[
        str | None,
        typer.Argument(metavar="DATUM", help="Select datums by name or glob. [default: those that failed last]"),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print lines of running datums as they come, until nothing runs.")
    ] = False,
    ident: Annotated[
        str | None, typer.Option("--job", metavar="ID", help="Select a job by its id. [default: last job]")
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("--try", min=1, metavar="N", help="Show the N-th try alone. Run `minipach job` to list tries."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Send all control characters to the terminal, not colours alone.")
    ] = False,
) -> None:
    """Show what the commands of datums printed.

    Shows the last attempt of each selected datum. Without PIPELINE, shows the failed datums in the last job of each
    pipeline. With --follow, prints the lines of all running datums as one stream, each line after the name of its
    datum.

    Example: minipach logs edges chelsea.png, minipach logs 'edges:sub-*', minipach logs edges chelsea.png --try 1, or
    minipach logs --follow
    """
    from minipach.records.job_history import read_job
    from minipach.views.logs import choose_logs, log_of_try, stream, stream_all

    here: Here = context.obj
    project = here.project()
    if pipeline is not None and datum is None and ":" in pipeline:
        pipeline, _, datum = pipeline.partition(":")
        datum = datum or None
    if number is not None:
        if pipeline is None or datum is None or follow:
            raise UserError(
                Problem(
                    "option.needs-datum",
                    "--try",
                    "of which datum? minipach logs PIPELINE DATUM --try N, without --follow",
                )
            )
        show_output(_text(log_of_try(project, project.path_of(pipeline), datum, ident, number)), raw=raw)
        return
    if pipeline is None and ident is not None:
        pipeline = read_job(project, ident).job.pipeline
    if pipeline is None and follow:
        for name, which, line in stream_all(project, notify=say):
            _line_of(f"{name}: {which}", line, raw=raw)
        return
    if pipeline is None:
        _failed_logs(project, raw=raw)
        return
    path = project.path_of(pipeline)
    if follow:
        for which, line in stream(project, path, datum, ident, notify=say):
            _line_of(which, line, raw=raw)
        return
    chosen = choose_logs(project, path, datum, ident)
    for attempt in chosen:
        if len(chosen) > 1 or datum is None:
            show(f"== {attempt.datum}: {attempt.kind}{', ' + attempt.message if attempt.message else ''}")
        if not Path(attempt.log).is_file():
            raise UserError(Problem("log.gone", attempt.log, "this log is gone"))
        _log(attempt.log, raw=raw)


def _line_of(name: str, line: str, *, raw: bool) -> None:
    said = line if raw else colours_only(line) if sys.stdout.isatty() else printable(line)
    show_exactly(f"{printable(name)} | {said}")
    flush_to_reader()


def _log(path: str, *, raw: bool) -> None:
    show_output(_text(Path(path).read_bytes()), raw=raw)


def _text(log: bytes) -> str:
    return log.decode("utf-8", "replace").rstrip("\n")


def _failed_logs(project: Project, *, raw: bool) -> None:
    from minipach.views.logs import failures_of_last_jobs

    failed = failures_of_last_jobs(project)
    for name, used in failed:
        show(f"== {name}: {used.datum}: {used.kind}{', ' + used.message if used.message else ''}")
        if Path(used.log).is_file():
            _log(used.log, raw=raw)
        else:
            say(f"{used.log}: this log is gone" if used.log else f"{name}: {used.datum}: it has no log")
    if not failed:
        show("nothing failed in the last jobs; minipach logs PIPELINE [DATUM], or minipach logs --follow")
