"""Bare repositories that people push to: a pass brings their branches to the project's own repos.

A bare repository is named once (`minipach hooks install --repo PATH`). Each pass fetches from all of them, whatever was
heard, and fast-forwards the branches that are checked out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from minipach.git import crash_cleanup
from minipach.git.checkout import InTheWay
from minipach.git.git_error import GitError
from minipach.git.merging import merge
from minipach.git.repo import Repo, is_dataset
from minipach.project.project import Project
from minipach.publish.push_pull import tidy
from minipach.publish.results_exchange import take_places
from minipach.scheduling.events import Message, Reporter
from minipach.support.errors import Problem, UserError
from minipach.triggers.followed_remotes import unattended_claims

KEY = "minipach.receives"  # in the configuration of this clone: the path of a bare repository


def receiving(project: Project) -> list[str]:
    """Return the paths of the bare repositories that were named for this project."""
    out = project.repo.git("config", "--local", "--null", "--get-all", KEY, ok=(0, 1))
    return [value for value in os.fsdecode(out).split("\0") if value]


def add(project: Project, path: str) -> None:
    """Name a bare repository.

    Raises:
        UserError: It is none, or no repo of the project has it as a remote.
    """
    repo = Repo(Path(path))
    if not repo.succeeds("rev-parse", "--git-dir") or repo.line("rev-parse", "--is-bare-repository") != "true":
        message = "neither a repo of this project nor a bare repository"
        raise UserError(Problem("hooks.no-repository", path, message, "name one of them"))
    if not list(remotes_of(project, path)):
        fix = f"run in the repo that is to follow it: git remote add NAME {path}"
        raise UserError(Problem("hooks.no-remote", path, "no repo of this project has it as a remote", fix))
    if path not in receiving(project):
        project.repo.git("config", "--local", "--add", KEY, path)


def drop(project: Project, path: str) -> None:
    """Forget a bare repository."""
    left = [value for value in receiving(project) if value != path]
    project.repo.git("config", "--local", "--unset-all", KEY, ok=(0, 5))
    for value in left:
        project.repo.git("config", "--local", "--add", KEY, value)


def update(project: Project, reporter: Reporter) -> tuple[Problem, ...]:
    """Fetch from all bare repositories and fast-forward the repos of the project; return what could not be done."""
    problems = []
    paths = receiving(project)
    if not paths:
        return ()

    def notify(line: str) -> None:
        reporter.report(Message(line))

    with unattended_claims(project, notify) as claims:
        for path in paths:
            for name, repo, remote in remotes_of(project, path):
                if who := claims.obtain(name):
                    notify(f"{name}: left for a later pass: {who} works on it")
                    continue
                try:
                    with claims.locked() if name == "." else contextlib.nullcontext():  # schedules commit there
                        line = _forward(repo, name, remote, notify)
                except (GitError, InTheWay) as error:
                    fix = f"git -C {repo.path} pull {remote}"
                    why = error.reason if isinstance(error, GitError) else f"uncommitted changes: {error}"
                    problem = Problem("hooks.not-updated", name, f"not updated from {path} ({why})", fix)
                    problems.append(problem)
                    line = str(problem)
                else:
                    line = f"{name}: {line} from {path}" if line else ""
                finally:
                    claims.release(name)
                if line:
                    notify(line)
    return tuple(problems)


def ahead(project: Project) -> Iterator[str]:
    """Yield a line for each checked-out branch that a bare repository has at another commit than was fetched."""
    for path in receiving(project):
        bare = Repo(Path(path))
        for name, repo, remote in remotes_of(project, path):
            branch = repo.branch()
            there = bare.resolve(f"refs/heads/{branch}") if branch and os.path.isdir(path) else None
            if there and there != repo.resolve(f"refs/remotes/{remote}/{branch}"):
                yield f"{name} refs/heads/{branch} in {path}"


def _forward(repo: Repo, name: str, remote: str, notify: Callable[[str], None]) -> str:
    """Fetch, and fast-forward the branch that is checked out; return what happened, or nothing."""
    tidy(repo, name, notify)
    with crash_cleanup.cleared(repo):
        repo.git("fetch", "--quiet", remote)
        take_places(repo, remote)
    branch = repo.branch()
    there = repo.resolve(f"refs/remotes/{remote}/{branch}") if branch else None
    before = repo.head()
    if there is None or (before and repo.succeeds("merge-base", "--is-ancestor", there, before)):
        return ""
    merge(repo, there)
    return f"{branch} moved to {there[:12]}"


def remotes_of(project: Project, path: str) -> Iterator[tuple[str, Repo, str]]:
    """Yield the repos of the project that have a repository as a remote: path, repo, the remote's name."""
    wanted = os.path.realpath(path)
    for name in ("", *project.repos):
        folder = project.root / name
        if not is_dataset(folder):
            continue
        repo = Repo(folder)
        out = os.fsdecode(repo.git("config", "--null", "--get-regexp", r"^remote\..*\.url$", ok=(0, 1)))
        for row in out.split("\0"):
            key, _, url = row.partition("\n")
            if url and os.path.realpath(folder / url.removeprefix("file://")) == wanted:
                yield name or ".", repo, key[len("remote.") : -len(".url")]
