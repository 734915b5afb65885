"""A new project: its superdataset, made or adopted."""

from __future__ import annotations

import os
from pathlib import Path

from minipach.git.child_environment import entered, own_environment
from minipach.git.datalad_imports import datalad_create
from minipach.git.repo import Repo, need_identity
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import DATALAD_CONFIG, EDITED_FILES, JSONNET_FILES, PROJECT_MARK, SPECS, TEMPLATE_RECORD
from minipach.project.parameters import PARAMETERS
from minipach.project.project import Project, check_encoding, find_project, is_marked
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted

_PROJECT_ATTRIBUTES = (
    "* annex.backend=SHA256E",
    "**/.git* annex.largefiles=nothing",
    *(f"{name} annex.largefiles=nothing" for name in SPECS),
    f"**/{TEMPLATE_RECORD} annex.largefiles=nothing",
    *(f"*{ending} annex.largefiles=nothing" for ending in JSONNET_FILES),
    *(f"{name} annex.largefiles=nothing" for name in (*EDITED_FILES, PARAMETERS)),
    "**/code/** annex.largefiles=((mimeencoding=binary)and(largerthan=0))",
)


def init_project(folder: Path) -> tuple[Project, list[str]]:
    """Make a project, or adopt a superdataset, and return what was done, a line each (none: it was one already)."""
    done: list[str] = []
    folder = Path(os.path.realpath(folder))
    if folder.exists() and not folder.is_dir():
        raise UserError(Problem("project.not-a-folder", str(folder), "a file, not a folder"))
    check_encoding(folder)
    config = folder / ".datalad" / "config"
    _check_outside(folder)
    fresh = not config.is_file()
    if fresh:
        if (folder / ".git").exists():
            raise UserError(
                Problem(
                    "project.not-a-dataset",
                    str(folder),
                    "a git repository, but no dataset",
                    f"datalad create --force {quoted(folder)}, then minipach init {quoted(folder)}",
                )
            )
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                Problem(
                    "project.folder-not-empty",
                    str(folder),
                    "not empty",
                    f"datalad create --force {quoted(folder)}, then minipach init {quoted(folder)}",
                )
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # a file system that holds no files, such as /proc
            raise UserError(
                Problem("project.create-failed", str(folder), "no folder can be made there", "choose another folder")
            ) from None
        need_identity(Repo(folder))
        create_dataset(folder, _PROJECT_ATTRIBUTES)
        done.append(f"made the superdataset {folder}")
    repo = Repo(folder)
    need_identity(repo)
    if repo.config(f"{PROJECT_MARK}.version", str(config)) is None:
        repo.git("config", "--file", str(config), f"{PROJECT_MARK}.version", "1")
        repo.git("add", "--", DATALAD_CONFIG, *([".gitattributes"] if fresh else []))
        Repo(folder, own=True).git(
            "commit",
            "--quiet",
            "-m",
            f"{SUBJECT}a project begins here",
            "--",
            DATALAD_CONFIG,
            *([".gitattributes"] if fresh else []),
        )
        done.append(f"marked it as a minipach project in {DATALAD_CONFIG}")
    return find_project(folder), done


def _check_outside(folder: Path) -> None:
    """Raise UserError if a folder that is no project yet is inside one."""
    if is_marked(folder):
        return
    for above in folder.parents:
        if is_marked(above):
            fix = f"work in {quoted(above)}: a folder with a spec.yml is a pipeline"
            raise UserError(Problem("project.inside-another", str(folder), f"inside the project {above}", fix))


def create_dataset(folder: Path, attributes: tuple[str, ...]) -> None:
    """Run `datalad create` in a folder that may hold files, with these lines of `.gitattributes` (not committed)."""
    with entered(own_environment({"DATALAD_LOG_LEVEL": "error"})):
        from datalad.support.exceptions import CommandError, IncompleteResultsError

        try:
            datalad_create()(path=str(folder), force=True, result_renderer="disabled", return_type="list")
        except (IncompleteResultsError, CommandError) as error:
            raise UserError(
                Problem("project.create-failed", str(folder), f"datalad create failed: {' '.join(str(error).split())}")
            ) from None
    (folder / ".gitattributes").write_text("".join(f"{line}\n" for line in attributes))
