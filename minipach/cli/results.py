"""`results`: the stored results of each pipeline; exchange them with other clones, and drop what nobody needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import USER, Here, guarded, say, show, show_json
from minipach.cli.options import EXCHANGE, JSON, LOCK_WAIT, PIPELINES
from minipach.cli.sections import OTHERS, SHARE, Group, add
from minipach.cli.tables import show_table
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.text import byte_count, many, quoted

if TYPE_CHECKING:
    from minipach.publish.garbage import Collection, Stored
    from minipach.publish.results_exchange import Exchange


_STATES = {True: "published", False: "stored"}


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(
        cls=Group,
        help="List, exchange and clean up stored results.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    add(family, OTHERS, list_, name="list")
    add(family, OTHERS, pull, push)
    add(family, OTHERS, collect_, name="gc")
    app.add_typer(family, name="results", rich_help_panel=SHARE)


@guarded
def list_(
    context: typer.Context,
    what: PIPELINES = None,
    as_json: JSON = False,
    everything: Annotated[bool, typer.Option("--all", help="List each result.")] = False,
) -> None:
    """Count the stored and published results of each pipeline.

    Example: minipach results list edges --all
    """
    from minipach.publish.garbage import stored
    from minipach.publish.results_exchange import datasets

    here: Here = context.obj
    project = here.project()
    found = {project.name_of(path): stored(project, path) for path in datasets(project, what or [])}
    if as_json:
        show_json({"schema": 1, "pipelines": [_as_json(n, rows, everything=everything) for n, rows in found.items()]})
        return
    if everything:
        cells = [
            [
                name,
                row.id[:12],
                "published" if row.published else "stored",
                byte_count(row.bytes),
                byte_count(row.annexed),
                row.name,
            ]
            for name, rows in found.items()
            for row in rows
        ]
        show_table(["PIPELINE", "ID", "STATE", "IN-GIT", "ANNEXED", "DATUM"], cells, right="IN-GIT ANNEXED")
        return
    counts = [[name, *map(str, _counts(rows)), byte_count(sum(r.bytes for r in rows))] for name, rows in found.items()]
    titles = ["PIPELINE", "RESULTS", "DATUMS", "PUBLISHED", "IN-GIT"]
    show_table(titles, counts, right=" ".join(titles[1:]))


def _counts(rows: Sequence[Stored]) -> tuple[int, int, int]:
    """Return how many results, different datums and published results these are."""
    return len(rows), len({row.id for row in rows}), sum(row.published for row in rows)


def _as_json(name: str, rows: Sequence[Stored], *, everything: bool) -> dict[str, object]:
    data: dict[str, object] = {
        "name": name,
        **dict(zip(("results", "ids", "published"), _counts(rows), strict=True)),
        "bytes": sum(r.bytes for r in rows),
    }
    if everything:
        data["rows"] = [r.as_json() for r in rows]
    return data


@guarded
def pull(context: typer.Context, words: EXCHANGE = None, as_json: JSON = False, wait: LOCK_WAIT = True) -> None:
    """Fetch and merge the results of a remote.

    A merge has no conflicts. File contents are fetched when they are needed.

    Example: minipach results pull, or minipach results pull colleague edges
    """
    from minipach.publish.results_exchange import pull as pull_results

    here: Here = context.obj
    _exchange(here.project(), words or [], pull_results, as_json=as_json, wait=wait)


@guarded
def push(
    context: typer.Context,
    words: EXCHANGE = None,
    data: Annotated[
        bool, typer.Option("--data/--no-data", help="Copy the annexed contents of the results, or leave them out.")
    ] = True,
    as_json: JSON = False,
    wait: LOCK_WAIT = True,
) -> None:
    """Send results and their contents to a remote.

    Fetches and merges the results of the remote first. Sends the contents that are present here.

    Example: minipach results push, or minipach results push origin edges --no-data
    """
    from minipach.publish.results_exchange import push as push_results

    def send(project: Project, path: str, remote: str | None) -> Exchange:
        return push_results(project, path, remote, data=data)

    here: Here = context.obj
    _exchange(here.project(), words or [], send, as_json=as_json, wait=wait)


def _exchange(
    project: Project,
    words: Sequence[str],
    act: Callable[[Project, str, str | None], Exchange],
    *,
    as_json: bool,
    wait: bool,
) -> None:
    """Do it for each pipeline; trouble with one doesn't keep the others from it."""
    from minipach.project.lock import project_lock
    from minipach.publish.results_exchange import choose

    remote, paths = choose(project, words)
    done: list[Exchange] = []
    problems: list[Problem] = []
    with project_lock(project.local.lock, wait=wait, notify=say):
        for path in paths:
            try:
                done.append(act(project, path, remote))
            except UserError as error:
                problems += error.problems
    problems += [p for one in done for p in one.problems]
    for problem in problems:
        say(str(problem))
    if as_json:
        show_json({"schema": 1, "pipelines": [one.as_json() for one in done], "problems": problems_json(problems)})
    for one in () if as_json else done:
        parts = [f"{many(one.came, 'result')} came from {one.remote}"] if one.came else []
        parts += [f"{many(one.went, 'result')} went to {one.remote}"] if one.went else []
        parts += [f"{many(one.contents, 'content')} copied"] if one.contents else []
        show(
            f"{one.pipeline}: {', '.join(parts) or f'nothing new with {one.remote}'}; {many(one.results, 'result')} now"
        )
        for note in one.notes:
            show(f"  {note}")
    if problems:
        raise typer.Exit(USER)


