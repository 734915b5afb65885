"""`input`: datasets whose files are the objects of a bucket."""

from __future__ import annotations

from typing import Annotated

import typer

from minipach.cli.common import Here, guarded, leave_with, show, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import OTHERS, PROJECT, Group
from minipach.cli.sections import add as add_to
from minipach.cli.tables import show_table

NAME = Annotated[str, typer.Argument(metavar="NAME", help="Name the dataset: a path in the project.")]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(
        cls=Group, help="Use buckets of an object store as inputs.", no_args_is_help=True, rich_markup_mode=None
    )
    add_to(family, OTHERS, add, update, remove)
    add_to(family, OTHERS, list_, name="list")
    app.add_typer(family, name="input", rich_help_panel=PROJECT)


@guarded
def add(
    context: typer.Context,
    name: NAME,
    s3: Annotated[str, typer.Option("--s3", metavar="URL", help="Set the address of the object store.")],
    bucket: Annotated[str, typer.Option("--bucket", metavar="B", help="Set the bucket.")],
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="P", show_default=False, help="Use only objects below this prefix.")
    ] = "",
    listen: Annotated[
        bool, typer.Option("--listen", help="Have `minipach serve` ask the store for events (MinIO).")
    ] = False,
) -> None:
    """Make a dataset of the objects in a bucket, and import them.

    Each pass of a trigger imports what has changed there. `minipach input update` does so at once.

    The credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or those of ~/.aws/credentials or of the keyring.
    git-annex keeps them in this clone, and not in git. If the bucket keeps versions, contents are fetched when a datum
    needs them.

    Example: minipach input add raw --s3 https://s3.example.org --bucket scans --prefix 2026
    """
    from minipach.cli.schedule import reporting
    from minipach.triggers.bucket_inputs import add as make

    here: Here = context.obj
    with reporting() as terminal:
        make(here.project(), name, s3, bucket, prefix, listen=listen, reporter=terminal)
    show(f"{name}: input from bucket {bucket}")


@guarded
def list_(context: typer.Context, as_json: JSON = False) -> None:
    """List the inputs that are buckets.

    Example: minipach input list
    """
    from minipach.triggers.bucket_inputs import bucket_inputs

    here: Here = context.obj
    found = bucket_inputs(here.project())
    if as_json:
        show_json({"schema": 1, "inputs": [one.as_json() for one in found]})
        return
    rows = [
        [one.path, one.place.url, one.place.name, one.place.prefix, "yes" if one.versions else "no"] for one in found
    ]
    show_table(["NAME", "STORE", "BUCKET", "PREFIX", "VERSIONS"], rows)


@guarded
def update(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Select inputs by their paths. [default: all]")
    ] = None,
) -> None:
    """Import what has changed in buckets, and commit it. Passes of triggers do so by themselves.

    `minipach schedule` by hand lists no bucket: it uses what is committed. Exit code 2: a bucket could not be imported.

    Example: minipach input update && minipach schedule
    """
    from minipach.cli.schedule import reporting
    from minipach.triggers.bucket_inputs import bucket_inputs, import_changes

    here: Here = context.obj
    project = here.project()
    before = project.repo.head()
    with reporting() as terminal:
        problems = import_changes(project, terminal, names or None)
    if not bucket_inputs(project):
        show("no input is a bucket; minipach input add")
    elif not problems and project.repo.head() == before:
        show("nothing has changed")
    leave_with(problems)


@guarded
def remove(context: typer.Context, name: NAME) -> None:
    """Import no more from a bucket. The dataset and its files stay.

    Example: minipach input remove raw
    """
    from minipach.triggers.bucket_inputs import remove as take_out

    here: Here = context.obj
    take_out(here.project(), name)
    show(f"{name}: no longer an input from a bucket")
