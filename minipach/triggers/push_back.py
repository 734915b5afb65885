"""Results go back to the bare repositories that people push to, where these have the pipeline's branch.

Order: contents, then the results branch and git-annex's, then the pipeline's branch, upstream first; the superdataset
last, if all that its gitlinks name is there. So whoever fetches a branch can get what it names. No push is forced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from minipach.git.repo import GITLINK, GitError, Repo, annex, is_dataset
from minipach.project.lock import project_lock
from minipach.project.project import Project
from minipach.publish import exchange
from minipach.scheduling.events import Message, Reporter
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted
from minipach.triggers import received
from minipach.triggers.commit_messages import NOTES
from minipach.triggers.followed import followed

_QUIETLY = ("--quiet", "--no-follow-tags", "--recurse-submodules=no")


def push_back(project: Project, reporter: Reporter) -> tuple[Problem, ...]:
    """Push results to the bare repositories of this project; return what could not be done."""
    pairs = [pair for path in received.receiving(project) if os.path.isdir(path) for pair in _pairs(project, path)]
    if not pairs:
        return ()
    problems: list[Problem] = []
    failed: set[str] = set()

    def tell(line: str) -> None:
        reporter.report(Message(line))

    with project_lock(project.local.lock, wait=True, tell=tell):
        for path in (*project.order, ""):
            for name, repo, remote in pairs:
                if name != path:
                    continue
                try:
                    if missing := _missing(project, path, failed):
                        tell(f"{path or '.'}: not pushed to {remote}: {missing} is not there")
                        failed.add(path)
                    elif _send(project, path, repo, remote):
                        tell(f"{path or '.'}: results pushed to {remote}")
                except UserError as error:
                    problems += [problem.within(path or ".") for problem in error.problems]
                    failed.add(path)
                except GitError as error:
                    why = exchange.without_credentials((error.stderr.splitlines() or ["git failed"])[-1])
                    fix = f"git -C {quoted(repo.path)} pull {remote}"
                    problems.append(Problem("hooks.not-pushed", path or ".", f"{remote} did not take it: {why}", fix))
                    failed.add(path)
        for path, repo, remote in pairs:
            _send_notes(repo, remote, path or ".", tell)
    for problem in problems:
        tell(str(problem))
    return tuple(problems)


def _pairs(project: Project, bare: str) -> Iterator[tuple[str, Repo, str]]:
    """Yield the repos that have a bare repository as a remote, less the remotes that `followed` pushes to."""
    others = followed(project)
    for name, repo, remote in received.remotes_of(project, bare):
        if remote not in others:
            yield ("" if name == "." else name), repo, remote


def _missing(project: Project, path: str, failed: set[str]) -> str:
    """Return what the branch names that its readers could not get; nothing if they can get all."""
    if path:
        return next((up for up in project.upstream_of([path]) if up in failed and up != path), "")
    return next((link for link in _links(project) if not _is_out(project, *link)), ("", ""))[0]


def _links(project: Project) -> Iterator[tuple[str, str]]:
    """Yield the repos that the superdataset's commit names, with their commits."""
    head = project.repo.head()
    for entry in project.repo.ls_tree(head, recursive=True) if head else ():
        if entry.mode == GITLINK:
            yield entry.path, entry.sha


def _is_out(project: Project, path: str, commit: str) -> bool:
    """Return whether a remote has the commit of a gitlink, as far as is known here."""
    if not is_dataset(project.root / path):
        return True  # it came from elsewhere
    try:
        found = Repo(project.root / path).line("for-each-ref", "--contains", commit, "--count=1", "refs/remotes")
    except GitError:
        return False
    return bool(found)


def _send(project: Project, path: str, repo: Repo, remote: str) -> bool:
    """Push the branch of a pipeline, or of the superdataset, if the remote has it. Return whether it went."""
    pipeline = project.pipelines.get(path)
    branch = (pipeline.output_branch if pipeline else None) or repo.branch()
    here = repo.resolve(f"refs/heads/{branch}^{{commit}}") if branch else None
    there = repo.resolve(f"refs/remotes/{remote}/{branch}") if branch else None
    if here is None or there is None or repo.succeeds("merge-base", "--is-ancestor", here, there):
        return False
    if not repo.succeeds("merge-base", "--is-ancestor", there, here):
        fix = f"git -C {quoted(repo.path)} pull --no-rebase {remote}"
        raise UserError(Problem("hooks.not-pushed", "", f"{branch} and {remote}/{branch} have diverged", fix))
    if path:
        done = exchange.push(project, path, remote, data=True)
        if done.problems:
            raise UserError(done.problems)
        if done.notes:
            fix = f"git -C {quoted(repo.line('remote', 'get-url', remote))} annex init"
            raise UserError(Problem("hooks.not-pushed", "", f"{remote} keeps no annexed contents", fix))
        annex(repo, "copy", "--quiet", "--fast", f"--branch={branch}", f"--to={remote}")
        repo.git("push", *_QUIETLY, remote, "refs/heads/git-annex")
    repo.git("push", *_QUIETLY, remote, f"{here}:refs/heads/{branch}")
    return True


def _send_notes(repo: Repo, remote: str, name: str, tell: Callable[[str], None]) -> None:
    """Push the notes about keywords in commits, so that their authors can fetch them."""
    if repo.resolve(NOTES) is None:
        return
    try:
        repo.git("push", *_QUIETLY, remote, f"{NOTES}:{NOTES}")
    except GitError as error:
        tell(f"{name}: notes not pushed to {remote}: {exchange.without_credentials(error.stderr)}")
