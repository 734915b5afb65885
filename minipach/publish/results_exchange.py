"""Results between clones: take over a remote's results branch; send ours there, with the contents of its results."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from minipach.git import crash_cleanup
from minipach.git.annex_errors import row_reason
from minipach.git.git_error import GitError
from minipach.git.repo import Repo, annex, is_dataset, take_in_locations
from minipach.model.repo_layout import RESULTS, RESULTS_BRANCH
from minipach.project.project import Project
from minipach.publish.merge_results import merge_results
from minipach.records.results_branch import own_branch, read_folders, results_commit
from minipach.storage.setup import git_remotes
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.text import many, nearest, quoted

_log = logging.getLogger("minipach.publish")
_ANNEX = "refs/heads/git-annex"
_VERIFIED = ".annex-verified"  # setting of a special remote
_TRIES = 5  # rounds of merge and push while others push, too
_PAUSES = (0.5, 2.0)  # seconds before a command that speaks to a remote is tried again
# what git and git-annex say of a network or a server that fails for a while
_PASSING = re.compile(
    r"connection (?:was )?(?:reset|refused|closed|timed out|aborted)|connection failure|failed to connect|"
    r"could not resolve|"
    r"early eof|hung up unexpectedly|unexpected disconnect|rpc failed|broken pipe|network is unreachable|"
    r"no route to host|temporary failure|operation timed out|no response|returned error: (?:429|5\d\d)|"
    r"ConnectionFailure|NoResponseDataReceived|ConnectionClosed|ConnectionTimeout|ResponseTimeout|"
    r"IncompleteHeaders|resource vanished|does not exist \(connection",
    re.IGNORECASE,
)
_REFUSED = re.compile(r"^!\t\S*\t(.*)$", re.M)


@dataclass(frozen=True, slots=True)
class Exchange:
    """The exchange for one pipeline. came, went: results · contents: annexed contents copied · results: all now ·
    problems: contents that didn't go.
    """

    pipeline: str
    remote: str
    results: int = 0
    came: int = 0
    went: int = 0
    contents: int = 0
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach results pull --json` and `push --json`."""
        return {
            "name": self.pipeline,
            "remote": self.remote,
            "results": self.results,
            "came": self.came,
            "went": self.went,
            "contents": self.contents,
            "notes": list(self.notes),
            "problems": problems_json(self.problems),
        }


def passes(text: str) -> bool:
    """Return whether an error of git or git-annex is one that may be over in a moment."""
    return bool(_PASSING.search(text))


def pause(attempt: int) -> None:
    """Wait before another attempt, a time that differs between those who were refused together."""
    time.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)] * random.uniform(0.5, 1.5))


def persistently(repo: Repo, *command: str, also: Sequence[str] = ()) -> bytes:
    """Return the output of a git command that speaks to a remote. It is tried again if the network drops.

    Args:
        repo: The repo.
        command: The command. It must do the same when it is repeated.
        also: Further words in an error that make another attempt worth while.

    Raises:
        GitError: It failed for another reason, or each time.
    """
    for attempt in range(len(_PAUSES)):
        try:
            return repo.git(*command)
        except GitError as error:
            said = error.stderr + os.fsdecode(error.stdout)
            if not passes(said) and not any(word in said for word in also):
                raise
            _log.info("%s: git %s failed, and is tried again", repo.path, command[0])
            pause(attempt)
    return repo.git(*command)