@guarded
def collect_(
    context: typer.Context,
    what: PIPELINES = None,
    drop: Annotated[bool, typer.Option("--drop", help="Remove them from the results branch.")] = False,
    keep_days: Annotated[
        float,
        typer.Option(
            "--keep-days", min=0, metavar="N", help="Keep results that were computed or fetched in the last N days."
        ),
    ] = 30,
    as_json: JSON = False,
    wait: LOCK_WAIT = True,
) -> None:
    """List or remove results that are no longer needed.

    Lists results that no branch, recent job or current datum needs. With --drop, removes them. Keeps annexed
    contents.

    Example: minipach results gc, then minipach results gc --drop
    """
    import contextlib

    from minipach.project.lock import project_lock
    from minipach.publish.garbage import collect
    from minipach.publish.results_exchange import datasets

    here: Here = context.obj
    project = here.project()
    found: dict[str, Collection] = {}
    problems: list[Problem] = []
    lock = project_lock(project.local.lock, wait=wait, notify=say) if drop else contextlib.nullcontext()
    with lock:
        for path in datasets(project, what or []):
            try:
                found[path] = collect(project, path, keep_days=keep_days, now=time.time(), drop=drop)
            except UserError as error:
                problems += error.problems
    for problem in problems:
        say(str(problem))
    if as_json:
        show_json(
            {"schema": 1, "pipelines": [c.as_json() for c in found.values()], "problems": problems_json(problems)}
        )
    else:
        for path, one in found.items():
            _show_collection(project, path, one)
    if problems:
        raise typer.Exit(USER)


def _show_collection(project: Project, path: str, one: Collection) -> None:
    if not one.unneeded:
        show(f"{one.pipeline}: {many(len(one.kept), 'result')}, all needed")
        return
    size = byte_count(sum(s.bytes for s in one.unneeded))
    verb = "dropped" if one.commit else "not needed"
    show(f"{one.pipeline}: {many(len(one.unneeded), 'result')} {verb} ({size} in git), {len(one.kept)} kept")
    cells = [[row.id[:12], byte_count(row.bytes), byte_count(row.annexed), row.name] for row in one.unneeded]
    show_table(["ID", "IN-GIT", "ANNEXED", "DATUM"], cells, right="IN-GIT ANNEXED")
    if not one.commit:
        show(f"minipach results gc {one.pipeline} --drop removes them from the results branch")
    if one.annexed:
        repo = project.root / path
        show(
            f"their annexed contents stay ({byte_count(one.annexed)}); when no remote has these results either, "
            f"git -C {quoted(repo)} annex unused lists them, and annex dropunused removes those that another "
            "repository has, too; what is only here is never dropped"
        )
