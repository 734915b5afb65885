"""`store`: places for the contents of a project: a folder, a bucket, a host with SSH, a RIA store, a cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minipach.cli.common import Here, guarded, say, show, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import OTHERS, SHARE, Group, add
from minipach.cli.tables import show_table
from minipach.support.errors import Problem, UserError
from minipach.support.text import byte_count

NAME = Annotated[str, typer.Argument(metavar="STORE", help="Select the store by its name.")]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(
        cls=Group, help="Set up, list and check stores for contents.", no_args_is_help=True, rich_markup_mode=None
    )
    add(family, OTHERS, add_, name="add")
    add(family, OTHERS, list_, name="list")
    add(family, OTHERS, check, remove)
    app.add_typer(family, name="store", rich_help_panel=SHARE)


@guarded
def add_(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="STORE", help="Call the store and its remotes so.")],
    folder: Annotated[
        str | None, typer.Option("--dir", metavar="DIR", help="Use a folder, such as that of another disk.")
    ] = None,
    s3: Annotated[str | None, typer.Option("--s3", metavar="URL", help="Use the S3 server at this address.")] = None,
    bucket: Annotated[
        str | None, typer.Option("--bucket", metavar="NAME", help="Use this bucket; make it if there is none.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", metavar="PREFIX", help="Begin all keys with PREFIX.")
    ] = None,
    ssh: Annotated[
        str | None, typer.Option("--ssh", metavar="HOST:PATH", help="Use a folder on a host with SSH and rsync.")
    ] = None,
    ria: Annotated[
        str | None,
        typer.Option("--ria", metavar="URL", help="Use a RIA store at ria+file:///PATH or ria+ssh://HOST/PATH."),
    ] = None,
    rclone: Annotated[
        str | None,
        typer.Option("--rclone", metavar="REMOTE:PATH", help="Use a remote that rclone knows on this machine."),
    ] = None,
) -> None:
    """Set up a store for the contents of all repos.

    Proves the store first: writes an object, reads it back, compares and removes it. In a clone, the name alone enables
    a store that the project has. The credentials of an S3 server come from AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY, from ~/.aws/credentials or from the keyring. They never get into git.

    Example: minipach store add lab --s3 https://s3.example.org --bucket study
    """
    from minipach.storage.setup import add as add_store
    from minipach.storage.store import Store, store_of

    here: Here = context.obj
    project = here.project()
    places = {"--dir": folder, "--s3": s3, "--ssh": ssh, "--ria": ria, "--rclone": rclone}
    given = [option for option, value in places.items() if value is not None]
    for option, value in {**places, "--bucket": bucket, "--prefix": prefix}.items():
        if value == "":
            raise UserError(Problem("store.bad-address", option, "empty", "give a value, or leave the option out"))
    if len(given) > 1:
        raise UserError(Problem("store.two-places", ", ".join(given), "a store has one place", "give one of them"))
    if (bucket or prefix) and not s3:
        raise UserError(Problem("store.two-places", "--bucket", "only an S3 store has one", "add --s3 URL"))
    if folder is not None:
        store = Store(name, "dir", str(Path(here.directory, folder).absolute()))
    elif s3:
        from minipach.storage.s3 import bucket as place

        at = place(s3, bucket or project.root.name.lower(), prefix or "")
        store = Store(name, "s3", at.url, at.name, at.prefix)
    elif there := ssh or ria or rclone:
        store = Store(name, "ssh" if ssh else "ria" if ria else "rclone", there.rstrip("/"))
    else:
        store = store_of(project, name)
    add_store(project, store, say)
    show(f"{name} is ready: {store.place}")


@guarded
def list_(context: typer.Context, as_json: JSON = False) -> None:
    """List the stores, and how many contents are missing in each.

    Counts contents of the checked-out branch and of the results, as far as this clone knows. A store that came with the
    project and is not confirmed in this clone is named, and its contents are not counted.

    Example: minipach store list
    """
    from minipach.storage.setup import states, unconfirmed, unconfirmed_problem
    from minipach.storage.store import stores

    here: Here = context.obj
    project = here.project()
    found = [(store, states(project, store)) for store in stores(project).values()]
    for store in unconfirmed(project):
        say(str(unconfirmed_problem(project, store)))
    if as_json:
        fields = ("name", "kind", "url", "bucket", "prefix")
        data = [{**{f: getattr(s, f) for f in fields}, "repos": [one.as_json() for one in rows]} for s, rows in found]
        show_json({"schema": 1, "stores": data})
        return
    cells = []
    for store, rows in found:
        here_now = [one for one in rows if one.enabled]
        missing, size = "-", "-"
        if here_now:
            missing = str(sum(one.missing.number for one in here_now))
            size = byte_count(sum(one.missing.size for one in here_now))
        cells.append([store.name, store.kind, store.place, f"{len(here_now)}/{len(rows)}", missing, size])
    if not cells:
        say("no stores; minipach store add --help")
    else:
        show_table(["STORE", "KIND", "PLACE", "REPOS", "MISSING", "BYTES"], cells, right="REPOS MISSING BYTES")


@guarded
def check(context: typer.Context, name: NAME, as_json: JSON = False) -> None:
    """Prove a store again, and list what it lacks of each repo.

    Example: minipach store check lab
    """
    from minipach.storage.setup import check as check_store

    here: Here = context.obj
    rows = check_store(here.project(), name)
    if as_json:
        show_json({"schema": 1, "store": name, "repos": [row.as_json() for row in rows]})
        return
    cells = []
    for row in rows:
        state = "enabled" if row.enabled else "not enabled"
        cells.append([row.path, state, str(row.missing.number), byte_count(row.missing.size)])
    show_table(["REPO", "STATE", "MISSING", "BYTES"], cells, right="MISSING BYTES")
    if any(not row.enabled for row in rows):
        say(f"minipach store add {name} enables it in the other repos")


@guarded
def remove(
    context: typer.Context,
    name: NAME,
    only_here: Annotated[bool, typer.Option("--here", help="Remove it from this clone alone.")] = False,
) -> None:
    """Take a store out of the project. Its objects stay.

    Refuses if a content of the project is in this store alone. With --here, only this clone forgets the store. It can
    then send to its other remotes. `minipach store add STORE` brings the store back.

    Example: minipach store remove lab
    """
    from minipach.storage.setup import remove as remove_store
    from minipach.storage.setup import remove_here

    here: Here = context.obj
    if only_here:
        remove_here(here.project(), name, say)
        show(f"{name} is removed from this clone; the project has it still")
        return
    remove_store(here.project(), name, say)
    show(f"{name} is removed; its objects stay where they are")
