"""The content of the results branch, and which of it is not needed any more."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from minipach.git import crash_cleanup
from minipach.git.annex_keys import size_of
from minipach.git.content import classify
from minipach.git.fast_import import Stream, committer
from minipach.git.repo import Repo
from minipach.git.tree_entries import TreeEntry
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import (
    BUILD_REFS,
    EXPERIMENT_FILE,
    EXPERIMENT_REFS,
    FOLDER,
    POINT_REFS,
    RESULT_FILE,
    RESULTS,
    RESULTS_BRANCH,
    STATE,
)
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.project.project import Project
from minipach.records.job_database import Ledger
from minipach.records.published_state import read_state
from minipach.records.results_branch import StoredResults, id_of_folder, own_branch
from minipach.support.text import many

_BUILD = f"{BUILD_REFS}collect"
_IN_RECORD = re.compile(rb'"id": "([0-9a-f]{64})"')
_IN_STATE = re.compile(rb'"([0-9a-f]{64})"')
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Stored:
    """One result. bytes: of its git blobs · keys: the annexed contents that it points to · published: it is now."""

    id: str
    name: str
    where: str
    bytes: int
    keys: frozenset[str]
    published: bool

    @property
    def annexed(self) -> int:
        """Bytes of the annexed contents, as far as their keys have a size."""
        return annexed(self.keys)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach results list --all --json` and `gc --json`."""
        return {
            "name": self.name,
            "id": self.id,
            "where": self.where,
            "bytes": self.bytes,
            "annexed": self.annexed,
            "published": self.published,
        }


