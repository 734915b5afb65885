"""Commits to a repo of ticks. The caller holds the project's lock.

A due tick is one commit that follows from the tick and its parent alone: two machines make the same commits. What a
person asks for (skip, run, backfill) is committed in that person's name.
"""

from __future__ import annotations

from collections.abc import Collection

from minipach.git import crash_cleanup
from minipach.git.checkout import InTheWay, check_free, move_branch
from minipach.git.fast_import import Stream, committer
from minipach.git.merging import settle
from minipach.git.repo import Repo, need_identity
from minipach.git.tree_entries import FILE
from minipach.model.clock import tick_committer, tick_content, tick_name
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import BUILD_REFS, TICK_ASKED, TICK_BACKFILLED, TICK_BEGAN, TICK_MANUAL, TICK_SKIPPED
from minipach.model.ticks import Ticks
from minipach.planning.due_ticks import Due
from minipach.project.branch_check import need_branch
from minipach.project.project import Project
from minipach.records.tick_repo import is_tick_repo
from minipach.support.errors import Problem, UserError

_ONE_BY_ONE = 100  # more ticks than these are one commit: each commit stores the whole list of files
_BUILD = f"{BUILD_REFS}ticks"


def commit_due(project: Project, path: str, change: Due, *, began: int | None = None) -> None:
    """Commit the change that the rule asks for: a commit for each tick, or one for very many.

    began: the moment at which the clock begins.

    Raises:
        UserError: The repo is none of ticks; no branch is checked out; uncommitted changes are in the way.
    """
    repo = _opened(project, path)
    stream = Stream(_BUILD, repo.head(), tick_committer(0))
    if began is not None:
        stream.committer = tick_committer(began)
        stream.commit(f"{SUBJECT}the clock begins at {tick_name(began)}\n")
        stream.write(FILE, tick_content(began), f"{TICK_BEGAN}/{tick_name(began)}")
    size = 1 if len(change.add) <= _ONE_BY_ONE else len(change.add)
    for portion in (change.add[n : n + size] for n in range(0, len(change.add), size)):
        stream.committer = tick_committer(portion[-1])
        stream.commit(f"{SUBJECT}{'tick ' if size == 1 else ''}{_several(portion)}\n")
        for old in change.remove if portion[-1] == change.add[-1] else ():
            stream.delete(tick_name(old))
        for tick in portion:
            stream.write(FILE, tick_content(tick), tick_name(tick))
    if change.remove and not change.add:
        stream.committer = tick_committer(max(change.remove))
        stream.commit(f"{SUBJECT}keep the newest tick only\n")
        for old in change.remove:
            stream.delete(tick_name(old))
    _move(repo, path, stream)


def commit_skip(project: Project, path: str, ticks: Collection[int], reason: str) -> None:
    """Commit that ticks are not to be added; those that are there are removed.

    Raises:
        UserError: The repo of ticks can't take commits, as in `commit_due`.
    """
    repo = _opened(project, path)
    stream = _by_person(repo)
    head = repo.head()
    stream.commit(f"{SUBJECT}skip {_several(ticks)}\n\n{reason}\n")
    there = set(repo.names(head or ""))
    for tick in sorted(ticks):
        if tick_name(tick) in there:
            stream.delete(tick_name(tick))
        stream.write(FILE, f"{reason}\n".encode("utf-8", "replace"), f"{TICK_SKIPPED}/{tick_name(tick)}")
    _move(repo, path, stream)


def commit_asked(
    project: Project,
    path: str,
    ticks: Ticks,
    wanted: Collection[int],
    *,
    due: Collection[int],
    backfilled: bool = False,
    overwrite: bool = False,
) -> None:
    """Commit the ticks that a person asks for. due: those of them that are due times; the others are manual.

    backfilled: a backfill asks for them.

    Raises:
        UserError: The repo of ticks can't take commits, as in `commit_due`.
    """
    repo = _opened(project, path)
    stream = _by_person(repo)
    stream.commit(f"{SUBJECT}add {_several(wanted)}, as asked for\n")
    known = TICK_BACKFILLED if backfilled else TICK_ASKED
    for tick in sorted(wanted):
        name = tick_name(tick)
        if tick in ticks.skipped:
            stream.delete(f"{TICK_SKIPPED}/{name}")
        stream.write(FILE, tick_content(tick), name)
        stream.write(FILE, tick_content(tick), f"{known if tick in due else TICK_MANUAL}/{name}")
    for old in sorted(ticks.there - set(wanted)) if overwrite else ():
        stream.delete(tick_name(old))
    _move(repo, path, stream)


def _several(ticks: Collection[int]) -> str:
    names = [tick_name(tick) for tick in sorted(ticks)]
    return names[0] if len(names) == 1 else f"{len(names)} ticks, {names[0]} to {names[-1]}"


def _by_person(repo: Repo) -> Stream:
    need_identity(repo)
    return Stream(_BUILD, repo.head(), committer(repo))


def _opened(project: Project, path: str) -> Repo:
    repo = Repo(project.root / path)
    if not is_tick_repo(repo):
        raise UserError(
            Problem("cron.repo-taken", path, "holds other data, and is no repo of ticks", "write another `repo`")
        )
    need_branch(repo, path)
    settle(repo)
    return repo


def _move(repo: Repo, path: str, stream: Stream) -> None:
    head = repo.head()
    branch = repo.branch()
    crash_cleanup.begin(repo)
    new = stream.run(repo)
    assert head is not None and branch is not None and new is not None
    if new != head:
        try:
            check_free(repo, head, new)
        except InTheWay as error:
            repo.update_refs([f"delete {_BUILD}"])
            message = f"uncommitted changes are in the way ({error})"
            fix = f"git -C {repo.path} stash --include-untracked"
            raise UserError(Problem("repo.uncommitted-changes", path, message, fix)) from None
        move_branch(repo, f"refs/heads/{branch}", head, new, [f"delete {_BUILD}"])
    crash_cleanup.end(repo)
    repo.close()
