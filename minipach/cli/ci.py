"""`ci`: one comment per pull request, statuses of its commit, and workflow files for a forge's CI."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import Here, guarded, show, show_exactly, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import OTHERS, SHARE, Group, add

if TYPE_CHECKING:
    from minipach.forges.pull_request import CommitStatus
    from minipach.forges.surroundings import Surroundings
    from minipach.project.project import Project


class ForgeName(StrEnum):
    """A forge whose API is known."""

    github = "github"
    gitlab = "gitlab"
    forgejo = "forgejo"
    gitea = "gitea"
    bitbucket = "bitbucket"
    bitbucket_server = "bitbucket-server"


FORGE = Annotated[
    ForgeName | None, typer.Option("--forge", help="Name the kind of forge. [default: from the CI's variables]")
]
API = Annotated[str, typer.Option("--api", metavar="URL", help="Set the API's address. [default: from the variables]")]
REPO = Annotated[
    str, typer.Option("--repo", metavar="OWNER/NAME", help="Name the repository. [default: from the CI's variables]")
]
REQUEST = Annotated[
    str,
    typer.Option("--pr", metavar="N|URL", help="Name the pull request by number or page. [default: of the CI's run]"),
]
TOKEN_FILE = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="Read the token from FILE. [default: from a variable]"),
]
ALLOW_HTTP = Annotated[bool, typer.Option("--allow-http", help="Allow a forge without encryption.")]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(
        cls=Group,
        help="Report to a forge what a change costs and changes.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    add(family, OTHERS, comment, status, init)
    app.add_typer(family, name="ci", rich_help_panel=SHARE)


@guarded
def comment(
    context: typer.Context,
    base: Annotated[
        str, typer.Option("--base", metavar="REV", help="Compare with this commit. [default: the target of the run]")
    ] = "",
    forge: FORGE = None,
    api: API = "",
    repo: REPO = "",
    request: REQUEST = "",
    token_file: TOKEN_FILE = None,
    allow_http: ALLOW_HTTP = False,
    dry_run: DRY_RUN = False,
    as_json: JSON = False,
) -> None:
    """Keep one comment with the report of a change on its pull request.

    The comment is that of `minipach report --base REV --markdown`. It is edited if there is one, else written. Forge,
    repository, pull request and token come from the variables of the CI. MINIPACH_CI_TOKEN has precedence.

    Example: minipach ci comment --dry-run, or minipach ci comment --pr https://forge.example.org/lab/study/pulls/7
    """
    from minipach.forges.dialects import FORGES, GitHub
    from minipach.forges.pull_request import keep_comment, marked, text_limit
    from minipach.forges.surroundings import checked, need_base, need_number, open_forge, token_of
    from minipach.views.change_report import as_markdown, read_change

    here: Here = context.obj
    project = here.project()
    found = _found(forge, api, repo, request, base=base)
    since = need_base(found)
    kind = FORGES.get(found.forge, GitHub)
    if dry_run:
        show_exactly(marked(as_markdown(read_change(project, since), text_limit(kind))).rstrip("\n"))
        return
    need_number(checked(found))
    token = token_of(found.forge, os.environ, token_file)
    there = open_forge(found, token, plain=allow_http)
    text = as_markdown(read_change(project, since), text_limit(kind))
    done = keep_comment(there, text.replace(token, "***"))
    if as_json:
        show_json({"schema": 1, "forge": found.forge, "repo": found.repo, "number": found.number, **done.as_json()})
        return
    extra = f", {done.removed} of other runs removed" if done.removed else ""
    show(f"{found.repo} {found.number}: comment {done.action}{extra}")


@guarded
def status(
    context: typer.Context,
    commit: Annotated[
        str, typer.Option("--commit", metavar="SHA", help="Set statuses of this commit. [default: of the CI's run]")
    ] = "",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Begin the names of statuses with NAME.")
    ] = "minipach",
    page: Annotated[
        str, typer.Option("--url", metavar="URL", help="Link statuses to this page. [default: that of the run]")
    ] = "",
    forge: FORGE = None,
    api: API = "",
    repo: REPO = "",
    token_file: TOKEN_FILE = None,
    allow_http: ALLOW_HTTP = False,
    dry_run: DRY_RUN = False,
    as_json: JSON = False,
) -> None:
    """Set statuses of a commit: its pipelines, and whether contents are reachable.

    NAME/pipelines is pending while datums are to run, and a failure if one failed. NAME/content counts the annexed keys
    that are here or that a remote of this clone has. The remotes are asked.

    Example: minipach ci status --dry-run, or minipach ci status --forge gitlab --repo lab/study --commit SHA
    """
    from minipach.forges.pull_request import CommitStatus, set_status
    from minipach.forges.surroundings import checked, need_commit, open_forge, token_of
    from minipach.views.reachable import read_reachable

    here: Here = context.obj
    project = here.project()
    found = _found(forge, api, repo, "", commit=commit, page=page)
    there, sha = None, ""
    if not dry_run:
        sha = need_commit(checked(found))
        there = open_forge(found, token_of(found.forge, os.environ, token_file), plain=allow_http)
    contents = read_reachable(project)
    statuses = [
        _pipelines(project, f"{name}/pipelines"),
        CommitStatus(f"{name}/content", "failure" if contents.missing else "success", contents.text),
    ]
    for one in statuses if there is not None else ():
        assert there is not None
        set_status(there, sha, one, found.page)
    if as_json:
        rows = [one.as_json() for one in statuses]
        show_json({"schema": 1, "sent": not dry_run, "statuses": rows, "content": contents.as_json()})
        return
    for one in statuses:
        show(f"{one.name}: {one.state}: {one.text}")


class WorkflowName(StrEnum):
    """A CI that there is a workflow file for."""

    github = "github"
    gitlab = "gitlab"
    forgejo = "forgejo"
    jenkins = "jenkins"


@guarded
def init(
    context: typer.Context,
    kind: Annotated[
        WorkflowName,
        typer.Argument(metavar="github|gitlab|forgejo|jenkins", help="Select the CI.", show_choices=False),
    ],
    write: Annotated[bool, typer.Option("--write", help="Write the file to its place in the project.")] = False,
) -> None:
    """Print a workflow file for a CI, or write it.

    On pull requests it reports the cost, runs, and keeps the results. On the main branch it publishes in one commit. It
    builds images whose Dockerfile changed. Secrets come from the store of the forge.

    Example: minipach ci init github --write
    """
    from minipach.forges.workflow_files import workflow, write_workflow

    if not write:
        show_exactly(workflow(kind.value).rstrip("\n"))
        return
    here: Here = context.obj
    path, is_new = write_workflow(here.project().root, kind.value)
    show(f"wrote {path}; commit it with datalad save" if is_new else f"{path} is there already")


def _found(
    forge: ForgeName | None, api: str, repo: str, request: str, *, base: str = "", commit: str = "", page: str = ""
) -> Surroundings:
    """Return what the CI's variables say, with the options in place of them."""
    from dataclasses import replace

    from minipach.forges.surroundings import default_api, detect, of_page

    found = detect(os.environ)
    if forge is not None and found.forge != forge.value:
        url = found.url if found.forge in ("", forge.value) else ""
        found = replace(found, forge=forge.value, url=url or default_api(forge.value))
    if there := of_page(request):
        found = replace(there, commit=found.commit, base=found.base, page=found.page or there.page)
        found = replace(found, forge=forge.value) if forge else found
    elif request:
        found = replace(found, number=request)
    given = {"url": api, "repo": repo, "base": base, "commit": commit, "page": page}
    return replace(found, **{key: value for key, value in given.items() if value})


def _pipelines(project: Project, name: str) -> CommitStatus:
    from minipach.forges.pull_request import CommitStatus
    from minipach.support.text import many
    from minipach.views.datum_table import read_tables

    tables, plans = read_tables(project)
    failed = sum(table.counts.get(state, 0) for table in tables.values() for state in ("failed", "lost", "skipped"))
    to_run = sum(row.action == "run" for table in tables.values() for row in table.rows)
    waits = sum(bool(table.waits) or "blocked" in table.counts for table in tables.values())
    parts = [many(len(plans.problems), "problem")] if plans.problems else []
    parts += [f"{many(failed, 'datum')} failed"] if failed else []
    parts += [f"{many(to_run, 'datum')} to run"] if to_run else []
    parts += [f"{many(waits, 'pipeline')} waiting"] if waits else []
    text = ", ".join(parts) or f"{many(len(tables), 'pipeline')} current"
    return CommitStatus(name, "failure" if plans.problems or failed else "pending" if parts else "success", text)
