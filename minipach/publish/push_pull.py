"""A whole project to a remote or a store and back, in an order in which no visible ref names content that isn't there.

To a remote: first the contents, git-annex's branch and the results of each repo. Then the branches: data, pipelines
(upstream first), the superdataset. What fails in a repo keeps its branches at home, those of all that contain it, and
those of pipelines that take from it. `minipach push` and passes by themselves send in this way.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from minipach.git import crash_cleanup
from minipach.git.checkout import InTheWay
from minipach.git.git_error import GitError
from minipach.git.merging import NotMergedError, merge, settle
from minipach.git.repo import Repo, annex, is_dataset
from minipach.git.settings import FAST_FORWARD, MERGE
from minipach.git.tree_entries import GITLINK
from minipach.model.messages import RECORD, SUBJECT
from minipach.project.lock import Alone, Claims
from minipach.project.project import Project
from minipach.publish import copy_contents, results_exchange
from minipach.publish.installed_inputs import follow_branches, heads
from minipach.storage.setup import (
    branches,
    depend,
    depends,
    enable_confirmed,
    git_remotes,
    keeps_contents,
    unconfirmed,
    unconfirmed_problem,
    usable_stores,
)
from minipach.storage.special_remotes import described, identity_in, is_usable
from minipach.storage.store import Store, is_confirmed, stores
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.text import many, quoted, suggest

Notify = Callable[[str], None]
_NAMED = 3  # repos in a line that names some
_QUIETLY = ("--quiet", "--no-follow-tags", "--recurse-submodules=no")
_LOCKED = ("cannot lock ref", "failed to update ref")  # another push is at it
_LATE = ("fetch first", "non-fast-forward", "stale info", "cannot lock ref", "failed to update ref")
LATE = "push.late"
DIVERGED = "push.diverged"
HELD = "push.held"
BUSY = "push.busy"


@dataclass(frozen=True, slots=True)
class RepoExchange:
    """The contents and commits of one repo that were moved, or would be.

    Args:
        repo: The path in the project; "." is the superdataset.
        remote: The git remote, or "" if contents alone are moved.
        stores: The remotes that get the contents.
        contents: The number of contents that went, or would go.
        size: Their bytes, as far as they are known.
        commits: The commits of the branch that went or came, or would.
        verified: The contents that were read back from a store and compared.
        problems: The reasons why it was not done; then no ref was moved.
    """

    repo: str
    remote: str
    stores: tuple[str, ...] = ()
    contents: int = 0
    size: int = 0
    commits: int = 0
    verified: int = 0
    problems: tuple[Problem, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach push --json` and `pull --json`."""
        return {
            "repo": self.repo,
            "remote": self.remote,
            "stores": list(self.stores),
            "contents": self.contents,
            "bytes": self.size,
            "commits": self.commits,
            "verified": self.verified,
            "problems": problems_json(self.problems),
        }


def push(
    project: Project,
    target: str | None,
    notify: Notify,
    *,
    verify: int = 0,
    plan: bool = False,
    claims: Claims | None = None,
) -> list[RepoExchange]:
    """Push a project. Pipelines that a schedule works on are left where they are, and a problem says so.

    Args:
        project: The project.
        target: A git remote, or a store, which gets contents alone; None: the usual remote of each repo.
        notify: Gets a line for each step.
        verify: Read so many contents of each repo back from each store, and compare them.
        plan: Only find out what would go.
        claims: The pipelines that the caller has for itself. None: all, since it holds the project's lock.

    Raises:
        UserError: No repo has such a remote or store.
    """
    known = stores(project)
    store = known.get(target) if target is not None else None
    for one in unconfirmed(project):
        if one == store:
            raise UserError(unconfirmed_problem(project, one))
        notify(str(unconfirmed_problem(project, one)))
    found: list[RepoExchange] = []
    left: list[str] = []
    for path, repo in _repos(project):
        remote = "" if store else remote_for(repo, target)
        if store is None and not remote:
            left.append(path)
            continue
        for one in known.values() if store is None else (store,):  # repos that came later get the store, too
            if not plan:
                enable_confirmed(project, repo, path, one, notify)
        if store is None and not plan:
            depend(project, repo)
        moved = RepoExchange(path, remote, tuple(_stores(project, repo, remote, store)))
        if plan:
            coming = _coming(project, repo, known.values() if store is None else (store,))
            if store is None and coming:  # then the git remote itself needs to keep nothing
                moved = replace(moved, stores=tuple(depends(repo, remote) or usable_stores(project, repo)))
            filled = dict.fromkeys([*moved.stores, *(one.name for one in coming)])
            moved = _plan(repo, replace(moved, stores=tuple(filled)), coming)
            problems = [
                *_blocked(project, repo, [one.name for one in coming]),
                *_without_store(repo, moved, branches(repo)),
            ]
            moved = replace(moved, problems=tuple(problem.within(path) for problem in problems))
        found.append(moved)
    if not plan:
        found = send(project, found, notify, verify=verify, claims=claims)
    if not found:
        raise UserError(no_remote(project, target, "push", "to push to", known))
    if left:
        notify(str(_left_here(project, left, target or "origin")))
    return found


