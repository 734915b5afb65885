"""Repos in which the branch that results go to isn't checked out: which, and the way back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from minipach.git.repo import Repo, is_dataset
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted

_ADJUSTED = re.compile(r"adjusted/(.+)\([^()]*\)")  # git-annex: the branch, and what is different from it
_NOT_THEIRS = re.compile(r"git-annex|minipach|(adjusted|synced)/.*")


def off_branch(repo: Repo, branch: str | None) -> Problem | None:
    """Return what is wrong with `branch` being checked out (None.

    A detached HEAD), and the fix; None if nothing is.
    """
    if branch is None:
        what = "no branch is checked out"
    elif branch.startswith("adjusted/"):
        what = f"the adjusted branch {branch} is checked out"
    else:
        return None
    return Problem("branch.off", "", what, f"git -C {quoted(repo.path)} switch {_own(repo, branch or '')}")


def pushable(repo: Repo, where: str, branch: str | None, commit: str) -> str:
    """Return the commit of an input that a clone can have too, for the one that is checked out.

    An adjusted branch of git-annex is never pushed: the commit of the branch that it adjusts counts.

    Args:
        repo: The input's repo.
        where: What messages call the input.
        branch: The branch that the commit is the tip of; None: a detached HEAD.
        commit: That commit.

    Raises:
        UserError: No branch or tag that can be pushed has the commit.
    """
    here = f"git -C {quoted(repo.path)}"
    if branch is None:
        refs = ("refs/heads/", "refs/remotes/", "refs/tags/")
        if repo.line("for-each-ref", "--count=1", f"--contains={commit}", *refs):
            return commit
        raise UserError(
            Problem(
                "branch.detached",
                where,
                f"the detached HEAD {commit[:10]} is on no branch",
                f"{here} switch -c <a new branch>",
            )
        )
    found = _ADJUSTED.fullmatch(branch)
    if found is None:
        return commit
    basis = repo.resolve(f"refs/basis/{branch}^{{commit}}")
    own = repo.resolve(f"refs/heads/{found[1]}^{{commit}}")
    if own and repo.succeeds("merge-base", "--is-ancestor", commit, own):
        return commit
    nothing_since = basis is not None and repo.resolve(f"{commit}^") == basis  # git-annex's own commit is on top
    if nothing_since and own and repo.succeeds("merge-base", "--is-ancestor", str(basis), own):
        return str(basis)
    raise UserError(
        Problem(
            "branch.adjusted-diverged",
            where,
            f"the adjusted branch {branch} has commits that {found[1]} does not have",
            f"{here} annex sync --no-commit --no-pull --no-push --no-content",
        )
    )


def need_branch(repo: Repo, where: str) -> str:
    """Return the branch that is checked out.

    UserError where results can't go to what is; where: the repo, for people.
    """
    branch = repo.branch()
    off = off_branch(repo, branch)
    if off:
        raise UserError(off.within(where))
    assert branch is not None
    return branch


def branch_problems(project: Project, pipelines: Iterable[str]) -> Iterator[Problem]:
    """Yield a line for each of these pipelines to which nothing could be published."""
    for path in pipelines:
        repo = Repo(project.root / path)
        pipeline = project.pipelines.get(path)
        if pipeline and pipeline.output_branch:
            continue
        if is_dataset(repo.path) and (problem := off_branch(repo, repo.branch())):
            yield problem.within(path)


def _own(repo: Repo, branch: str) -> str:
    if found := _ADJUSTED.fullmatch(branch):
        return quoted(found[1])
    names = [ref.removeprefix("refs/heads/") for ref in repo.refs("refs/heads/")]
    own = [name for name in names if not _NOT_THEIRS.fullmatch(name)]
    return quoted(own[0]) if len(own) == 1 else "<its branch>"