@dataclass(frozen=True, slots=True)
class Collection:
    """The findings of gc for one pipeline. kept: results that stay · unneeded: the others · commit: of the results
    branch without them, once they are dropped.
    """

    pipeline: str
    kept: tuple[Stored, ...]
    unneeded: tuple[Stored, ...]
    commit: str | None = None

    @property
    def annexed(self) -> int:
        """Bytes of annexed contents that only unneeded results point to."""
        kept = frozenset[str]().union(*(s.keys for s in self.kept))
        return annexed(frozenset[str]().union(*(s.keys for s in self.unneeded)) - kept)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach results gc --json`."""
        return {
            "name": self.pipeline,
            "kept": len(self.kept),
            "unneeded": [s.as_json() for s in self.unneeded],
            "bytes": sum(s.bytes for s in self.unneeded),
            "annexed": self.annexed,
            "dropped": self.commit is not None,
        }


def annexed(keys: Iterable[str]) -> int:
    """Return the bytes of annexed contents, as far as their keys have a size."""
    return sum(size_of(key) or 0 for key in keys)


def stored(project: Project, path: str) -> list[Stored]:
    """Return all results of the pipeline at `path`, sorted by name."""
    repo = Repo(project.root / path)
    try:
        return _stored(repo)
    finally:
        repo.close()


def _stored(repo: Repo) -> list[Stored]:
    known = StoredResults(repo)
    if known.commit is None:
        return []
    now = {p.id for p in read_state(repo, repo.head()).values()}
    sizes: dict[str, int] = {}
    outputs: dict[str, list[TreeEntry]] = {}
    for row in repo.git("ls-tree", "-r", "-l", "-z", "--full-tree", known.commit).split(b"\0"):
        meta, _, raw = row.partition(b"\t")
        path = os.fsdecode(raw)
        top, _, rest = path.partition("/")
        folder, _, inside = rest.partition("/")
        if not inside:
            continue
        mode, _, sha, size = meta.decode().split()
        where = f"{top}/{folder}"
        sizes[where] = sizes.get(where, 0) + (int(size) if size.isdecimal() else 0)
        if inside.startswith("out/"):
            outputs.setdefault(where, []).append(TreeEntry(mode, sha, path))
    kinds = classify(repo, [e for entries in outputs.values() for e in entries])
    keys = {where: frozenset(_keys(kinds, entries)) for where, entries in outputs.items()}
    found = [
        Stored(r.id, r.name, r.where, sizes[r.where], keys.get(r.where, frozenset()), r.id in now)
        for datum_id in sorted(known.ids)
        for r in known.of(datum_id)
    ]
    return sorted(found, key=lambda s: (s.name, s.where))


def _keys(kinds: Any, entries: Sequence[TreeEntry]) -> Iterable[str]:
    for entry in entries:
        key = kinds[entry.sha, entry.mode == "120000"][2]
        if key is not None:
            yield key


def collect(project: Project, path: str, *, keep_days: float, now: float, drop: bool) -> Collection:
    """Return results that no history, no job of `keep_days` days and no current datum needs; `drop`: remove them.

    now: seconds since 1970. UserError if the pipeline's datums are not known. Dropping is one more commit on the
    results branch; annexed contents stay. The caller holds the project's lock if `drop`.
    """
    assessment = Assessment(project, path, SnapshotStore(project))
    repo, name = assessment.repo, assessment.pipeline.name
    try:
        everything = _stored(repo)
        if not everything:
            return Collection(name, (), ())
        needed = {task.id for task in assessment.tasks} | _in_history(repo) | _in_experiments(repo)
        if keep_days > 0:
            since = now - keep_days * _DAY
            needed |= _added_since(repo, since) | _ran_since(project, name, since)
        kept = tuple(s for s in everything if s.id in needed)
        unneeded = tuple(s for s in everything if s.id not in needed)
        commit = _drop(repo, unneeded) if drop and unneeded else None
        return Collection(name, kept, unneeded, commit)
    finally:
        assessment.close()


def _in_history(repo: Repo) -> set[str]:
    """Return the ids in run records and in published states, in all that any branch or tag leads to."""
    ours = (RESULTS, "git-annex", "synced/git-annex")
    revs = [f"--exclude={b}" for b in ours] + ["--branches", "--tags"]
    revs += [f"--exclude=*/{b}" for b in ours] + ["--remotes"] + (["HEAD"] if repo.head() else [])
    found: set[str] = set()
    for commit in repo.objects.read_many(repo.line("rev-list", *revs).split()):
        found |= {i.decode() for i in _IN_RECORD.findall(commit or b"")}
    rows = repo.line("rev-list", "--objects", *revs, "--", STATE).splitlines()
    shards = [sha for sha, _, place in (row.partition(" ") for row in rows) if place.startswith(STATE + "/")]
    for data in repo.objects.read_many(shards):
        found |= {i.decode() for i in _IN_STATE.findall(data or b"")}
    return found


def _in_experiments(repo: Repo) -> set[str]:
    """Return the ids of the datums of experiments."""
    blobs = [f"{commit}:{EXPERIMENT_FILE}" for commit in repo.refs(EXPERIMENT_REFS).values()]
    blobs += [f"{commit}:{FOLDER}/{EXPERIMENT_FILE}" for commit in repo.refs(POINT_REFS).values()]
    return {i.decode() for data in repo.objects.read_many(blobs) for i in _IN_STATE.findall(data or b"")}


def _added_since(repo: Repo, since: float) -> set[str]:
    """Return the ids of results that came to the results branch since then, from here or from elsewhere."""
    branch = StoredResults(repo).commit or RESULTS_BRANCH
    how = ("--full-history", "--diff-filter=AM", "--name-only", "--format=", "-z", f"--max-age={int(since)}")
    out = repo.git("log", *how, branch, "--", f":(glob)*/*/{RESULT_FILE}")
    return {id_of_folder(os.fsdecode(p).rpartition("/")[0]) for p in out.split(b"\0") if p.strip()}


def _ran_since(project: Project, pipeline: str, since: float) -> set[str]:
    path = project.local.database
    if not path.is_file():
        return set()
    ledger = Ledger(path)
    try:
        return ledger.ids_since(pipeline, since)
    finally:
        ledger.close()


def _drop(repo: Repo, unneeded: Sequence[Stored]) -> str | None:
    crash_cleanup.clear(repo)
    crash_cleanup.begin(repo)
    own_branch(repo)
    old = repo.resolve(RESULTS_BRANCH)
    stream = Stream(_BUILD, old, committer(repo))
    stream.commit(f"{SUBJECT}drop {many(len(unneeded), 'result')} that nothing needs any more\n")
    for result in unneeded:
        stream.delete(result.where)
    new = stream.run(repo)
    repo.update_refs([f"update {RESULTS_BRANCH} {new} {old}", f"delete {_BUILD}"])
    crash_cleanup.end(repo)
    return new