def no_remote(
    project: Project, target: str | None, command: str, purpose: str, others: Collection[str] = ()
) -> Problem:
    """Return the problem that no repo has a remote. others: names that the command also takes."""
    what = f"no repo has a remote {purpose}" if target is None else f'no repo has a remote "{target}"'
    remotes = {name for _, repo in _repos(project) for name in git_remotes(repo)}
    names = sorted({*others, *remotes})
    if not names:
        fix = "git remote add origin URL" + (", or minipach store add NAME" if command == "push" else "")
    elif target in stores(project) and target not in names:
        what, fix = "it is a store, which has contents and no commits", f"name a remote: {', '.join(names)}"
    else:
        fix = suggest(target or "origin", names)
    return Problem("push.no-remote", target or command, what, fix)


def _left_here(project: Project, left: Sequence[str], remote: str) -> Problem:
    """Return the problem of repos that a push leaves out."""
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    fix = f"git -C {quoted(project.root / left[0])} remote add {remote} URL"
    return Problem("push.left-here", ", ".join(left[:_NAMED]) + more, f"nothing is sent: no remote {remote}", fix)


def send(
    project: Project,
    wanted: Sequence[RepoExchange],
    notify: Notify,
    *,
    verify: int = 0,
    without_contents: bool = False,
    create: bool = True,
    known: Collection[tuple[str, str]] = (),
    claims: Claims | None = None,
) -> list[RepoExchange]:
    """Send repos to their remotes; return what went, in the same order.

    Args:
        project: The project.
        wanted: The repos, each with its remote and its stores. A repo may be there for several remotes.
        notify: Gets a line for each step.
        verify: Read so many contents of each repo back from each store, and compare them.
        without_contents: Send refs also where neither the remote nor a store keeps contents.
        create: Send branches that a remote does not have yet.
        known: Repos, each with a further remote that people fetch from.
        claims: The pipelines that this process works on, as for `push`.
    """
    claims = claims or Alone()
    contents = partial(
        _send_contents, project, verify=verify, without_contents=without_contents, claims=claims, notify=notify
    )
    try:
        found = [_busy(claims, one) or _tried(project, one, contents) for one in wanted]
        places = partial(_send_places, project, claims=claims)  # apart: what went counts, also if this fails
        found = [one if one.problems else _tried(project, one, places) for one in found]
        return _send_all_branches(project, found, create=create, known=known, notify=notify)
    finally:
        for repo in dict.fromkeys(one.repo for one in wanted if claims.has(one.repo)):
            claims.release(repo)


def _busy(claims: Claims, moved: RepoExchange) -> RepoExchange | None:
    """Return a repo that stays as it is, since a schedule works on it; None: it is taken now."""
    who = claims.obtain(moved.repo)
    if not who:
        return None
    fix = "minipach wait, then the same command again"
    return replace(moved, problems=(Problem(BUSY, moved.repo, f"a schedule works on it: {who}", fix),))


def _alone_with(project: Project, path: str, claims: Claims) -> AbstractContextManager[None]:
    """Return the context to write to a repo: schedules write to those that are no pipelines in steps."""
    return contextlib.nullcontext() if path in project.order else claims.locked()


