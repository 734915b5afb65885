"""Results go back at the end of a pass: to the remotes that are followed, and to bare repositories people push to.

The order is that of `minipach push`: no ref becomes visible before what it names. A bare repository only gets branches
that it has already. No push is forced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator

from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.model.repo_layout import RESULTS
from minipach.project.project import Project
from minipach.publish import results_exchange
from minipach.publish.push_pull import BUSY, DIVERGED, HELD, LATE, route, send, sent_branches
from minipach.scheduling.events import Message, Reporter
from minipach.support.errors import Problem
from minipach.triggers import bare_repos
from minipach.triggers.commit_messages import NOTES
from minipach.triggers.followed_remotes import followed, having, unattended_claims
from minipach.triggers.heard_lines import write_request

_QUIETLY = ("--quiet", "--no-follow-tags", "--recurse-submodules=no")


def push_back(project: Project, reporter: Reporter) -> tuple[Problem, ...]:
    """Send what is new to the followed remotes and the bare repositories; return what could not be done."""
    remotes = followed(project)
    bare = list(_bare(project, remotes))
    if not remotes and not bare:
        return ()
    problems: list[Problem] = []

    def notify(line: str) -> None:
        reporter.report(Message(line))

    with unattended_claims(project, notify) as claims:
        known = [(path, remote) for path, _, remote in bare]
        routes = [
            route(project, repo, path, remote) for path, repo, remote in _behind(project, having(project, remotes))
        ]
        sent = send(project, routes, notify, without_contents=True, known=known, claims=claims)
        results = [one for one in bare if one[0] == "." or one[0] in project.order]
        routes = [route(project, repo, path, remote) for path, repo, remote in _behind(project, results, create=False)]
        sent += send(project, routes, notify, create=False, known=known, claims=claims)
        for path, repo, remote in bare:
            _send_notes(repo, remote, path, notify)
            repo.close()
    for moved in sent:
        for problem in moved.problems:
            if problem.code == LATE:
                write_request(project.local, f"{moved.repo}: somebody else pushed to {moved.remote} meanwhile")
            elif problem.code == DIVERGED and moved.remote in remotes:
                continue  # `followed_remotes.fetch` has reported it
            elif problem.code in (HELD, BUSY):  # the problem of the other repo is reported; a later pass sends it
                notify(str(problem))
            else:
                problems.append(problem)
    for problem in problems:
        notify(str(problem))
    return tuple(problems)


def note_pushing(project: Project) -> None:
    """Have the hooks hear the user's own pushes if passes push results to remotes, and else not."""
    mark = project.local.pushes
    if followed(project) or bare_repos.receiving(project):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    else:
        mark.unlink(missing_ok=True)


_Pair = tuple[str, Repo, str]  # path, repo, remote


def _bare(project: Project, remotes: Collection[str]) -> Iterator[_Pair]:
    """Yield the repos that have a bare repository as a remote, less the remotes that are followed."""
    for bare in bare_repos.receiving(project):
        if os.path.isdir(bare):
            yield from (pair for pair in bare_repos.remotes_of(project, bare) if pair[2] not in remotes)


def _behind(project: Project, pairs: Iterable[_Pair], *, create: bool = True) -> Iterator[_Pair]:
    """Yield the pairs whose remote lacks something, as far as is known here. create: also a branch as a whole.

    Places of contents alone count for pipelines only: an input may be on a remote that nobody here may push to.
    """
    for path, repo, remote in pairs:
        names = sent_branches(project, repo, path)
        there = any(repo.resolve(f"refs/remotes/{remote}/{name}") for name in names)
        counted = [*names, *((RESULTS, "git-annex") if path in project.order else ())]
        if (create or there) and any(_lacks(repo, remote, name) for name in counted):
            yield path, repo, remote


def _lacks(repo: Repo, remote: str, branch: str) -> bool:
    here, there = repo.resolve(f"refs/heads/{branch}"), repo.resolve(f"refs/remotes/{remote}/{branch}")
    if here is None or here == there:
        return False
    return there is None or not repo.succeeds("merge-base", "--is-ancestor", here, there)


def _send_notes(repo: Repo, remote: str, name: str, notify: Callable[[str], None]) -> None:
    """Push the notes about keywords in commits, so that their authors can fetch them."""
    if repo.resolve(NOTES) is None:
        return
    try:
        repo.git("push", *_QUIETLY, remote, f"{NOTES}:{NOTES}")
    except GitError as error:
        notify(f"{name}: notes not pushed to {remote}: {results_exchange.without_credentials(error.stderr)}")
