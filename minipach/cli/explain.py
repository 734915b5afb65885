"""`explain`: where a file comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minipach.cli.common import Here, guarded, show, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import LOOK, add
from minipach.support.errors import Problem, UserError
from minipach.support.text import many


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
    prov: Annotated[bool, typer.Option("--prov", help="Print W3C PROV in JSON-LD.")] = False,
    bids: Annotated[
        bool, typer.Option("--bids", help="Print the dataset_description.json of a BIDS derivative.")
    ] = False,
    crate: Annotated[
        Path | None,
        typer.Option("--ro-crate", metavar="DIR", help="Write the files and their origin to a new RO-Crate."),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Show where a file comes from.

    Shows the datum that wrote it: inputs, code, image, command, author, time. Reads git alone: no file content and no
    job database is needed, so it works in a clone.

    Example: minipach explain edges/moon.png --upstream, or minipach explain edges --ro-crate ../edges-crate
    """
    from minipach.provenance.locate import locate
    from minipach.provenance.text import lines
    from minipach.provenance.trace import Tracer

    if prov + bids + as_json > 1:
        raise UserError(
            Problem("option.conflict", "", "--prov, --bids and --json exclude each other", "name one of them")
        )
    here: Here = context.obj
    found = locate(file, here.directory, at)
    tracer = Tracer(found.root)
    try:
        lineage = tracer.trace(found.repo, found.at, found.paths, upstream=upstream)
    finally:
        tracer.close()
    if crate is not None:
        from minipach.provenance.ro_crate import write_crate

        count = write_crate(found.root, lineage, here.directory / crate)
        if not (as_json or prov or bids):
            show(f"wrote {many(count, 'file')} and their origin to {crate}")
            return
    if prov:
        from minipach.provenance.prov import as_prov

        show_json(as_prov(lineage))
        return
    if bids:
        from minipach.provenance.bids import description

        show_json(description(lineage))
        return
    if as_json:
        show_json({"schema": 1, **lineage.as_json()})
        return
    for line in lines(lineage, verbose=verbose):
        show(line)
