"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
COMMITTED = Annotated[
    bool, typer.Option("--committed", help="Use the last commits of pipelines instead of their working trees.")
]
GET = Annotated[bool, typer.Option("--get", help="Fetch missing file contents. They stay in the repository.")]
JOBS = Annotated[
    int | None,
    typer.Option(
        "-j", "--jobs", min=1, metavar="N", help="Run up to N datums at the same time. [default: number of cores]"
    ),
]
SLOTS = Annotated[
    int | None,
    typer.Option(
        "-j", "--jobs", min=0, metavar="N", help="Run up to N datum sets at the same time. [default: number of cores]"
    ),
]
TIMEOUT = Annotated[
    float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="Give up after SECONDS (exit code 3).")
]
LOCK_WAIT = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait if another command works on the project, or stop at once.")
]
UPSTREAM = Annotated[bool, typer.Option("--upstream", help="Include all upstream pipelines.")]
DOWNSTREAM = Annotated[
    bool, typer.Option("--downstream/--no-downstream", help="Include all downstream pipelines, or leave them out.")
]

PIPELINE = Annotated[str, typer.Argument(metavar="PIPELINE", help="Select the pipeline by its name or path.")]
PIPELINES = Annotated[
    list[str] | None, typer.Argument(metavar="PIPELINE", help="Select pipelines by name or path. [default: all]")
]
TARGETS = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PIPELINE[:DATUM]", help="Select pipelines, or some of their datums by name or glob. [default: all]"
    ),
]
DATUM = Annotated[
    str, typer.Argument(metavar="PIPELINE:DATUM", help="Select one datum. Its name may be a glob that matches one.")
]
EXCHANGE = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[REMOTE] [PIPELINE]...",
        help="Select a remote and pipelines. [default: the branch's remote, else origin; all pipelines]",
    ),
]
