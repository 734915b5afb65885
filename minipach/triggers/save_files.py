"""Save named files of a project, and nothing else: what the drop folder does once files are complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from minipach.git.child_environment import child_environment, entered
from minipach.git.git_error import GitError
from minipach.git.repo import Repo, annex
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.text import many, printable

_CHUNK = 500  # paths in one command
_SPECIAL = re.compile(r"[*?\[\]\\\"']|^:|/:")
_HEARD = {"MINIPACH_OWN_GIT": ""}  # these commits are the user's: hooks hear them


def save_files(project: Project, paths: Sequence[str]) -> None:
    """Save files (paths in the project) with `datalad save`; other changes stay uncommitted.

    DataLad can't save names that are no UTF-8, have a line break or are a pattern. git-annex and git save those.

    Raises:
        UserError: Some could not be saved. The others are.
    """
    here = [path for path in paths if os.path.lexists(project.root / path)]
    message = f"save {many(len(here), 'new file')}"
    plain = [path for path in here if _is_plain(path)]
    odd = sorted(set(here) - set(plain))
    problems = []
    holders = {project.holder_of(path) for path in odd}
    for holder in sorted(holders):
        inside = [
            path.removeprefix(f"{holder}/") if holder else path for path in odd if project.holder_of(path) == holder
        ]
        try:
            _commit(Repo(project.root / holder), inside, message)
        except GitError as error:
            problems.append(_problem(holder or ".", error.stderr or str(error)))
    wanted = [*plain, *(holder for holder in sorted(holders) if holder and _is_plain(holder))]
    for chunk in _chunks(wanted):
        problems += _save_with_datalad(project, chunk, message)
    if problems:
        raise UserError(problems)


def _save_with_datalad(project: Project, paths: Sequence[str], message: str) -> list[Problem]:
    with entered(child_environment()):
        from datalad.api import save
        from datalad.support.exceptions import CommandError

        try:
            done = save(
                path=[str(project.root / path) for path in paths],
                dataset=str(project.root),
                message=message,
                result_renderer="disabled",
                on_failure="ignore",
                return_type="list",
            )
        except CommandError as error:
            return [_problem(paths[0], str(error.stderr or error))]
    failed = [row for row in done if row.get("status") not in ("ok", "notneeded")]
    return [
        _problem(_inside(project, row), str(row.get("message") or row.get("error_message") or "")) for row in failed
    ]


def _inside(project: Project, row: dict[str, object]) -> str:
    return os.path.relpath(str(row.get("path")), project.root)


def _commit(repo: Repo, paths: Sequence[str], message: str) -> None:
    """Save files with git-annex and git. GitError if one can't be added; the others are committed."""
    listed = b"".join(b"./" + os.fsencode(path) + b"\0" for path in paths)  # so that none begins with a colon
    try:
        annex(repo, "add", "--batch", "-z", "--json", stdin=listed)
        refused = None
    except GitError as error:
        refused = error
    names = b"".join(os.fsencode(path) + b"\0" for path in paths)
    known = set(repo.git("--literal-pathspecs", "ls-files", "-z", "--cached", "--", *paths).split(b"\0"))
    added = b"".join(name + b"\0" for name in names.split(b"\0") if name and name in known)
    if added:
        command = ("--literal-pathspecs", "commit", "--quiet", "-m", message, "--only")
        repo.git(*command, "--pathspec-from-file=-", "--pathspec-file-nul", stdin=added, env=_HEARD)
    if added != names:
        raise refused or GitError(repo.path, ["annex", "add"], 1, "git-annex did not add a file")


def _is_plain(path: str) -> bool:
    """Return whether DataLad can save a path: it passes paths to git as patterns, as text."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return path.isprintable() and not _SPECIAL.search(path)


def _chunks(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(paths), _CHUNK):
        yield paths[start : start + _CHUNK]


def _problem(where: str, text: str) -> Problem:
    why = printable(text.splitlines()[-1])[:300] if text else "no reason given"
    return Problem("watch.not-saved", printable(where), f"could not be saved: {why}; the watcher tries again")


def files_of(text: bytes) -> list[str]:
    """Return the paths of a list with a NUL after each."""
    return [os.fsdecode(path) for path in text.split(b"\0") if path]


def start_saving(root: Path, paths: Sequence[str], log: int) -> subprocess.Popen[bytes]:
    """Start the process that saves files. log: the file that gets its problems."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "minipach", "-C", str(root), "save-files"],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        with process.stdin as stream:
            stream.write(b"".join(os.fsencode(path) + b"\0" for path in paths))
    except BrokenPipeError:  # it has ended; its exit code says so
        pass
    return process