def _send_all_branches(
    project: Project, found: list[RepoExchange], *, create: bool, known: Collection[tuple[str, str]], notify: Notify
) -> list[RepoExchange]:
    held = {one.repo for one in found if one.problems}
    busy = {one.repo for one in found if any(problem.code == BUSY for problem in one.problems)}
    for number in sorted(range(len(found)), key=lambda n: _turn(project, found[n].repo)):
        one = found[number]
        if one.remote and not one.problems:
            away = held - busy if one.repo == "." else held  # the superdataset names what was published before
            branches_of = partial(_send_branches, project, held=away, create=create, known=known, notify=notify)
            found[number] = _tried(project, one, branches_of)
            held |= {one.repo} if found[number].problems else set()
    return found


def route(project: Project, repo: Repo, path: str, remote: str) -> RepoExchange:
    """Return where the contents and refs of a repo go with a git remote."""
    return RepoExchange(path, remote, tuple(_stores(project, repo, remote, None)))


def sent_branches(project: Project, repo: Repo, path: str) -> list[str]:
    """Return the branches of a repo that go to remotes: the one that is checked out, and that of the outputs."""
    pipeline = project.pipelines.get(path)
    names = [repo.branch(), pipeline.output_branch if pipeline else None]
    return [name for name in dict.fromkeys(names) if name and repo.resolve(f"refs/heads/{name}")]


def _tried(project: Project, moved: RepoExchange, act: Callable[[Repo, RepoExchange], RepoExchange]) -> RepoExchange:
    """Return what an action moved, or why it could not."""
    repo = project.repo if moved.repo == "." else Repo(project.root / moved.repo)
    try:
        return act(repo, moved)
    except UserError as error:
        return replace(moved, problems=tuple(problem.within(moved.repo) for problem in error.problems))
    except GitError as error:
        if blocked := results_exchange.unverified(repo, error.stderr):
            return replace(moved, problems=(blocked.within(moved.repo),))
        lines = results_exchange.without_credentials(error.reason)
        problem = f"{moved.remote or ', '.join(moved.stores)}: {lines}"
        fix = f"git -C {quoted(repo.path)} remote -v"
        return replace(moved, problems=(Problem("push.failed", moved.repo, problem, fix),))
    finally:
        if repo is not project.repo:
            repo.close()


def _turn(project: Project, path: str) -> tuple[int, int, str]:
    """Return when the branches of a repo go: after all repos that they name."""
    if path == ".":
        return 3, 0, path
    if path in project.order:
        return 1, project.order.index(path), path
    return 2 if any(one.startswith(f"{path}/") for one in project.order) else 0, -path.count("/"), path


def _send_contents(
    project: Project,
    repo: Repo,
    moved: RepoExchange,
    *,
    verify: int,
    without_contents: bool,
    claims: Claims,
    notify: Notify,
) -> RepoExchange:
    """Send contents. Raises UserError if they have no place."""
    remote = moved.remote
    with _alone_with(project, moved.repo, claims):
        tidy(repo, moved.repo, notify)
    crash_cleanup.begin(repo)
    if blocked := _blocked(project, repo):
        raise UserError(blocked)
    named = list(dict.fromkeys([*branches(repo), *sent_branches(project, repo, moved.repo)]))
    first = not remote or repo.resolve(f"refs/remotes/{remote}/{repo.branch()}") is None
    for store in moved.stores:
        number, size = copy_contents.copy_all(repo, store, named, fast=not first)
        if number:
            notify(f"{moved.repo}: {many(number, 'content')} copied to {store}")
        moved = replace(moved, contents=moved.contents + number, size=moved.size + size)
        if read := copy_contents.verify(repo, store, verify):
            notify(f"{moved.repo}: {many(read, 'content')} read back from {store}, unchanged")
        moved = replace(moved, verified=moved.verified + read)
    crash_cleanup.end(repo)
    if not without_contents and (homeless := _without_store(repo, moved, named)):
        raise UserError(homeless)
    return moved


