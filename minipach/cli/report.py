"""`report`: the project as one file to hand in, and the effect of a change for a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import Here, guarded, leave_with, need_place, say, show, show_exactly, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import LOOK, add
from minipach.support.errors import Problem, UserError

if TYPE_CHECKING:
    from minipach.project.project import Project


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, LOOK, report)


@guarded
def report(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.html", help="Write one HTML file, and a JSON file beside it."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="REV", help="Report the change since a commit of the superdataset instead."),
    ] = None,
    as_text: Annotated[bool, typer.Option("--text", help="Print plain text. This is the default.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown for a forge; needs --base.")] = False,
    as_json: JSON = False,
) -> None:
    """Report what outputs were made of, and how to make them again.

    With -o, writes an HTML file without outside references, below 5 MB, and all data as JSON beside it. With --base,
    reports what a change would cost before anything runs, and what it changed after. Exit code 2: a pipeline has a
    problem. The report is written.

    Example: minipach report -o report.html, or minipach report --base origin/main --markdown
    """
    chosen = [name for name, given in (("--text", as_text), ("--markdown", as_markdown), ("--json", as_json)) if given]
    if len(chosen) > 1:
        raise UserError(Problem("option.conflict", "", f"{' and '.join(chosen)} exclude each other", "use one of them"))
    here: Here = context.obj
    project = here.project()
    if base is not None:
        if output is not None:
            fix = "redirect the output: minipach report --base REV --markdown > FILE"
            raise UserError(Problem("option.conflict", "", "-o and --base exclude each other", fix))
        _change(project, base, as_markdown=as_markdown, as_json=as_json)
        return
    if output is not None:
        need_place(output)
    if as_markdown:
        raise UserError(Problem("option.needs-base", "--markdown", "Markdown is for a change", "add --base REV"))
    from minipach.views.project_report import as_lines, read_report

    found = read_report(project)
    if output is not None:
        from minipach.console.report_page import report_html

        _write(output, report_html(project, found), found.as_json())
    if as_json:
        show_json(found.as_json())
    elif as_text or output is None:
        for line in as_lines(found):
            show(line)
    leave_with([p for pipeline in found.pipelines for p in pipeline.problems])


def _change(project: Project, base: str, *, as_markdown: bool, as_json: bool) -> None:
    from minipach.views import change_report

    found = change_report.read_change(project, base)
    if as_json:
        show_json(found.as_json())
    elif as_markdown:
        show_exactly(change_report.as_markdown(found).rstrip("\n"))
    else:
        for line in change_report.as_text(found):
            show(line)
    leave_with(found.problems)


def _write(file: Path, page: str, data: dict[str, object]) -> None:
    """Write the page and its data; neither is there in part."""
    from minipach.support.files import write_pieces, write_whole
    from minipach.views.change_report import as_json_pieces

    beside = file.with_suffix(".json")
    if beside == file:
        raise UserError(Problem("option.bad-value", str(file), "the page and its data have one name", "use FILE.html"))
    write_pieces(beside, as_json_pieces(data))
    write_whole(file, page)
    say(f"wrote {file} and {beside}")
