"""The results branch `minipach`: `<2 hex>/<datum id>/{out/, result.json}`; known results, read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from minipach.git.repo import Repo
from minipach.git.tree_entries import TREE, TreeEntry, parse_tree
from minipach.model.repo_layout import RECORD_FILE, RESULT_FILE, RESULTS, RESULTS_BRANCH
from minipach.support.git_objects import NO_OBJECT
from minipach.support.validation import checked, parse_object

_AT_ONCE = 1000  # results that are read together


@dataclass(frozen=True, slots=True)
class Result:
    """One stored result.

    where: its folder on the results branch · tree: its `out/` tree (None: no output), with paths as the command wrote
    them · dest: the place in the repo that `out/` was written for (annexed symlinks in it are relative to that depth) ·
    words: of its name that the command did not see; `out/` has tokens for them · matches: [input, repo, path] ·
    variables: of the datum, as the command saw them · record: the object of the run record's message; "" if it has none
    (see `StoredResults.record`).
    """

    id: str
    where: str
    tree: str | None
    name: str
    dest: str
    words: tuple[str, ...]
    matches: tuple[tuple[str, str, str], ...]
    recipe: Mapping[str, Any]
    inputs: Mapping[str, Any]
    variables: Mapping[str, str]
    record: str
    author: str
    code_tree: str


def results_commit(repo: Repo) -> str | None:
    """Return where results are read from: the results branch, or in a clone that has none yet the one of its remote."""
    own = repo.resolve(RESULTS_BRANCH)
    if own is not None:
        return own
    remotes = repo.refs("refs/remotes/")
    found = {name: sha for name, sha in remotes.items() if name.count("/") == 3 and name.endswith(f"/{RESULTS}")}
    origin = found.get(f"refs/remotes/origin/{RESULTS}")
    # of several others none is the one that is meant
    return origin or (next(iter(found.values())) if len(found) == 1 else None)


def own_branch(repo: Repo) -> None:
    """Begin the results branch of a clone where its remote's ends; nothing, if there is one already."""
    commit = results_commit(repo)
    if commit is not None and repo.resolve(RESULTS_BRANCH) is None:
        repo.update_refs([f"create {RESULTS_BRANCH} {commit}"])


def read_folders(repo: Repo, commit: str | None) -> dict[str, str]:
    """Return the results at a commit of the results branch: each one's folder with its tree."""
    tops = _tops(repo, commit)
    found: dict[str, str] = {}
    for top, data in zip(tops, repo.objects.read_many(list(tops.values())), strict=True):
        found.update(_folders(top, data))
    return found


def _tops(repo: Repo, commit: str | None) -> dict[str, str]:
    """Return the folders `<2 hex>` of a results branch with their trees."""
    return {t.path: t.sha for t in repo.ls_tree(commit) if t.mode == TREE and len(t.path) == 2} if commit else {}


def _folders(top: str, data: bytes | None) -> Iterator[tuple[str, str]]:
    return ((f"{top}/{entry.path}", entry.sha) for entry in parse_tree(data or b""))


def id_of_folder(where: str) -> str:
    """Return the datum id that a result's folder is for."""
    return where.partition("/")[2].partition(".")[0]


