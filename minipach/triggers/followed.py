"""Remotes that a project follows: each pass fetches from them first, and pushes its results to them at its end.

`git config minipach.follow origin` in a clone names the remotes. Each repo of the project that has a remote of this
name takes part. A branch is fast-forwarded, or merged if only commits of minipach are in the way. No push is forced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from minipach.git.repo import GitError, Repo, entered, is_dataset
from minipach.model.repo_layout import RESULTS
from minipach.project.lock import project_lock
from minipach.project.project import Project
from minipach.project.settings import local_setting
from minipach.publish import exchange
from minipach.publish.project_exchange import bring
from minipach.scheduling.events import Message, Reporter
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted
from minipach.triggers.heard import hear

_AGAIN = ("fetch first", "non-fast-forward", "stale info", "cannot lock ref", "failed to update ref")


def followed(project: Project) -> list[str]:
    """Return the names of the remotes."""
    return list(dict.fromkeys((local_setting(project.repo, "follow") or "").split()))


def fetch(project: Project, reporter: Reporter) -> tuple[Problem, ...]:
    """Bring what was pushed to the remotes into the repos of the project; return what could not be done."""
    return _each(project, reporter, _bring, [*project.repos, ""])


def push(project: Project, reporter: Reporter) -> tuple[Problem, ...]:
    """Push results, their contents and branches; return what could not be done. The superdataset comes last."""
    return _each(project, reporter, _send, [*project.repos, ""])


_Tell = Callable[[str], None]
_Action = Callable[[Project, str, Repo, str, _Tell], None]


def _each(project: Project, reporter: Reporter, act: _Action, paths: list[str]) -> tuple[Problem, ...]:
    remotes = followed(project)
    if not remotes:
        return ()
    problems: list[Problem] = []

    def tell(line: str) -> None:
        reporter.report(Message(line))

    with entered(_patient()), project_lock(project.local.lock, wait=True, tell=tell):
        for path, repo, remote in _having(project, remotes, paths):
            name = path or "."
            try:
                act(project, path, repo, remote, partial(_tell_of, tell, name))
            except UserError as error:
                problems += [problem.within(name) for problem in error.problems]
            except GitError as error:
                lines = exchange.without_credentials((error.stderr.splitlines() or ["git failed"])[-1])
                fix = f"git -C {quoted(repo.path)} pull {remote}"
                problems.append(Problem("follow.failed", name, f"{remote}: {lines}", fix))
            finally:
                repo.close()
    for problem in problems:
        tell(str(problem))
    return tuple(problems)


def _tell_of(tell: _Tell, name: str, line: str) -> None:
    tell(f"{name}: {line}")


def _having(project: Project, remotes: list[str], paths: list[str]) -> Iterator[tuple[str, Repo, str]]:
    for path in paths:
        if is_dataset(project.root / path):
            repo = Repo(project.root / path)
            known = repo.line("remote").splitlines()
            yield from ((path, repo, remote) for remote in remotes if remote in known)


def _patient() -> Mapping[str, str]:
    """Return the variables with which git gives up, instead of waiting for a person or for ever."""
    found = {"GIT_TERMINAL_PROMPT": "0", "GIT_HTTP_LOW_SPEED_LIMIT": "100", "GIT_HTTP_LOW_SPEED_TIME": "60"}
    if "GIT_SSH_COMMAND" not in os.environ and "GIT_SSH" not in os.environ:
        found["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15"
    return found


def _bring(_project: Project, _path: str, repo: Repo, remote: str, tell: _Tell) -> None:
    bring(repo, remote, tell)


def _send(project: Project, path: str, repo: Repo, remote: str, tell: _Tell) -> None:
    if path in project.order and not _has(repo, remote, RESULTS, "git-annex"):
        done = exchange.push(project, path, remote, data=True)
        if done.went or done.contents:
            tell(f"{done.went} result(s) and {done.contents} content(s) pushed to {remote}")
        if done.problems:
            raise UserError(done.problems)
    branch = repo.branch()
    here = repo.head()
    there = repo.resolve(f"refs/remotes/{remote}/{branch}")
    if branch is None or here is None or here == there:
        return
    if there is not None and not repo.succeeds("merge-base", "--is-ancestor", there, here):
        return  # `fetch` has said so
    quietly = ("--quiet", "--no-follow-tags", "--recurse-submodules=no")
    try:
        repo.git("push", *quietly, remote, f"HEAD:refs/heads/{branch}")
    except GitError as error:
        if any(reason in error.stderr for reason in _AGAIN):
            hear(project.local, f"{path or '.'}: somebody else pushed to {remote} meanwhile")
            return
        raise
    tell(f"{branch} pushed to {remote}")


def _has(repo: Repo, remote: str, *branches: str) -> bool:
    """Return whether a remote has these branches, as far as is known here."""
    ours = [repo.resolve(f"refs/heads/{branch}") for branch in branches]
    theirs = [repo.resolve(f"refs/remotes/{remote}/{branch}") for branch in branches]
    return all(mine is None or mine == other for mine, other in zip(ours, theirs, strict=True))