def choose(project: Project, words: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """Return the remote and the pipelines (all, if none is named) of `[REMOTE] [PIPELINE...]`."""
    first = words[0] if words else None
    names = {name for path in project.order for name in (path, project.name_of(path))}
    repos = [Repo(project.root / path) for path in datasets(project, ())] if words else []
    remotes = {remote for repo in repos for remote in git_remotes(repo)}
    if first in names - remotes:
        return None, datasets(project, words)
    if first is not None and first not in remotes:
        near = nearest(first, {*names, *remotes})
        if near:  # else a remote that is still to be made is meant: each pipeline says how
            raise UserError(Problem("results.no-such-remote", first, "no remote and no pipeline in this project", near))
    return first, datasets(project, words[1:])


def datasets(project: Project, names: Sequence[str]) -> tuple[str, ...]:
    """Return the paths of the pipelines named (all, if none is) that are datasets.

    UserError for a named one that isn't.
    """
    if not names:
        return tuple(p.path for p in project.places if p.is_dataset)
    paths = tuple(dict.fromkeys(project.path_of(n) for n in names))
    for path in paths:
        if not is_dataset(project.root / path):
            raise UserError(
                Problem(
                    "pipeline.not-a-dataset", path, "not a dataset yet", f"minipach schedule {project.name_of(path)}"
                )
            )
    return paths


def remote_of(repo: Repo, where: str, asked: str | None) -> str:
    """Return the remote to use: the one asked for, that of the branch checked out, `origin`, or the only one."""
    known = git_remotes(repo)
    if asked is not None:
        if asked in known:
            return asked
        there = f"use one of: {', '.join(known)}; or " if known else ""
        fix = nearest(asked, known) or f"{there}git -C {quoted(repo.path)} remote add {asked} URL"
        raise UserError(Problem("results.no-such-remote", where, f'no remote "{asked}"', fix))
    branch = repo.branch()
    upstream = repo.config(f"branch.{branch}.remote") if branch else None
    if upstream in known:
        return str(upstream)
    if "origin" in known:
        return "origin"
    if len(known) == 1:
        return known[0]
    if not known:
        raise UserError(
            Problem(
                "results.no-remote",
                where,
                "no remote to exchange results with",
                f"git -C {quoted(repo.path)} remote add origin URL",
            )
        )
    raise UserError(
        Problem(
            "results.several-remotes",
            where,
            f"several remotes ({', '.join(known)}) and none of them is the branch's",
            "name the one to use",
        )
    )


def pull(project: Project, path: str, asked: str | None) -> Exchange:
    """Take over the results of a remote for the pipeline at `path`. The caller holds the project's lock."""
    repo = Repo(project.root / path)
    remote = remote_of(repo, path, asked)
    crash_cleanup.clear(repo)
    crash_cleanup.begin(repo)
    try:
        before = read_folders(repo, results_commit(repo))
        own_branch(repo)
        _take(repo, remote)
        after = read_folders(repo, repo.resolve(RESULTS_BRANCH))
    finally:
        repo.close()
    crash_cleanup.end(repo)
    return Exchange(project.name_of(path), remote, len(after), came=len(after.keys() - before.keys()))


def push(project: Project, path: str, asked: str | None, *, data: bool) -> Exchange:
    """Merge with the remote's results, then send ours there, contents (if `data`) first.

    UserError if the remote refuses. The caller holds the project's lock.
    """
    repo = Repo(project.root / path)
    done = pull(project, path, asked)
    remote = done.remote
    tracking = f"refs/remotes/{remote}/{RESULTS}"
    crash_cleanup.begin(repo)
    try:
        theirs = read_folders(repo, repo.resolve(tracking))
        if repo.resolve(RESULTS_BRANCH) is None:
            crash_cleanup.end(repo)
            return done
        if data:
            done = _copy_contents(repo, done)
        _send_until_taken(repo, path, remote)
        ours = read_folders(repo, repo.resolve(RESULTS_BRANCH))
    finally:
        repo.close()
    crash_cleanup.end(repo)
    came = done.came + len(ours) - done.results
    return replace(done, results=len(ours), came=came, went=len(ours.keys() - theirs.keys()))


def take(repo: Repo, remote: str) -> int:
    """Merge the results and places of contents that a remote knows, of any repo. Return how many results came.

    Raises:
        UserError: The remote can't be reached.
    """
    crash_cleanup.clear(repo)
    crash_cleanup.begin(repo)
    before = read_folders(repo, results_commit(repo))
    own_branch(repo)
    _take(repo, remote)
    after = read_folders(repo, repo.resolve(RESULTS_BRANCH))
    crash_cleanup.end(repo)
    return len(after.keys() - before.keys())


def take_places(repo: Repo, remote: str) -> None:
    """Merge what a remote knows of where contents are, as it was fetched. Workers with clones learn it from here."""
    theirs = f"refs/remotes/{remote}/git-annex"
    if (
        repo.resolve(_ANNEX)
        and repo.resolve(theirs)
        and not repo.succeeds("merge-base", "--is-ancestor", theirs, _ANNEX)
    ):
        take_in_locations(repo)


def send(repo: Repo, path: str, remote: str) -> None:
    """Send results and the places of contents, of any repo; merge first what the remote has. Raises UserError."""
    take(repo, remote)
    crash_cleanup.begin(repo)
    _send_until_taken(repo, path, remote)
    crash_cleanup.end(repo)


def _send_until_taken(repo: Repo, path: str, remote: str) -> None:
    """Push; where somebody else pushed first, merge with that and push again."""
    tracking = f"refs/remotes/{remote}/"
    for attempt in range(_TRIES):
        refused = _send(repo, remote)
        if refused is None:
            return
        before = repo.refs(tracking)
        _take(repo, remote)
        busy = "lock" in refused or repo.refs(tracking) != before
        if not busy or attempt == _TRIES - 1:
            raise UserError(
                Problem(
                    "results.push-refused",
                    path,
                    f"{remote} refused the results ({refused})",
                    "push again (nothing is lost)",
                )
            )
        if attempt:  # the first time, what the other pushed is there already
            pause(0)


def _take(repo: Repo, remote: str) -> None:
    """Fetch the remote's results and what it knows of where contents are; merge both."""
    listed = _talk(repo, remote, "ls-remote", remote, RESULTS_BRANCH, _ANNEX)
    found = [row.split("\t")[1] for row in os.fsdecode(listed).splitlines()]
    if not found:
        return
    specs = [f"+{ref}:refs/remotes/{remote}/{ref.removeprefix('refs/heads/')}" for ref in found]
    quietly = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")
    _talk(repo, remote, "fetch", *quietly, remote, *specs)
    if RESULTS_BRANCH in found:
        theirs = repo.resolve(f"refs/remotes/{remote}/{RESULTS}")
        assert theirs is not None
        merge_results(repo, theirs, remote)
    if _ANNEX in found:
        take_in_locations(repo)


def _send(repo: Repo, remote: str) -> str | None:
    """Push the results branch and git-annex's; why the remote refused one of them, or None."""
    refs = [ref for ref in (_ANNEX, RESULTS_BRANCH) if repo.resolve(ref)]
    try:
        _talk(repo, remote, "push", "--porcelain", "--no-follow-tags", "--recurse-submodules=no", remote, *refs)
    except _Refused as refused:
        return refused.why
    for ref in refs:  # a remote without a fetch setting for these leaves them where they were
        tracking = f"refs/remotes/{remote}/{ref.removeprefix('refs/heads/')}"
        repo.update_refs([f"update {tracking} {repo.resolve(ref)}"])
    return None


class _Refused(Exception):
    """The remote took the connection, but not the refs."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


def _talk(repo: Repo, remote: str, *command: str) -> bytes:
    """Return a git command that speaks to a remote; UserError without the credentials that its address may hold."""
    try:
        return persistently(repo, *command)
    except GitError as error:
        refused = _REFUSED.findall(os.fsdecode(error.stdout))
        if refused:
            raise _Refused(", ".join(dict.fromkeys(refused))) from None
        if blocked := unverified(repo, error.stderr):
            raise UserError(blocked) from None
        raise UserError(
            Problem(
                "results.git-failed",
                str(repo.path),
                f"git {command[0]} {remote} failed: {without_credentials(error.stderr)}",
                f"git -C {quoted(repo.path)} remote -v",
            )
        ) from None


def unverified(repo: Repo, text: str) -> Problem | None:
    """Return the problem of a special remote that blocks all writes, by what git-annex said; None: it is another one.

    git-annex enables what a repository asks for, and sends nothing anywhere before somebody has said that it is safe.
    """
    found = re.search(r"unverified special remote.*?verifyremote (\S+)", text, re.DOTALL)
    return None if found is None else unverified_problem(repo, found[1])


def unverified_remotes(repo: Repo) -> list[str]:
    """Return the special remotes that block all writes: git-annex has enabled them, and nobody has confirmed them."""
    keys = [key for key, value in repo.settings().items() if value == "automatic"]
    return sorted(
        key.removeprefix("remote.").removesuffix(_VERIFIED)
        for key in keys
        if key.startswith("remote.") and key.endswith(_VERIFIED)
    )


def unverified_problem(repo: Repo, name: str, stores: Collection[str] = ()) -> Problem:
    """Return the problem of a special remote that blocks all writes. stores: those that the project has."""
    problem = f"the remote {name} came with the repository and is not confirmed here, so git-annex sends nothing"
    remove = f"git -C {quoted(repo.path)} remote remove {quoted(name)}"
    if name in stores:
        remove = f"minipach store remove {name} --here"
    fix = f"minipach store add {quoted(name)}, if you expect it; else {remove}"
    return Problem("push.unverified-remote", "", problem, fix)


def without_credentials(text: str) -> str:
    """Return text of git or git-annex on one line, less what stands before the @ of an address."""
    plain = re.sub(r"(\w+://)[^/\s@]*@", r"\1", text)
    return " ".join(plain.split())


def _copy_contents(repo: Repo, done: Exchange) -> Exchange:
    """Copy the contents of results that are here to the remote, and to where it keeps its contents
    (`remote.NAME.datalad-publish-depends`).
    """
    remote = done.remote
    stores = os.fsdecode(repo.git("config", "--get-all", f"remote.{remote}.datalad-publish-depends", ok=(0, 1))).split()
    copied, notes, problems = 0, [], []
    for store in dict.fromkeys([*stores, remote]):
        ignored = repo.config(f"remote.{store}.annex-ignore") == "true"
        number, problem = (0, "") if ignored else _copy_to(repo, store)
        copied += number
        if ignored or (problem and store == remote and repo.config(f"remote.{store}.annex-uuid") is None):
            if not stores:
                notes.append(f"{store} keeps no annexed contents: only the results went there")
        elif problem:
            problems.append(Problem("results.content-not-sent", str(repo.path), problem))
    return replace(done, contents=copied, notes=tuple(notes), problems=tuple(problems))


def _copy_to(repo: Repo, store: str) -> tuple[int, str]:
    """Return how many contents went to a store, and what went wrong."""
    quietly = ("--fast", "--json", "--json-error-messages")
    problem = ""
    try:
        out = annex(repo, "copy", f"--branch={RESULTS_BRANCH}", f"--to={store}", *quietly)
    except GitError as error:
        out, problem = error.stdout, f"git annex copy --to={store} failed: {error.stderr.strip()}"
    rows = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
    failed = [row for row in rows if not row["success"]]
    if failed:
        why = row_reason(failed[0])
        problem = f"{many(len(failed), 'content')} could not be copied to {store}: {why}"
    return len(rows) - len(failed), without_credentials(problem)
