"""The inputs of pipelines: commits and snapshots of repos, and what is unusable in them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence

from minipach.datums.pin import pinned_commit
from minipach.datums.snapshot import open_repo, read_snapshot
from minipach.git.repo import Repo, is_dataset
from minipach.model.datum import Datum
from minipach.model.pipeline import Need, PfsInput, Pipeline
from minipach.model.repo_layout import RESULTS
from minipach.model.snapshot import Snapshot
from minipach.project.branch_check import pushable
from minipach.project.problems import absent
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.git_objects import NO_OBJECT
from minipach.support.text import quoted, suggest

_MOST = 20  # names of files that are reported one by one

_INTERNAL = frozenset({"git-annex", RESULTS})  # branches that hold no data to work on
_SYNCED = "synced/"


class SnapshotStore:
    """Snapshots of a project's repos, each read once per commit."""

    def __init__(self, project: Project, *, now: int | None = None, release: bool = False) -> None:
        """now: the present for triggers, in seconds since 1970 (None: as the system has it) · release: no trigger
        counts; the newest commits do.
        """
        self.project = project
        self.now = int(time.time()) if now is None else now
        self.release = release
        self._read: dict[tuple[str, str], Snapshot] = {}
        self._instead: dict[str, str] = {}

    def with_commits(self, commits: Mapping[str, str]) -> SnapshotStore:
        """Return a store that has other commits for some repos than their branches; what was read is shared."""
        other = SnapshotStore(self.project, now=self.now, release=self.release)
        other._read = self._read
        other._instead = dict(commits)
        return other

    def commit(self, need: Need) -> str:
        """Return the commit of the branch that an input names (the one checked out, if it names none).

        UserError at the place in the spec, if it isn't there.
        """
        if need.repo in self._instead:
            return self._instead[need.repo]
        if need.holder is not None:
            return self._pin(need, need.holder)
        where = self.project.root / need.repo
        if need.clock and not is_dataset(where) and need.repo not in self.project.repos:
            return NO_OBJECT  # the first pass makes the repo of ticks
        if not is_dataset(where):
            raise UserError(absent(self.project, need.repo).within(need.repo_at))
        repo = Repo(where)
        commit = repo.resolve(f"refs/heads/{need.branch}^{{commit}}" if need.branch else "HEAD^{commit}")
        if commit is not None:
            return pushable(repo, need.repo_at, need.branch or repo.branch(), commit)
        if need.branch:
            fix = self._other(repo, need)
            raise UserError(
                Problem("input.no-such-branch", need.branch_at, f'no branch "{need.branch}" in {need.repo}', fix)
            )
        raise UserError(
            Problem(
                "input.no-commit", need.repo_at, f"{need.repo} has no commit yet", f"datalad save -d {quoted(where)}"
            )
        )

    def _pin(self, need: Need, holder: str) -> str:
        """Return the commit of the dataset `holder` that last changed the plain folder that an input names."""
        folder = self.project.folder(need.repo)
        repo = open_repo(self.project.root, holder)
        try:
            tip = repo.resolve(f"refs/heads/{need.branch}^{{commit}}" if need.branch else "HEAD^{commit}")
            if tip is None and need.branch:
                named = holder or "the superdataset"
                message = f'no branch "{need.branch}" in {named}'
                raise UserError(Problem("input.no-such-branch", need.branch_at, message, _other(repo, need.branch)))
            branch = need.branch or repo.branch()
            if tip and branch:
                tip = pushable(repo, need.repo_at, branch, tip)
            links = self.project.links_of(holder)
            found = pinned_commit(repo, folder, tip, links, self.project.cache) if tip and folder else None
            if found is None:
                save = f"datalad save -d {quoted(repo.path)} {quoted(self.project.root / need.repo)}"
                message = f"no file is committed in the folder {need.repo}"
                if need.branch:
                    message += f" on {need.branch}"
                raise UserError(Problem("input.no-commit", need.repo_at, message, save))
            return found if branch else pushable(repo, need.repo_at, branch, found)
        finally:
            repo.close()

    def _other(self, repo: Repo, need: Need) -> str:
        upstream = self.project.pipelines.get(need.repo)
        if upstream and upstream.output_branch and need.branch:
            release = f"git -C {quoted(repo.path)} branch {need.branch} {upstream.output_branch}"
            return f"{release} releases the results of {upstream.name}"
        return _other(repo, need.branch or "")

    def at(self, repo_path: str, commit: str) -> Snapshot:
        """Return the snapshot of a repo at a commit."""
        key = (repo_path, commit)
        if commit == NO_OBJECT:
            return Snapshot(commit, {})
        if key not in self._read:
            folder = self.project.folder(repo_path)
            repo = open_repo(self.project.root, folder.holder if folder else repo_path)
            try:
                self._read[key] = read_snapshot(repo, commit, self.project.cache, folder)
            finally:
                repo.close()
        return self._read[key]


