"""`new`: a folder with a spec.yml, from a script, a Dockerfile, a Makefile, a DVC stage or a Pachyderm spec."""

from __future__ import annotations

from typing import Annotated

import typer

from minipach.cli.common import Here, guarded, say, show, show_exactly, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import WRITE, add
from minipach.project.project import find_project
from minipach.support.errors import UserError
from minipach.support.text import many, printable, quoted

_SHOWN = 5  # datums


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, WRITE, new)


@guarded
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Create the pipeline in this folder of the project.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND", help="Set the command of the pipeline; begin it with `--`. [default: as the source says]"
        ),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="FILE[:PART]|TEMPLATE",
            help="Make the pipeline from a template, a script, a Dockerfile, Makefile:TARGET, dvc.yaml:STAGE "
            "or a Pachyderm spec.",
        ),
    ] = "",
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="REPO[:GLOB]",
            help="Read from a dataset; each match of GLOB is a datum. May be repeated. [default: the only dataset]",
        ),
    ] = None,
    image: Annotated[str, typer.Option("--image", metavar="IMAGE", help="Run the command in this image.")] = "",
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V", help="Set a parameter of the template. May be repeated."),
    ] = None,
    save: Annotated[bool, typer.Option("--commit", help="Commit the new files.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the spec, and write nothing.")] = False,
    as_json: JSON = False,
) -> None:
    """Create a pipeline from a template, a script or another tool's file.

    Writes a folder with a `spec.yml` and a comment at each guess, then lists its datums. Runs nothing. A Makefile is
    read by make in a sandbox (bubblewrap). Lists what cannot be carried over.

    Example: minipach new edges --from edges.py --input 'images:/*.jpg'
    """
    from minipach.rerun.working_tree import assess, working_project
    from minipach.templates.create import Wanted, commit, draft_of, write
    from minipach.templates.draft import to_yaml

    here: Here = context.obj
    project = here.project()
    wanted = Wanted(name.strip("/"), source, inputs or (), command or (), image, values or ())
    draft = draft_of(project, wanted, here.directory)
    name = wanted.name
    if dry_run and not as_json:
        show_exactly(to_yaml(draft).rstrip("\n"))
    files = [] if dry_run else write(project, name, draft)
    if save and files:
        commit(project, name, files)
    datums: list[str] = []
    if files:
        project = working_project(find_project(project.root), [name])
        try:
            datums = [datum.name for datum in assess(project, name, committed=False).datums]
        except UserError as error:
            for problem in error.problems:
                say(f"note: {problem}")
    steps = _next(name, datums, committed=save)
    if as_json:
        fields = {"pipeline": name, "spec": to_yaml(draft), "files": files, "datums": len(datums)}
        more = {"first": datums[:_SHOWN], "guesses": draft.sentences(), "left_out": list(draft.left_out)}
        show_json({"schema": 1, **fields, **more, "committed": save and bool(files), "next": steps if files else []})
        return
    for file in files:
        show(f"wrote {printable(file)}")
    for sentence in draft.sentences():
        say(f"guess: {sentence}")
    for sentence in draft.left_out:
        say(f"left out: {sentence}")
    if files:
        shown = ", ".join(datums[:_SHOWN]) + (", ..." if len(datums) > _SHOWN else "")
        show(f"{many(len(datums), 'datum')}{f': {shown}' if datums else ''}")
        for step in steps:
            show(f"next: {step}")


def _next(name: str, datums: list[str], *, committed: bool) -> list[str]:
    """Return the commands that follow."""
    pipeline = name.rpartition("/")[2]
    steps = [f"minipach run-one {quoted(f'{pipeline}:{datums[0]}')}"] if datums else []
    if not committed:
        steps.append(f"git add {quoted(name)} && git commit -m {quoted(f'add the pipeline {pipeline}')}")
    return [*steps, "minipach schedule"]
