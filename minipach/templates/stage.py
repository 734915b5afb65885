"""A step of a Makefile or a DVC project as a pipeline of one datum, whose command sees the files at their old paths."""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minipach.git.repo import Repo
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.templates.draft import DraftFile
from minipach.templates.inputs import repo_around, stage_inputs

MAX_CODE = 10_000_000  # bytes of one file that goes into code/


@dataclass(frozen=True, slots=True)
class Stage:
    """A step: where it lies, what it reads and writes (paths relative to its folder), and its shell commands.

    Args:
        name: The name that people use: `Makefile:edges.csv`.
        folder: The folder in which the commands run.
        reads: Files and folders that it reads.
        writes: Files and folders that it writes.
        commands: Lines for a POSIX shell.
    """

    name: str
    folder: Path
    reads: Sequence[str]
    writes: Sequence[str]
    commands: Sequence[str]


@dataclass(frozen=True, slots=True)
class StageDraft:
    """The parts of a draft that come from a stage: an input, a command, files, guesses, and what is left out."""

    input: dict[str, Any]
    files: tuple[DraftFile, ...]
    guesses: tuple[str, ...]
    left_out: tuple[str, ...]
    command: tuple[str, ...] = ("sh", "code/run.sh")


def from_stage(project: Project, stage: Stage, but: str) -> StageDraft:
    """Return the parts of a pipeline that runs a stage.

    A path in a dataset of the project is an input. Any other file that git tracks here is copied to `code/`.

    Args:
        project: The project.
        stage: The stage.
        but: The path of the new pipeline.

    Raises:
        UserError: The stage reads nothing that lies in a dataset, or a path leads out of the project.
    """
    repos = [path for path in (*project.repos, *(p.path for p in project.places)) if path != but]
    found: dict[str, set[str]] = {}
    links: list[tuple[str, str, str]] = []  # the path for the command, the repo, the path in it
    files: list[DraftFile] = []
    left_out: list[str] = []
    for word in dict.fromkeys(stage.reads):
        path = in_project(project, stage.name, stage.folder, word)
        if repo := repo_around(repos, path):
            below = path[len(repo) :].strip("/")
            found.setdefault(repo, set()).add(below)
            links.append((_tidy(word), repo, below))
        elif (code := code_file(project, stage.folder / word, _tidy(word))) is not None:
            files.append(code)
        else:
            left_out.append(f"{word}: neither in a dataset of the project nor a small file that git tracks here")
    if not found:
        fix = "datalad create -d . --force FOLDER makes a folder with data a dataset"
        raise UserError(Problem("new.no-input", stage.name, "it reads no file of a dataset of the project", fix))
    if left_out:
        left_out.append("the command may not find what is left out")
    inputs, names = stage_inputs(found)
    laid = [(word, f"{names[_name_key(repo, below, names)]}/{below}".rstrip("/")) for word, repo, below in links]
    script = _script(stage, laid, [file.path.removeprefix("code/") for file in files])
    guesses = ("the command sees its files at the paths that it had; code/run.sh puts them there",)
    return StageDraft(inputs, (DraftFile("code/run.sh", script.encode(), True), *files), guesses, tuple(left_out))


def _name_key(repo: str, below: str, names: dict[str, str]) -> str:
    full = f"{repo}/{below}".rstrip("/")
    return full if full in names else repo  # the whole repo is an input, and so is every path in it


def _script(stage: Stage, laid: Sequence[tuple[str, str]], code: Sequence[str]) -> str:
    lines = [
        "#!/bin/sh",
        f"# {''.join(c if c.isprintable() else ' ' for c in stage.name)}, made by minipach new",
        "set -eu",
        'here=$(pwd); work=$(mktemp -d); cd "$work"',
    ]
    folders = {posixpath.dirname(word) for word, _ in laid} | {posixpath.dirname(word) for word in code}
    folders |= {posixpath.dirname(_tidy(word)) for word in stage.writes}
    lines += [f"mkdir -p -- {shlex.quote(folder)}" for folder in sorted(folders - {""})]
    lines += [f'ln -s -- "$PFS"/{shlex.quote(place)} {shlex.quote(word)}' for word, place in laid]
    lines += [f'ln -s -- "$here"/{shlex.quote(f"code/{word}")} {shlex.quote(word)}' for word in code]
    lines += ["", *stage.commands, ""]
    for word in map(_tidy, stage.writes):
        parent = posixpath.dirname(word)
        if parent:
            lines.append(f'mkdir -p -- "$PFS/out"/{shlex.quote(parent)}')
        lines.append(f'cp -R -- {shlex.quote(word)} "$PFS/out"/{shlex.quote(word)}')
    return "\n".join(lines) + "\n"


def in_project(project: Project, name: str, folder: Path, word: str) -> str:
    """Return a path of a stage as seen from the project. Raises UserError where it leads out of it.

    Args:
        project: The project.
        name: The stage, for messages.
        folder: The folder that the path is relative to.
        word: The path.
    """
    root = Path(project.root).resolve()
    full = Path(posixpath.normpath(folder.resolve() / word))
    clean = _tidy(word)
    if clean.startswith("../") or clean == ".." or not full.is_relative_to(root):
        fix = "run minipach new where the stage is a folder of the project"
        raise UserError(Problem("new.outside", name, f'"{word}" leads out of {folder}', fix))
    return full.relative_to(root).as_posix()


def _tidy(word: str) -> str:
    return posixpath.normpath(word)


def code_file(project: Project, file: Path, word: str) -> DraftFile | None:
    """Return a tracked, small file as one of the pipeline; None if it is something else."""
    link = file.is_symlink()
    if link and ".git/annex/objects/" not in os.readlink(file):
        return None
    if not file.is_file() or file.stat().st_size > MAX_CODE:
        return None
    objects = os.path.realpath(project.root / ".git/annex/objects")
    if link and not os.path.realpath(file).startswith(f"{objects}/"):
        return None
    repo = Repo(project.root)
    if not repo.git("--literal-pathspecs", "ls-files", "-z", "--", os.path.abspath(file), ok=(0, 128)):
        return None
    return DraftFile(f"code/{word}", file.read_bytes(), executable=bool(file.stat().st_mode & 0o100))