def _without_store(repo: Repo, moved: RepoExchange, branches_sent: Sequence[str]) -> list[Problem]:
    """Return the problem of contents that have no place to go to."""
    remote = moved.remote
    if not remote or moved.stores or not copy_contents.has_contents(repo, branches_sent):
        return []
    there = os.path.join(repo.path, (repo.config(f"remote.{remote}.url") or "").removeprefix("file://"))
    if os.path.isdir(there):
        fix = f"git -C {quoted(there)} annex init, or minipach store add NAME --dir DIR"
    else:
        fix = f"minipach store add NAME --dir DIR, or git -C {quoted(repo.path)} annex copy --to={remote}"
    return [Problem("push.no-store", "", f"{remote} keeps no contents, and depends on no store", fix)]


def _send_places(project: Project, repo: Repo, moved: RepoExchange, *, claims: Claims) -> RepoExchange:
    """Send git-annex's branch and the results."""
    if moved.remote and keeps_contents(repo):
        with _alone_with(project, moved.repo, claims):
            results_exchange.send(repo, moved.repo, moved.remote)
    return moved


def _blocked(project: Project, repo: Repo, coming: Collection[str] = ()) -> list[Problem]:
    """Return the problems of special remotes because of which git-annex sends nothing. coming: those set up first."""
    names = [name for name in results_exchange.unverified_remotes(repo) if name not in coming]
    return [results_exchange.unverified_problem(repo, name, stores(project)) for name in names]


def _send_branches(
    project: Project,
    repo: Repo,
    moved: RepoExchange,
    *,
    held: set[str],
    create: bool,
    known: Collection[tuple[str, str]],
    notify: Notify,
) -> RepoExchange:
    """Send branches. held: the repos that could not be sent."""
    remote, path = moved.remote, moved.repo
    for branch in sent_branches(project, repo, path):
        here = repo.resolve(f"refs/heads/{branch}")
        there = repo.resolve(f"refs/remotes/{remote}/{branch}")
        if here is None or here == there or (there is None and not create):
            continue
        if there is not None and not repo.succeeds("merge-base", "--is-ancestor", there, here):
            if repo.succeeds("merge-base", "--is-ancestor", here, there):
                continue
            problem = f"{branch} and {remote}/{branch} have diverged"
            raise UserError(Problem(DIVERGED, "", problem, "minipach sync"))
        if lacking := sorted(held & _named(project, path)):
            problem = f"its refs stay, since those of {', '.join(lacking)} do"
            raise UserError(Problem(HELD, "", problem, "mend that, and push again"))
        if path == ".":
            _need_all_out(project, here, remote, known)
        commits = int(repo.line("rev-list", "--count", f"{there}..{here}" if there else here))
        try:
            results_exchange.persistently(repo, "push", *_QUIETLY, remote, f"{here}:refs/heads/{branch}", also=_LOCKED)
        except GitError as error:
            if "currently checked out" in error.reason:
                problem = f"{remote} has {branch} checked out, so git refuses the push"
                fix = "push to a bare repository; or, in the other clone, add this one as a remote and minipach pull it"
                raise UserError(Problem("push.checked-out", "", problem, fix)) from None
            if not any(reason in error.stderr for reason in _LATE):
                raise
            problem = f"somebody else pushed to {remote} meanwhile"
            raise UserError(Problem(LATE, "", problem, "push again")) from None
        notify(f"{path}: {many(commits, 'commit')} of {branch} pushed to {remote}")
        moved = replace(moved, commits=moved.commits + commits)
    return moved


def _named(project: Project, path: str) -> set[str]:
    """Return the repos that a repo's branches may name: those in it, and those that a pipeline takes from."""
    inside = {one for one in project.repos if path == "." or one.startswith(f"{path}/")}
    pipeline = project.pipelines.get(path)
    inputs = (
        [pfs.repo if pfs.holder is None else pfs.holder or "." for pfs in pipeline.pfs_inputs()] if pipeline else []
    )
    taken = {*project.upstream(path), *inputs} if pipeline else set()
    return (inside | taken) - {path}