def _other(repo: Repo, branch: str) -> str:
    """Return the fix where a repo has no such branch."""
    for ref in repo.refs("refs/remotes/"):
        remote, _, name = ref.removeprefix("refs/remotes/").partition("/")
        if name == branch:
            return f"git -C {quoted(repo.path)} branch {branch} {remote}/{branch}"
    names = (ref.removeprefix("refs/heads/") for ref in repo.refs("refs/heads/"))
    return suggest(branch, [n for n in names if n not in _INTERNAL and not n.startswith(_SYNCED)])


def unusable(
    project: Project,
    pipeline: Pipeline,
    snapshots: Mapping[tuple[str, str | None], Snapshot],
    datums: Sequence[Datum],
) -> Iterator[Problem]:
    """Yield what keeps these datums from being processed, a line each: names of files, subdatasets that aren't here."""
    odd: dict[str, dict[str, None]] = {}
    for datum in datums:
        for match in datum.matches:
            try:
                (match.path + datum.name).encode()
            except UnicodeEncodeError:
                odd.setdefault(match.repo, {})[match.path] = None
    for repo, paths in odd.items():
        yield from _problems(repo, [f"the file name {os.fsencode(path)!r} is not UTF-8" for path in paths])
    for (repo, branch), snapshot in snapshots.items():
        yield from broken_lines(repo, snapshot)
        for missing in snapshot.missing:
            yield from _not_installed(project, pipeline, (repo, branch), missing, datums)


def unmatched(
    pipeline: Pipeline,
    snapshots: Mapping[tuple[str, str | None], Snapshot],
    deferred: Mapping[tuple[str, str | None], str] | None = None,
) -> str:
    """Return why there is no datum. deferred: the inputs that wait for their trigger, each with what it waits for."""
    from minipach.spec.glob import compile_glob

    found: dict[str, None] = {}
    for pfs in pipeline.pfs_inputs():
        glob = compile_glob(pfs.glob)
        repo = pfs.repo + (f" on {pfs.branch}" if pfs.branch else "")
        snapshot = snapshots[pfs.repo, pfs.branch]
        if not snapshot.files and (waits := (deferred or {}).get((pfs.repo, pfs.branch))):
            found[f"{repo} is deferred by its trigger: {waits}"] = None
        elif not snapshot.files:
            found[f"{repo} has no ticks yet" if pfs.clock else f"{repo} is empty"] = None
        elif not any(glob.match(path) is not None for path in snapshot.paths(glob.depth)):
            found[f"nothing in {repo} matches {pfs.glob}"] = None
    return ", ".join(found) or "each input matches something, but no key is common to all"


def broken_lines(repo: str, snapshot: Snapshot) -> Iterator[Problem]:
    """Yield a line for each file with a line break in its name, matched or not.

    datalad 1.7 takes such a file for deleted, and reruns nothing.
    """
    fault = "contains a line break, which datalad cannot save or rerun"
    yield from _problems(repo, [f"the file name {path!r} {fault}" for path in snapshot.files if "\n" in path])


def _problems(repo: str, messages: Sequence[str]) -> Iterator[Problem]:
    yield from (Problem("file.bad-name", repo, message, "rename it") for message in messages[:_MOST])
    if len(messages) > _MOST:
        yield Problem("file.bad-name", repo, f"there are {len(messages) - _MOST} more such names")


def _not_installed(
    project: Project, pipeline: Pipeline, of: tuple[str, str | None], missing: str, datums: Sequence[Datum]
) -> Iterator[Problem]:
    """Yield a subdataset that isn't installed is a problem where a glob could reach into it."""
    for pfs in _reaching(pipeline, of, missing, datums):
        where = project.root / pfs.repo / missing
        yield Problem(
            "input.subdataset-not-installed",
            pfs.repo,
            f"the subdataset {missing} is not installed, and the glob {pfs.glob} reaches it",
            f"datalad get -n {quoted(where)}",
        )


def _reaching(
    pipeline: Pipeline, of: tuple[str, str | None], subdataset: str, datums: Sequence[Datum]
) -> Iterator[PfsInput]:
    """Yield the inputs from a repo whose globs reach into a subdataset of it."""
    from minipach.spec.glob import compile_glob

    inside = "/" + subdataset
    for pfs in pipeline.pfs_inputs():
        if (pfs.repo, pfs.branch) != of:
            continue
        glob = compile_glob(pfs.glob)
        below = glob.depth is None or glob.depth > inside.count("/")
        near = inside.startswith(glob.prefix) or glob.prefix.startswith(inside + "/")
        matched = glob.match(inside) is not None or any(
            (m.repo, m.branch) == of and (m.path == "/" or inside.startswith(m.path + "/"))
            for d in datums
            for m in d.matches
        )
        if matched or (below and near):
            yield pfs


def apart(project: Project, pipeline: Pipeline, datums: Sequence[Datum]) -> Iterator[str]:
    """Yield a line for each dataset in a plain folder that a glob reaches: it is no part of the folder."""
    for repo, branch in dict.fromkeys((pfs.repo, pfs.branch) for pfs in pipeline.pfs_inputs()):
        for inside in project.datasets_in(repo):
            if any(_reaching(pipeline, (repo, branch), inside, datums)):
                yield f"{repo}/{inside} is a dataset, and no part of the folder {repo}; name it as a repo of its own"
