"""Repos in which the branch that results go to isn't checked out: which, and the way back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from minipach.errors import UserError
from minipach.git import Repo, is_dataset
from minipach.project import Project
from minipach.wording import quoted

_ADJUSTED = re.compile(r"adjusted/(.+)\([^()]*\)")  # git-annex: the branch, and what is different from it
_NOT_THEIRS = re.compile(r"git-annex|minipach|(adjusted|synced)/.*")


def off_branch(repo: Repo, branch: str | None) -> str | None:
    """What is wrong with `branch` being checked out (None: a detached HEAD), and the way out; None if nothing is."""
    if branch is None:
        what = "no branch is checked out"
    elif branch.startswith("adjusted/"):
        what = f"the adjusted branch {branch} is checked out"
    else:
        return None
    return f"{what}; git -C {quoted(repo.path)} switch {_own(repo, branch or '')}"


def need_branch(repo: Repo, where: str) -> str:
    """The branch that is checked out. UserError where results can't go to what is; where: the repo, for people."""
    branch = repo.branch()
    off = off_branch(repo, branch)
    if branch is None or off:
        raise UserError(f"{where}: {off}")
    return branch


def told(project: Project, pipelines: Iterable[str]) -> Iterator[str]:
    """A line for each of these pipelines to which nothing could be published."""
    for path in pipelines:
        repo = Repo(project.root / path)
        if is_dataset(repo.path) and (problem := off_branch(repo, repo.branch())):
            yield f"{path}: {problem}"


def _own(repo: Repo, branch: str) -> str:
    if found := _ADJUSTED.fullmatch(branch):
        return quoted(found[1])
    names = [ref.removeprefix("refs/heads/") for ref in repo.refs("refs/heads/")]
    own = [name for name in names if not _NOT_THEIRS.fullmatch(name)]
    return quoted(own[0]) if len(own) == 1 else "<its branch>"
