"""`image`: build the image of a pipeline from a recipe."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from minipach.cli.common import Here, guarded, say, show, show_json
from minipach.cli.options import JSON, PIPELINE
from minipach.cli.sections import OTHERS, WRITE, Group, add
from minipach.support.text import byte_count, many, short


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(
        cls=Group, help="Build the image of a pipeline from a recipe.", no_args_is_help=True, rich_markup_mode=None
    )
    add(family, OTHERS, build)
    app.add_typer(family, name="image", rich_help_panel=WRITE)


@guarded
def build(
    context: typer.Context,
    pipeline: PIPELINE,
    again: Annotated[
        bool, typer.Option("--again", help="Build also if the recipe has not changed: for newer versions.")
    ] = False,
    allow_builds: Annotated[
        bool,
        typer.Option("--allow-builds", help="Let uv run the code of packages without a wheel, outside of a sandbox."),
    ] = False,
    as_json: JSON = False,
) -> None:
    """Build the image that `minipach.environment` describes.

    Commits the image to the pipeline's branch, with the list of its packages. Does nothing if the recipe has not
    changed since. `minipach schedule` builds a missing image by itself.

    Example: minipach image build edges
    """
    from minipach.environment.build_image import build_image
    from minipach.project.lock import project_lock

    here: Here = context.obj
    project = here.project()
    path = project.path_of(pipeline)
    with project_lock(project.local.lock, wait=True, notify=say, without=[path]):
        built = build_image(project, path, again=again, allow_builds=allow_builds)
    if as_json:
        show_json({"schema": 1, **asdict(built)})
        return
    if not built.is_new:
        show(f"{built.pipeline}: {built.recipe} has not changed since its image was built; nothing to do")
        return
    packages = sum(line.startswith("package: ") for line in built.lines)
    listed = f", {many(packages, 'package')}" if packages else ""
    show(f"{built.pipeline}: built {built.recipe}: {short(built.content)}, {byte_count(built.size)}{listed}")
    show(f"next: minipach plan {built.pipeline}")
