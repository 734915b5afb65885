"""A whole project to a remote or a store and back, in an order in which no visible ref names content that isn't there.

To a remote: contents, then git-annex's branch and the results, then the branch that is checked out; each repo by
itself, nested ones first, and the superdataset last. What fails in a repo keeps the refs of it and of all that
contain it at home.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from minipach.git.repo import GitError, Repo, annex, is_dataset
from minipach.model.messages import RECORD, SUBJECT
from minipach.project.project import Project
from minipach.publish import exchange
from minipach.storage.setup import branches, enable_in, keeps_contents
from minipach.storage.special_remotes import has_remote
from minipach.storage.store import Store, stores
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.text import many, quoted, suggest

Tell = Callable[[str], None]
_QUIETLY = ("--quiet", "--no-follow-tags", "--recurse-submodules=no")


@dataclass(frozen=True, slots=True)
class Moved:
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


def push(project: Project, target: str | None, tell: Tell, *, verify: int = 0, plan: bool = False) -> list[Moved]:
    """Push a project. The caller holds the project's lock.

    Args:
        project: The project.
        target: A git remote, or a store, which gets contents alone; None: the usual remote of each repo.
        tell: Is told each step, in a line.
        verify: Read so many contents of each repo back from each store, and compare them.
        plan: Only find out what would go.

    Raises:
        UserError: No repo has such a remote or store.
    """
    known = stores(project)
    store = known.get(target) if target is not None else None
    found: list[Moved] = []
    held: set[str] = set()
    for path, repo in _repos(project):
        remote = "" if store else remote_for(repo, target)
        if store is None and not remote:
            continue
        for one in known.values() if store is None else (store,):  # repos that came later get the store, too
            if not plan and keeps_contents(repo) and not has_remote(repo, one):
                enable_in(repo, path, one, tell)
        moved = Moved(path, remote, tuple(_stores(repo, remote, store)))
        below = sorted(p for p in held if path == "." or p.startswith(f"{path}/"))
        try:
            moved = _plan(repo, moved) if plan else _send(repo, moved, verify, bool(below), tell)
            if below and not plan:
                problem = f"its refs stay, since those of {', '.join(below)} do"
                raise UserError(Problem("push.held", path, problem, "mend that, and push again"))
        except UserError as error:
            held.add(path)
            moved = replace(moved, problems=tuple(problem.within(path) for problem in error.problems))
        except GitError as error:
            held.add(path)
            lines = exchange.without_credentials((error.stderr.splitlines() or ["git failed"])[-1])
            problem_ = Problem(
                "push.failed", path, f"{remote or target}: {lines}", f"git -C {quoted(repo.path)} remote -v"
            )
            moved = replace(moved, problems=(problem_,))
        found.append(moved)
    if not found:
        names = sorted({*known, *(name for _, repo in _repos(project) for name in repo.line("remote").splitlines())})
        what = f'no repo has a remote "{target}"' if target else "no repo has a remote to push to"
        fix = suggest(target or "origin", names) if names else "git remote add origin URL, or minipach store add NAME"
        raise UserError(Problem("push.no-remote", target or "push", what, fix))
    return found


def pull(project: Project, target: str | None, tell: Tell) -> list[Moved]:
    """Bring the branches, results and places of contents of a remote. The caller holds the project's lock.

    Contents are fetched when something needs them. A branch is fast-forwarded, or merged if only commits of minipach
    are in the way; else it stays, and a problem says so.

    Raises:
        UserError: No repo has such a remote.
    """
    found: list[Moved] = []
    for path, repo in reversed(list(_repos(project))):
        remote = remote_for(repo, target)
        if not remote:
            continue
        moved = Moved(path, remote)
        try:
            before = repo.head()
            if keeps_contents(repo):
                exchange.take(repo, remote)
            bring(repo, remote, partial(_tell_of, tell, path))
            after = repo.head()
            commits = int(repo.line("rev-list", "--count", f"{before}..{after}")) if before != after and before else 0
            moved = replace(moved, commits=commits)
        except UserError as error:
            moved = replace(moved, problems=tuple(problem.within(path) for problem in error.problems))
        except GitError as error:
            lines = exchange.without_credentials((error.stderr.splitlines() or ["git failed"])[-1])
            problem = Problem("pull.failed", path, f"{remote}: {lines}", f"git -C {quoted(repo.path)} pull {remote}")
            moved = replace(moved, problems=(problem,))
        found.append(moved)
    if not found:
        what = f'no repo has a remote "{target}"' if target else "no repo has a remote to pull from"
        raise UserError(Problem("push.no-remote", target or "pull", what, "git remote add origin URL"))
    return found


def bring(repo: Repo, remote: str, tell: Tell) -> None:
    """Fetch a remote and move the branch that is checked out to its state. Raises UserError where both have commits."""
    repo.git("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", remote)
    branch = repo.branch()
    there = repo.resolve(f"refs/remotes/{remote}/{branch}") if branch else None
    here = repo.head()
    if there is None or here is None or repo.succeeds("merge-base", "--is-ancestor", there, here):
        return
    if repo.succeeds("merge-base", "--is-ancestor", here, there):
        repo.git("merge", "--quiet", "--ff-only", there)
        tell(f"{branch} moved to {there[:12]} of {remote}")
        return
    subjects = repo.line("log", "--format=%s", f"{there}..{here}").splitlines()
    problem = f"{branch} and {remote}/{branch} have diverged"
    if not all(subject.startswith((SUBJECT, RECORD)) for subject in subjects):
        fix = f"git -C {quoted(repo.path)} pull --no-rebase {remote}"
        raise UserError(Problem("pull.diverged", "", problem, fix))
    try:
        repo.git("merge", "--quiet", "--no-edit", "-m", f"{SUBJECT}merge {remote}", there)
    except GitError:
        repo.git("merge", "--abort", ok=(0, 128))
        problem += ", and git can't merge them"
        raise UserError(Problem("pull.diverged", "", problem, "see docs/howto-together.md")) from None
    tell(f"{branch} merged with {there[:12]} of {remote}")


def _tell_of(tell: Tell, name: str, line: str) -> None:
    tell(f"{name}: {line}")


def _repos(project: Project) -> Iterator[tuple[str, Repo]]:
    for path in sorted(project.repos, key=lambda path: (-path.count("/"), path)):
        if is_dataset(project.root / path):
            repo = Repo(project.root / path)
            yield path, repo
            repo.close()
    yield ".", project.repo


def remote_for(repo: Repo, asked: str | None) -> str:
    """Return the git remote to use; "" if the repo has none."""
    known = [name for name in repo.line("remote").splitlines() if repo.config(f"remote.{name}.url") is not None]
    if asked is not None:
        return asked if asked in known else ""
    branch = repo.branch()
    usual = repo.config(f"branch.{branch}.remote") if branch else None
    return next((name for name in (usual or "", "origin") if name in known), known[0] if len(known) == 1 else "")


def _stores(repo: Repo, remote: str, store: Store | None) -> list[str]:
    """Return the remotes that get the contents of a repo: the store, or those that the git remote depends on."""
    if store is not None:
        return [store.name] if keeps_contents(repo) else []
    key = f"remote.{remote}.datalad-publish-depends"
    depends = os.fsdecode(repo.git("config", "--get-all", key, ok=(0, 1))).split()
    keeps = repo.config(f"remote.{remote}.annex-uuid") and repo.config(f"remote.{remote}.annex-ignore") != "true"
    return list(dict.fromkeys(depends)) or ([remote] if keeps else [])


def _plan(repo: Repo, moved: Moved) -> Moved:
    sizes: dict[tuple[str, str], int] = {}
    for store in moved.stores:
        for branch in branches(repo):
            out = annex(repo, "find", "--json", "--in=here", "--not", f"--in={store}", f"--branch={branch}")
            for row in map(json.loads, out.splitlines()):
                sizes[store, row["key"]] = int(row.get("bytesize") or 0)
    commits = 0
    if moved.remote and repo.branch() and repo.head():
        there = repo.resolve(f"refs/remotes/{moved.remote}/{repo.branch()}")
        commits = int(repo.line("rev-list", "--count", f"{there}..HEAD" if there else "HEAD"))
    return replace(moved, contents=len(sizes), size=sum(sizes.values()), commits=commits)


def _send(repo: Repo, moved: Moved, verify: int, held: bool, tell: Tell) -> Moved:
    """Send contents, then refs. held: a repo in this one could not be sent, so that the branch of this one stays."""
    remote, branch = moved.remote, repo.branch()
    first = not remote or repo.resolve(f"refs/remotes/{remote}/{branch}") is None
    for store in moved.stores:
        number, size = _copy(repo, store, fast=not first)
        if number:
            tell(f"{moved.repo}: {many(number, 'content')} copied to {store}")
        moved = replace(moved, contents=moved.contents + number, size=moved.size + size)
        moved = replace(moved, verified=moved.verified + _verify(repo, store, verify))
    if not remote:
        return moved
    if not moved.stores and _has_contents(repo):
        fix = f"minipach store add NAME --dir DIR, or git -C {quoted(repo.path)} annex copy --to={remote}"
        raise UserError(Problem("push.no-store", "", f"{remote} keeps no contents, and depends on no store", fix))
    if keeps_contents(repo):
        exchange.send(repo, moved.repo, remote)
    here = repo.head()
    there = repo.resolve(f"refs/remotes/{remote}/{branch}")
    if held or branch is None or here is None or here == there:
        return moved
    if there is not None and not repo.succeeds("merge-base", "--is-ancestor", there, here):
        problem = f"{branch} and {remote}/{branch} have diverged"
        raise UserError(Problem("push.diverged", "", problem, f"minipach pull {remote}, then push again"))
    commits = int(repo.line("rev-list", "--count", f"{there}..{here}" if there else here))
    repo.git("push", *_QUIETLY, remote, f"{here}:refs/heads/{branch}")
    tell(f"{moved.repo}: {many(commits, 'commit')} of {branch} pushed to {remote}")
    return replace(moved, commits=commits)


def _copy(repo: Repo, store: str, *, fast: bool) -> tuple[int, int]:
    """Copy the contents that are here to a store; return their number and bytes. Raises UserError."""
    number = size = 0
    failures: list[str] = []
    for branch in branches(repo):
        words = ["copy", f"--branch={branch}", f"--to={store}", "--json", "--json-error-messages"]
        try:
            out = annex(repo, *words, *(["--fast"] if fast else []))
        except GitError as error:
            out = error.stdout
            failures += [error.stderr.strip()] if error.stderr.strip() else []
        for row in (json.loads(line) for line in out.splitlines() if line.startswith(b"{")):
            if row["success"]:
                number += 1
                size += _bytes(str(row.get("key") or ""))
            else:
                failures += row["error-messages"] or [str(row.get("file"))]
    if failures:
        why = exchange.without_credentials(failures[0])
        problem = f"{many(len(failures), 'content')} could not be copied to {store}: {why}"
        raise UserError(Problem("push.content-not-sent", "", problem, "push again; what went stays"))
    return number, size


def _bytes(key: str) -> int:
    """Return the size in a key (`SHA256E-s123--...`); 0 if it has none."""
    fields = key.partition("--")[0].split("-")[1:]
    return next((int(field[1:]) for field in fields if field[:1] == "s" and field[1:].isdigit()), 0)


def _verify(repo: Repo, store: str, number: int) -> int:
    """Read contents that a store has back and compare them; return how many. Raises UserError."""
    if number <= 0:
        return 0
    keys = set()
    for branch in branches(repo):
        keys |= set(annex(repo, "find", "--format=${key}\\n", f"--in={store}", f"--branch={branch}").split(b"\n")) - {
            b""
        }
    chosen = random.sample(sorted(keys), min(number, len(keys)))
    for key in chosen:
        try:
            annex(repo, "fsck", f"--from={store}", f"--key={os.fsdecode(key)}")
        except GitError as error:
            why = " ".join(error.stderr.split())
            problem = f"{store} has another content of {os.fsdecode(key)}: {why}"
            raise UserError(Problem("push.content-damaged", "", problem, f"minipach store check {store}")) from None
    return len(chosen)


def _has_contents(repo: Repo) -> bool:
    """Return whether a branch that is sent names annexed contents."""
    if not keeps_contents(repo):
        return False
    shown = ("--format=${key}\\n", "--anything")
    return any(annex(repo, "find", *shown, f"--branch={branch}", ok=(0,)) for branch in branches(repo))
