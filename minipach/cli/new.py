"""`new`: a folder with a spec.yml, from a script, a Dockerfile, a Makefile, a DVC stage or a Pachyderm spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import Here, guarded, say, show, show_exactly, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import WRITE, add
from minipach.project.project import find_project
from minipach.support.errors import Problem, UserError
from minipach.support.text import many, printable, quoted

if TYPE_CHECKING:
    from minipach.project.project import Project
    from minipach.templates.create import NewPipeline

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
            help="Make it from a template, a script, a Dockerfile, Makefile:TARGET, Snakefile:RULE, dvc.yaml:STAGE "
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
    arguments: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="K=V", help="Set an argument of the jsonnet template. May be repeated."),
    ] = None,
    update: Annotated[
        bool,
        typer.Option("--update", help="Merge the newest version of its template, or render its jsonnet again."),
    ] = False,
    conflicts: Annotated[
        bool, typer.Option("--conflicts", help="With --update: write files with conflicts, with the marks of git.")
    ] = False,
    save: Annotated[bool, typer.Option("--commit", help="Commit the new files.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the spec, and write nothing.")] = False,
    as_json: JSON = False,
) -> None:
    """Create a pipeline from a template, a script or another tool.

    Writes a folder with a `spec.yml` and a comment at each guess, then lists its datums. Runs nothing. A Makefile
    or Snakefile is read by its own tool in a sandbox (bubblewrap). Lists what cannot be carried over.

    Example: minipach new edges --from edges --input 'images:/*.jpg' --set blur=7
    """
    from minipach.rerun.working_tree import assess, working_project
    from minipach.templates.create import NewPipeline, commit, draft_of, write
    from minipach.templates.draft import to_yaml

    here: Here = context.obj
    project = here.project()
    wanted = NewPipeline(name.strip("/"), source, inputs or (), command or (), image, values or (), arguments or ())
    if update or conflicts:
        _update(project, wanted, update=update, conflicts=conflicts, dry_run=dry_run, save=save, as_json=as_json)
        return
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


def _update(
    project: Project, wanted: NewPipeline, *, update: bool, conflicts: bool, dry_run: bool, save: bool, as_json: bool
) -> None:
    """Merge the newest version of its template into a pipeline, and report what has changed."""
    from minipach.templates.create import commit
    from minipach.templates.update import apply, update_of

    others = wanted.source or wanted.inputs or wanted.command or wanted.image
    if others or not update:
        fix = "give only --set, --arg, --conflicts, --commit, --dry-run and --json beside it"
        raise UserError(Problem("new.bad-update", "--update", "changes a pipeline that was made from a template", fix))
    path = next((place.path for place in project.places if project.name_of(place.path) == wanted.name), wanted.name)
    found = update_of(project, path, wanted.values, wanted.arguments)
    if dry_run:
        files = sorted(f"{path}/{one}" for one in (*(file.path for file in found.write), *found.remove))
    else:
        files = apply(project, path, found, conflicts=conflicts)
    marked = [f"{path}/{one}" for one in found.conflicts]
    if save and files and not dry_run and not marked:
        sources = [f"{path}/{one}" for one in found.sources]
        commit(project, path, [*files, *sources], message=f"update {wanted.name} to {found.template} {found.new}")
    if as_json:
        fields = {"pipeline": path, "template": found.template, "from": found.old, "to": found.new, "files": files}
        kept = [f"{path}/{one}" for one in found.kept]
        more = {"conflicts": marked, "kept": kept, "left_out": list(found.left_out), "written": not dry_run}
        show_json({"schema": 1, **fields, **more})
        return
    for file in files:
        note = " (conflict)" if file in marked else ""
        show(f"{'would change' if dry_run else 'changed'} {printable(file)}{note}")
    for sentence in found.left_out:
        say(f"left out: {sentence}")
    for one in found.kept:
        say(f"note: {path}/{one} is no longer in the template; you have changed it, so it stays")
    if not files:
        show(f"{wanted.name}: up to date with {found.template} {found.new}")


def _next(name: str, datums: list[str], *, committed: bool) -> list[str]:
    """Return the commands that follow."""
    pipeline = name.rpartition("/")[2]
    steps = [f"minipach run-one {quoted(f'{pipeline}:{datums[0]}')}"] if datums else []
    if not committed:
        steps.append(f"git add {quoted(name)} && git commit -m {quoted(f'add the pipeline {pipeline}')}")
    return [*steps, "minipach schedule"]
