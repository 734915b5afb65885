"""`explain`: where a file comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from minipach.cli.common import Here, guarded, show, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import LOOK, add


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, LOOK, explain)


@guarded
def explain(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Select a file, or all files of a folder, in any dataset.")
    ],
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="COMMIT", help="Look at a commit or job of the dataset, or at one of the project."
        ),
    ] = None,
    upstream: Annotated[bool, typer.Option("--upstream", help="Explain all that the file was made of, too.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show all inputs and the variables of minipach.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Show where a file comes from.

    Shows the datum that wrote it: inputs, code, image, command, author, time. Reads git alone: no file content and no
    job database is needed, so it works in a clone.

    Example: minipach explain edges/moon.png --upstream
    """
    from minipach.provenance.locate import locate
    from minipach.provenance.text import lines
    from minipach.provenance.trace import Tracer

    here: Here = context.obj
    found = locate(file, here.directory, at)
    tracer = Tracer(found.root)
    try:
        lineage = tracer.trace(found.repo, found.at, found.paths, upstream=upstream)
    finally:
        tracer.close()
    if as_json:
        show_json({"schema": 1, **lineage.as_json()})
        return
    for line in lines(lineage, verbose=verbose):
        show(line)
