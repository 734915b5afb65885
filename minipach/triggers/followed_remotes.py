"""Remotes that a project follows: each pass fetches from them first. At its end, `push_back` pushes results to them.

`git config minipach.follow origin` in a clone names the remotes. Each repo of the project that has a remote of this
name takes part. A branch is fast-forwarded, or merged if only commits of minipach are in the way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator

from minipach.git.git_error import GitError
from minipach.git.network import unattended
from minipach.git.repo import Repo, is_dataset
from minipach.project.lock import Claims, register
from minipach.project.project import Project
from minipach.project.settings import local_setting, network_limit
from minipach.publish import results_exchange
from minipach.publish.push_pull import bring
from minipach.scheduling.events import Message, Reporter
from minipach.storage.setup import git_remotes
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted


def followed(project: Project) -> list[str]:
    """Return the names of the remotes."""
    return list(dict.fromkeys((local_setting(project.repo, "follow") or "").split()))


def having(project: Project, remotes: Collection[str]) -> Iterator[tuple[str, Repo, str]]:
    """Yield the repos that have one of these remotes: path, repo, the remote's name. The superdataset comes last."""
    for path in (*project.repos, "."):
        if remotes and is_dataset(project.root / path):
            repo = Repo(project.root / path)
            known = git_remotes(repo)
            yield from ((path, repo, remote) for remote in remotes if remote in known)
            repo.close()


@contextlib.contextmanager
def unattended_claims(project: Project, notify: Callable[[str], None]) -> Iterator[Claims]:
    """Yield the claims of an exchange with remotes at which nobody answers questions."""
    with register(project.local.lock, (), wait=True, notify=notify) as claims, unattended(network_limit(project.repo)):
        yield claims


def fetch(project: Project, reporter: Reporter) -> tuple[Problem, ...]:
    """Bring what was pushed to the remotes into the repos of the project; return what could not be done."""
    remotes = followed(project)
    if not remotes:
        return ()
    problems: list[Problem] = []

    def notify(line: str) -> None:
        reporter.report(Message(line))

    with unattended_claims(project, notify) as claims:
        for path, repo, remote in having(project, remotes):
            if who := claims.obtain(path):
                notify(f"{path}: left for a later pass: {who} works on it")
                continue
            lines: list[str] = []
            try:
                if path == ".":
                    repo.git("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", remote)
                with claims.locked() if path == "." else contextlib.nullcontext():  # schedules commit there
                    bring(repo, remote, lines.append)
            except UserError as error:
                problems += [problem.within(path) for problem in error.problems]
            except GitError as error:
                why = results_exchange.without_credentials(error.reason)
                fix = f"git -C {quoted(repo.path)} pull {remote}"
                problems.append(Problem("follow.failed", path, f"{remote}: {why}", fix))
            finally:
                claims.release(path)
            for line in lines:
                notify(f"{path}: {line}")
    for problem in problems:
        notify(str(problem))
    return tuple(problems)