class StoredResults:
    """The results on the results branch at one commit. All is read when asked for, ids by their first two digits.

    own: the commit of the repo's own results branch; None in a clone that still reads its remote's.
    """

    def __init__(self, repo: Repo) -> None:
        self.repo = repo
        self.own = repo.resolve(RESULTS_BRANCH)
        self.commit = self.own or results_commit(repo)
        self._loaded: dict[str, tuple[Result, ...]] = {}
        self._shards: dict[str, dict[str, list[tuple[str, str]]]] = {}
        self._records: dict[str, str] = {}  # by blob: the datums of a set share one
        self._recipes: dict[str, Mapping[str, Any]] = {}

    def is_of_now(self) -> bool:
        """Return whether the results branch is still at this commit."""
        own = self.repo.resolve(RESULTS_BRANCH)
        return self.commit is not None and (own, own or results_commit(self.repo)) == (self.own, self.commit)

    @cached_property
    def _tops(self) -> dict[str, str]:
        return _tops(self.repo, self.commit)

    def _shard(self, top: str) -> dict[str, list[tuple[str, str]]]:
        """Return the ids that begin with two digits: the folders of each, with their trees."""
        if top not in self._shards:
            found = self._shards[top] = {}
            tree = self._tops.get(top)
            for where, sha in _folders(top, self.repo.objects.read(tree)) if tree else ():
                found.setdefault(id_of_folder(where), []).append((where, sha))
        return self._shards[top]

    def __contains__(self, datum_id: str) -> bool:
        return datum_id in self._shard(datum_id[:2])

    @property
    def ids(self) -> frozenset[str]:
        """All datum ids that have a result."""
        return frozenset(datum_id for top in self._tops for datum_id in self._shard(top))

    def folders_of(self, datum_id: str) -> list[str]:
        """Return the folders on the results branch that hold an id's results."""
        return [where for where, _ in self._shard(datum_id[:2]).get(datum_id, [])]

    def of(self, datum_id: str) -> tuple[Result, ...]:
        """Return the results of an id: one for each name that it was computed under."""
        self.read_ahead([datum_id])
        return self._loaded[datum_id]

    def read_ahead(self, ids: Iterable[str]) -> None:
        """Read the results of many ids at once, which is quicker than one after the other."""
        results: dict[str, list[Result]] = {datum_id: [] for datum_id in ids if datum_id not in self._loaded}
        rows = [(i, *row) for i in results for row in sorted(self._shard(i[:2]).get(i, []))]
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            trees = self.repo.objects.read_many([tree for _, _, tree in some])
            entries = [{e.path: e.sha for e in parse_tree(data or b"")} for data in trees]
            # as a list: what is read beside must not come in between
            texts = list(self.repo.objects.read_many([found.get(RESULT_FILE, NO_OBJECT) for found in entries]))
            for (datum_id, where, _), found, text in zip(some, entries, texts, strict=True):
                result = self._result(where, found, text)
                if result is not None:
                    results[datum_id].append(result)
        self._loaded.update((datum_id, tuple(found)) for datum_id, found in results.items())

    def named(self, datum_id: str, name: str) -> Result | None:
        """Return the result of an id that was computed (or copied) under this name."""
        return next((r for r in self.of(datum_id) if r.name == name), None)

    def files(self, result: Result) -> list[TreeEntry]:
        """Return the files of a result, with paths relative to its `dest`."""
        return next(self.files_of([result]))

    def files_of(self, results: Sequence[Result]) -> Iterator[list[TreeEntry]]:
        """Yield the files of each result: a reading for each depth of so many results, not for each folder."""
        for start in range(0, len(results), _AT_ONCE):
            found: list[list[TreeEntry]] = [[] for _ in results[start : start + _AT_ONCE]]
            level = [(files, "", r.tree) for files, r in zip(found, results[start:], strict=False) if r.tree]
            while level:
                below = []
                # as a list: what is read beside must not come in between
                trees = list(self.repo.objects.read_many([tree for _, _, tree in level]))
                for (files, prefix, _), data in zip(level, trees, strict=True):
                    for entry in parse_tree(data or b""):
                        if entry.mode == TREE:
                            below.append((files, f"{prefix}{entry.path}/", entry.sha))
                        else:
                            files.append(TreeEntry(entry.mode, entry.sha, prefix + entry.path))
                level = below
            for files in found:
                yield sorted(files, key=lambda entry: entry.path)

    def paths(self, trees: Iterable[str]) -> dict[str, list[str]]:
        """Return the files below each of these trees, in no order: a reading for each depth, not for each tree."""
        found: dict[str, list[str]] = {tree: [] for tree in trees}
        level = [(tree, "", tree) for tree in found]
        while level:
            wanted = list({sha for _, _, sha in level})
            data = dict(zip(wanted, self.repo.objects.read_many(wanted), strict=True))
            below = []
            for top, prefix, sha in level:
                for entry in parse_tree(data[sha] or b""):
                    if entry.mode == TREE:
                        below.append((top, f"{prefix}{entry.path}/", entry.sha))
                    else:
                        found[top].append(prefix + entry.path)
            level = below
        return found

    def _result(self, where: str, entries: Mapping[str, str], text: bytes | None) -> Result | None:
        """Return a result from the entries of its folder, and what its `result.json` says."""
        if text is None:
            return None
        try:
            found = checked(from_json(parse_object(text), where, entries.get("out"), entries.get(RECORD_FILE, "")))
        except (ValueError, TypeError, LookupError):  # somebody else's commit: then it isn't known
            return None
        # many results have one recipe: it is kept once
        return replace(found, recipe=self._recipes.setdefault(json.dumps(found.recipe), found.recipe))

    def record(self, result: Result) -> str:
        """Return the message of a result's run record; "" if it has none."""
        return next(self.records_of([result]))

    def records_of(self, results: Sequence[Result]) -> Iterator[str]:
        """Yield the message of each result's run record, many read at once; "" for one that has none."""
        for start in range(0, len(results), _AT_ONCE):
            some = results[start : start + _AT_ONCE]
            wanted = list(dict.fromkeys(r.record for r in some if r.record and r.record not in self._records))
            if len(self._records) + len(wanted) > _AT_ONCE:
                self._records.clear()
                wanted = list(dict.fromkeys(r.record for r in some if r.record))
            read = self.repo.objects.read_many(wanted)
            self._records |= {blob: os.fsdecode(data or b"") for blob, data in zip(wanted, read, strict=True)}
            yield from [self._records[r.record] if r.record else "" for r in some]

    def forget(self) -> None:
        """Forget the results that were read. They are read again when asked for."""
        self._loaded.clear()
        self._records.clear()


def from_json(data: Mapping[str, Any], where: str, tree: str | None, record: str) -> Result:
    """Return a result from its `result.json`."""
    return Result(
        id=data["id"],
        where=where,
        tree=tree,
        name=data["name"],
        dest=data["dest"],
        words=tuple(map(str, data.get("words", ()))),
        matches=tuple((m[0], m[1], m[2]) for m in data["matches"]),
        recipe=data["recipe"],
        inputs=data["inputs"],
        variables=data.get("variables", {}),
        record=record,
        author=data["author"],
        code_tree=data["code_tree"],
    )


def to_json(data: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of a `result.json`."""
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=True).encode() + b"\n"


def folder_of(datum_id: str, name: str, taken: Container[str]) -> str:
    """Return the folder for a new result; a second name of the same id gets a folder of its own beside the first."""
    first = f"{datum_id[:2]}/{datum_id}"
    if first not in taken:
        return first
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"{first}.{digest}"


def result_json(described: dict[str, Any]) -> bytes:
    """Return the `result.json` that is stored, from what a worker described."""
    return to_json({k: v for k, v in described.items() if k not in ("files", "forced", "record")})
