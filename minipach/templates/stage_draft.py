"""A step of a Makefile or a DVC project as a pipeline of one datum, whose command sees the files at their old paths."""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from minipach.git.repo import Repo
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.templates.draft import DraftFile
from minipach.templates.inputs import repo_around, stage_inputs

CODE_FOLDERS = frozenset({"code", "scripts", "src", "bin"})
_CODE_ENDINGS = frozenset({".py", ".sh", ".r", ".jl", ".m", ".pl", ".rb", ".js", ".awk", ".sed", ".bash", ".sql"})
MAX_CODE = 10_000_000  # bytes of one file that goes into code/


@dataclass(frozen=True, slots=True)
class Stage:
    """A step: where it lies, what it reads and writes (paths relative to its folder), and its shell commands.

    Args:
        name: The name that people use: `Makefile:edges.csv`.
        folder: The folder in which the commands run.
        reads: Files and folders that it reads.
        writes: Files and folders that it writes.
        commands: Commands, each for a shell of its own. The first one that fails is the last one.
        has_stem: In its paths, `%` is what differs between datums. Its commands have it as `${STEM}`.
        may_fail: The numbers of the commands after which the next one runs in any case.
        left_out: The parts of its source that the commands do not keep.
        shell: The words before each command, such as `bash -eu -c`; empty for `sh -c`.
        exports: Variables that the commands get, with their values.
    """

    name: str
    folder: Path
    reads: Sequence[str]
    writes: Sequence[str]
    commands: Sequence[str]
    has_stem: bool = False
    may_fail: frozenset[int] = frozenset()
    left_out: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    exports: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MappedPath:
    """A file or folder: the path that the command knows, and where it lies."""

    word: str
    place: str


@dataclass(frozen=True, slots=True)
class StageDraft:
    """The parts of a draft that come from a stage: an input, a command, files, guesses, and what is left out."""

    input: dict[str, Any]
    files: tuple[DraftFile, ...]
    guesses: tuple[str, ...]
    left_out: tuple[str, ...]
    command: tuple[str, ...] = ("sh", "code/run.sh")


def draft_from_stage(project: Project, stage: Stage, but: str) -> StageDraft:
    """Return the parts of a pipeline that runs a stage.

    A path in a dataset of the project is an input, and so is a plain folder. Any other file that git tracks here is
    copied to `code/`. Where there is no input, those that are no code are inputs.

    Args:
        project: The project.
        stage: The stage.
        but: The path of the new pipeline.

    Raises:
        UserError: The stage reads no data that is committed, or a path leads out of the project.
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
        elif project.is_folder(path):
            found.setdefault(path, set()).add("")
            links.append((_tidy(word), path, ""))
        else:
            why = "neither in a dataset or folder of the project nor a small file that git tracks here"
            left_out.append(f"{word}: {why}")
    if not found:  # what is no code is data, in a plain folder
        data = [file for file in files if not is_code(file.path.removeprefix("code/"))]
        files = [file for file in files if file not in data]
        for file in data:
            word = file.path.removeprefix("code/")
            repo, below = folder_of(project, in_project(project, stage.name, stage.folder, word))
            found.setdefault(repo, set()).add(below)
            links.append((word, repo, below))
    if not found:
        fix = "commit the files that it reads: datalad save"
        raise UserError(Problem("new.no-input", stage.name, "it reads no committed data of the project", fix))
    if left_out:
        left_out.append("the command may not find what is left out")
    inputs, names = stage_inputs(found)
    laid = [
        MappedPath(word, f"{names[_name_key(repo, below, names)]}/{below}".rstrip("/")) for word, repo, below in links
    ]
    text = stage_script(stage, laid, [MappedPath(file.path.removeprefix("code/"), file.path) for file in files])
    guesses = ("the command sees its files at the paths that it had; code/run.sh puts them there",)
    return StageDraft(
        inputs, (DraftFile("code/run.sh", text.encode(), True), *files), guesses, (*left_out, *stage.left_out)
    )


def folder_of(project: Project, path: str) -> tuple[str, str]:
    """Return the plain folder of a file, and the path there; a file in the project's root is in `.`."""
    if (project.root / path).is_dir():
        return path, ""
    folder, _, name = path.rpartition("/")
    return folder or ".", name


def is_code(word: str) -> bool:
    """Return whether a file is code, by its folder and its ending."""
    return word.split("/", 1)[0] in CODE_FOLDERS or PurePosixPath(word).suffix.lower() in _CODE_ENDINGS


def _name_key(repo: str, below: str, names: dict[str, str]) -> str:
    full = f"{repo}/{below}".rstrip("/")
    return full if full in names else repo  # the whole repo is an input, and so is every path in it


def stage_script(
    stage: Stage, laid: Sequence[MappedPath], code: Sequence[MappedPath], groups: Sequence[MappedPath] = ()
) -> str:
    """Return the script that lays files out at the paths that a stage knows, runs it, and takes what it wrote.

    Args:
        stage: The stage.
        laid: The inputs, by their paths below `/pfs`.
        code: The files and folders of code, by their paths from the pipeline's folder.
        groups: Inputs of which all files that match are laid out, with one `*` in each path.
    """
    lines = [
        "#!/bin/sh",
        f"# {''.join(c if c.isprintable() else ' ' for c in stage.name)}, made by minipach new",
        "set -eu",
        'here=$(pwd); work=$(mktemp -d); cd "$work"',
    ]
    quote = _quoted_around_stem if stage.has_stem else shlex.quote
    folders = {posixpath.dirname(one.word) for one in (*laid, *code, *groups)}
    folders |= {posixpath.dirname(_tidy(word)) for word in stage.writes}
    lines += [f"mkdir -p -- {quote(folder)}" for folder in sorted(folders - {""})]
    lines += [f'ln -s -- "$PFS"/{quote(one.place)} {quote(one.word)}' for one in laid]
    lines += [f'ln -s -- "$here"/{quote(one.place)} {quote(one.word)}' for one in code]
    for one in groups:
        place, folder = (_quoted_around(text, "*", "*") for text in (one.place, posixpath.dirname(one.word) or "."))
        lines.append(f'for file in "$PFS"/{place}; do [ ! -e "$file" ] || ln -s -- "$file" {folder}/; done')
    lines += ["", "set +eu"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in stage.exports]
    lines += [_alone(command, stage.shell, may_fail=n in stage.may_fail) for n, command in enumerate(stage.commands)]
    lines += ["set -eu", ""]
    for word in map(_tidy, stage.writes):
        parent = posixpath.dirname(word)
        if parent:
            lines.append(f'mkdir -p -- "$PFS/out"/{quote(parent)}')
        lines.append(f'cp -R -- {quote(word)} "$PFS/out"/{quote(word)}')
    return "\n".join(lines) + "\n"


def _alone(command: str, shell: Sequence[str], *, may_fail: bool) -> str:
    """Return a command in a shell of its own, after which the script ends if it fails and may not."""
    # what is open at the end of a line, such as a here-document, must not take the lines of the script
    if shell or "<<" in command or command.endswith("\\"):
        alone = shlex.join([*(shell or ("sh", "-c")), command])
    else:
        alone = f"(\n{command}\n)"
    return f"{alone} || {':' if may_fail else 'exit'}"


def _quoted_around_stem(word: str) -> str:
    """Return a path for the shell, with the variable STEM in place of each `%`."""
    return _quoted_around(word, "%", '"$STEM"')


def _quoted_around(word: str, mark: str, text: str) -> str:
    """Return a path for the shell, with a text that is not quoted in place of each mark."""
    return text.join(shlex.quote(part) if part else "" for part in word.split(mark))


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