def _need_all_out(project: Project, commit: str, remote: str, known: Collection[tuple[str, str]]) -> None:
    """Raise UserError if a commit of the superdataset names a commit that nobody could fetch who clones it."""
    for entry in project.repo.ls_tree(commit, recursive=True):
        if entry.mode != GITLINK or not is_dataset(project.root / entry.path):
            continue  # what is not installed came from elsewhere
        repo = Repo(project.root / entry.path)
        names = _reachable(project, entry.path, repo, remote, known)
        refs = [f"refs/remotes/{name}/" for name in names]
        try:
            out = bool(refs) and bool(repo.line("for-each-ref", "--contains", entry.sha, "--count=1", *refs))
        except GitError:  # the commit is not here either
            out = False
        if not out:
            problem = f"its refs stay: {entry.path} has no remote with the commit {entry.sha[:12]}"
            url = "" if names else f" remote add {remote} URL, then git -C {quoted(repo.path)}"
            fix = f"git -C {quoted(repo.path)}{url} push {remote} HEAD"
            raise UserError(Problem("push.not-reachable", "", problem, fix))


def _reachable(project: Project, path: str, repo: Repo, remote: str, known: Collection[tuple[str, str]]) -> list[str]:
    """Return the remotes of a repo that people find who clone the superdataset from a remote.

    They look at the remote of the same name, at the address in `.gitmodules`, and at those of `known`.
    """
    top = project.repo.config(f"remote.{remote}.url") or ""
    modules = str(project.root / ".gitmodules")
    urls = [project.repo.config(f"submodule.{path}.{key}", modules) for key in ("url", "datalad-url")]
    listed = {_address(url, top) for url in urls if url}
    found = {remote} | {name for where, name in known if where == path}
    names = repo.line("remote").splitlines()
    return [n for n in names if n in found or _address(repo.config(f"remote.{n}.url") or "", "") in listed]


def _address(url: str, top: str) -> str:
    """Return an address in one form. top: what `./` and `../` are relative to."""
    if top and url.startswith(("./", "../")):
        scheme, mark, rest = top.rpartition("://")
        url = scheme + mark + posixpath.normpath(posixpath.join(rest, url))
    return url.removeprefix("file://").rstrip("/").removesuffix(".git").rstrip("/")


def pull(project: Project, target: str | None, notify: Notify, *, claims: Claims | None = None) -> list[RepoExchange]:
    """Bring the branches, results and places of contents of a remote. claims: as for `push`.

    Contents are fetched when something needs them. A branch is fast-forwarded, or merged if only commits of minipach
    are in the way; else it stays, and a problem says so.

    Raises:
        UserError: No repo has such a remote.
    """
    found: list[RepoExchange] = []
    claims = claims or Alone()
    commits_before = heads(project)
    for path, repo in reversed(list(_repos(project))):
        remote = remote_for(repo, target)
        if not remote:
            continue
        moved = RepoExchange(path, remote)
        if busy := _busy(claims, moved):
            found.append(busy)
            continue
        try:
            before = repo.head()
            with _alone_with(project, path, claims):
                tidy(repo, path, notify)
                if keeps_contents(repo):
                    results_exchange.take(repo, remote)
                bring(repo, remote, partial(_notify_of, notify, path))
            for one in stores(project).values():
                enable_confirmed(project, repo, path, one, notify)
            after = repo.head()
            commits = int(repo.line("rev-list", "--count", f"{before}..{after}")) if before != after and before else 0
            moved = replace(moved, commits=commits)
        except UserError as error:
            moved = replace(moved, problems=tuple(problem.within(path) for problem in error.problems))
        except GitError as error:
            lines = results_exchange.without_credentials(error.reason)
            problem = Problem("pull.failed", path, f"{remote}: {lines}", f"git -C {quoted(repo.path)} pull {remote}")
            moved = replace(moved, problems=(problem,))
        finally:
            claims.release(path)
        found.append(moved)
    follow_branches(project, commits_before)
    for one in unconfirmed(project):
        notify(str(unconfirmed_problem(project, one)))
    if not found:
        raise UserError(no_remote(project, target, "pull", "to pull from"))
    return found


def tidy(repo: Repo, where: str, notify: Notify) -> None:
    """Clear up what a kill left in a repo, and say which files are left as they are. where: the repo, for that line."""
    for path in settle(repo):
        notify(f"{where}: {path} was changed by somebody and is left as it is")


