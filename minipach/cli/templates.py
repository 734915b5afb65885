"""`templates`: what a new pipeline can be made from, and where it is looked for."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from minipach.cli.common import Here, guarded, say, show, show_exactly, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import OTHERS, WRITE, Group
from minipach.cli.sections import add as add_to
from minipach.cli.tables import show_table
from minipach.project.project import Project
from minipach.support.errors import UserError
from minipach.support.text import printable

SOURCE = Annotated[str, typer.Argument(metavar="SOURCE", help="Name the source: its templates are SOURCE/TEMPLATE.")]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(
        cls=Group, help="List and add templates of pipelines.", no_args_is_help=True, rich_markup_mode=None
    )
    add_to(family, OTHERS, list_, name="list")
    add_to(family, OTHERS, show_, name="show")
    add_to(family, OTHERS, add, update, remove)
    app.add_typer(family, name="templates", rich_help_panel=WRITE)


@guarded
def list_(context: typer.Context, as_json: JSON = False) -> None:
    """List the templates that come with minipach, and those of your own sources.

    Example: minipach templates list
    """
    from minipach.templates.library import available
    from minipach.templates.sources import sources

    project = _project(context)
    found = available(project)
    if as_json:
        own = [one.as_json() for one in sources(project) if one.name]
        show_json({"schema": 1, "templates": [one.as_json() for one in found], "sources": own})
        return
    show_table(
        ["NAME", "VERSION", "MAKES"], [[one.name, one.version, one.summary] for one in found if not one.problems]
    )
    for problem in (problem for one in found for problem in one.problems):
        say(f"note: {problem}")


@guarded
def show_(
    context: typer.Context,
    template: Annotated[str, typer.Argument(metavar="TEMPLATE", help="Select the template by its name.")],
    as_json: JSON = False,
) -> None:
    """Show the inputs, the parameters and the spec of a template.

    Example: minipach templates show edges
    """
    from minipach.templates.library import describe

    found = describe(template, _project(context))
    if as_json:
        show_json({"schema": 1, **found.as_json()})
        return
    show(f"{found.name} {found.version}: {found.summary}")
    if found.description:
        show(printable(found.description))
    for one in found.needs:
        show(f"needs: {printable(one)}")
    rows = [["--input", one.name, one.glob, one.description] for one in found.inputs]
    for name, schema in found.parameters.get("properties", {}).items():
        needed = name in found.parameters.get("required", ())
        rows.append(["--set", name, "required" if needed else _default(schema), schema.get("description", "")])
    show_table(["OPTION", "NAME", "DEFAULT", "MEANING"], rows)
    show("")
    show_exactly(found.spec.rstrip("\n"))
    for path in sorted(found.code):
        show(f"file: {path}")


@guarded
def add(
    context: typer.Context,
    name: SOURCE,
    place: Annotated[str, typer.Argument(metavar="FOLDER|URL", help="Name a folder, or a git repository.")],
) -> None:
    """Add a folder or a git repository with templates, for this clone of the project.

    A repository is copied without a checkout. Nothing in it runs.

    Example: minipach templates add lab https://git.example.org/lab/templates.git
    """
    from minipach.templates.library import add as add_templates

    here: Here = context.obj
    found = add_templates(here.project(), name, place, here.directory)
    show(f"{name}: {', '.join(one.name for one in found if not one.problems)}")
    for problem in (problem for one in found for problem in one.problems):
        say(f"note: {problem}")


@guarded
def update(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SOURCE", help="Select a source. [default: all]")] = "",
) -> None:
    """Copy the git repositories of your sources again.

    Pipelines that exist do not change. Run `minipach new NAME --update` for each that should follow.

    Example: minipach templates update
    """
    from minipach.templates.sources import chosen, update_source

    here: Here = context.obj
    project = here.project()
    for source in chosen(project, name):
        changed = update_source(project, source)
        state = (
            f"now at {source.commit()}" if changed else "up to date" if source.is_git else "a folder, read each time"
        )
        show(f"{source.name}: {state}")


@guarded
def remove(context: typer.Context, name: SOURCE) -> None:
    """Remove a source of templates. Pipelines that were made from it stay.

    Example: minipach templates remove lab
    """
    from minipach.templates.sources import remove_source

    here: Here = context.obj
    remove_source(here.project(), name)
    show(f"{name}: removed")


def _project(context: typer.Context) -> Project | None:
    """Return the project, or None outside of one: the templates that come with minipach are known everywhere."""
    here: Here = context.obj
    try:
        return here.project()
    except UserError:
        return None


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)
