"""The branch that a pipeline's results go to, where its spec names one that is not checked out (`output_branch`)."""

from __future__ import annotations

import os

from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.support.errors import Problem, UserError
from minipach.support.git_objects import NO_OBJECT


def other_branch(repo: Repo, wanted: str | None) -> str | None:
    """Return the wanted branch, None if none is named or it is the one checked out."""
    return wanted if wanted and wanted != repo.branch() else None


def tip(repo: Repo, branch: str) -> str | None:
    """Return the commit of a branch: this clone's own, else that of the clone it comes from."""
    refs = (f"refs/heads/{branch}", f"refs/remotes/origin/{branch}")
    return next((found for ref in refs if (found := repo.resolve(f"{ref}^{{commit}}"))), None)


def begin(repo: Repo, branch: str, commit: str) -> None:
    """Make the branch at a commit, if it isn't there. Nothing that is checked out changes."""
    if repo.resolve(f"refs/heads/{branch}") is None:
        repo.update_refs([f"create refs/heads/{branch} {commit}"])


def move(repo: Repo, where: str, branch: str, old: str, new: str, more: list[str]) -> None:
    """Move the branch in one step, with `more` update-ref lines; what is checked out stays as it is.

    Raises:
        UserError: The branch has moved meanwhile, or another worktree has it checked out.
    """
    listed = os.fsdecode(repo.git("worktree", "list", "--porcelain", "-z")).split("\0")
    if f"branch refs/heads/{branch}" in listed:
        raise UserError(
            Problem(
                "branch.in-another-worktree",
                where,
                f"another worktree has the branch {branch} checked out",
                "git -C there switch --detach, then run the same command again (nothing is computed twice)",
            )
        )
    own = repo.resolve(f"refs/heads/{branch}^{{commit}}")
    try:
        if own not in (None, old):
            raise GitError(repo.path, ["update-ref"], 1, f"it is at {own} now")
        repo.update_refs([f"update refs/heads/{branch} {new} {own or NO_OBJECT}", *more])
    except GitError as error:
        raise UserError(
            Problem(
                "branch.cannot-move",
                where,
                f"the branch {branch} could not be moved: {error.stderr or error}",
                "run the same command again",
            )
        ) from None