def bring(repo: Repo, remote: str, notify: Notify) -> None:
    """Fetch a remote and move the branch that is checked out to its state. Raises UserError where both have commits."""
    with crash_cleanup.cleared(repo):
        repo.git("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", remote)
        results_exchange.take_places(repo, remote)
    branch = repo.branch()
    there = repo.resolve(f"refs/remotes/{remote}/{branch}") if branch else None
    here = repo.head()
    if there is None or here is None or repo.succeeds("merge-base", "--is-ancestor", there, here):
        return
    forward = repo.succeeds("merge-base", "--is-ancestor", here, there)
    problem = f"{branch} and {remote}/{branch} have diverged"
    if not forward:
        subjects = repo.line("log", "--format=%s", f"{there}..{here}").splitlines()
        if not all(subject.startswith((SUBJECT, RECORD)) for subject in subjects):
            raise UserError(Problem("pull.diverged", "", problem, "minipach sync"))
    try:
        merge(repo, there, FAST_FORWARD if forward else (*MERGE, "-m", f"{SUBJECT}merge {remote}"))
    except InTheWay as error:
        changed = f"uncommitted changes are in the way ({error})"
        raise UserError(Problem("pull.uncommitted", "", changed, "commit them")) from None
    except NotMergedError as error:
        if forward or not error.files:
            raise
        problem += ", and git can't merge them"
        raise UserError(Problem("pull.diverged", "", problem, "minipach sync")) from None
    if forward:
        notify(f"{branch} moved to {there[:12]} of {remote}")
        return
    notify(f"{branch} merged with {there[:12]} of {remote}")


def _notify_of(notify: Notify, name: str, line: str) -> None:
    notify(f"{name}: {line}")


def _repos(project: Project) -> Iterator[tuple[str, Repo]]:
    for path in sorted(project.repos, key=lambda path: (-path.count("/"), path)):
        if is_dataset(project.root / path):
            repo = Repo(project.root / path)
            yield path, repo
            repo.close()
    yield ".", project.repo


def remote_for(repo: Repo, asked: str | None) -> str:
    """Return the git remote to use; "" if the repo has none."""
    known = git_remotes(repo)
    if asked is not None:
        return asked if asked in known else ""
    branch = repo.branch()
    usual = repo.config(f"branch.{branch}.remote") if branch else None
    return next((name for name in (usual or "", "origin") if name in known), known[0] if len(known) == 1 else "")


def _stores(project: Project, repo: Repo, remote: str, store: Store | None) -> list[str]:
    """Return the remotes that get the contents of a repo: the store, or those that the git remote depends on.

    A git remote that came after the stores depends on all of them.
    """
    if store is not None:
        return [store.name] if keeps_contents(repo) else []
    first = depends(repo, remote) or usable_stores(project, repo)
    known = (f"remote.{remote}.annex-uuid", f"remote.{remote}.annex-ignore")
    if not first and keeps_contents(repo) and not any(repo.config(key) for key in known):
        annex(repo, "info", "--fast", remote, ok=(0, 1))  # git-annex finds out whether it keeps contents
    keeps = repo.config(known[0]) and repo.config(known[1]) != "true"
    return first or ([remote] if keeps else [])


def _coming(project: Project, repo: Repo, known: Iterable[Store]) -> list[Store]:
    """Return the stores that `push` sets up in a repo before it sends anything."""
    if not keeps_contents(repo):
        return []
    return [one for one in known if is_confirmed(project.repo, one) and not is_usable(repo, one)]


def _plan(repo: Repo, moved: RepoExchange, coming: Iterable[Store]) -> RepoExchange:
    """Return what would go. coming: the stores that are not set up in the repo yet."""
    sizes: dict[tuple[str, str], int] = {}
    ids = {one.name: identity_in(repo, one) for one in coming}
    for store in moved.stores:
        place = ids.get(store, store)
        # another clone may have set it up, and filled it
        lacking = () if store in ids and described(repo, place) is None else ("--not", f"--in={place}")
        for branch in branches(repo):
            out = annex(repo, "find", "--json", "--in=here", *lacking, f"--branch={branch}")
            for row in map(json.loads, out.splitlines()):
                sizes[store, row["key"]] = int(row.get("bytesize") or 0)
    commits = 0
    if moved.remote and repo.branch() and repo.head():
        there = repo.resolve(f"refs/remotes/{moved.remote}/{repo.branch()}")
        commits = int(repo.line("rev-list", "--count", f"{there}..HEAD" if there else "HEAD"))
    return replace(moved, contents=len(sizes), size=sum(sizes.values()), commits=commits)
