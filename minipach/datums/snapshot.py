"""A repo at one commit: its paths, each with a content id, read from git alone (no content is needed)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minipach.git.annex_keys import MAX_POINTER, content_id, key_of_link, key_of_pointer
from minipach.git.content import classify
from minipach.git.git_error import GitError
from minipach.git.plain_names import parents
from minipach.git.repo import Repo, is_dataset
from minipach.git.tree_entries import EXECUTABLE, GITLINK, SYMLINK, TreeEntry
from minipach.model.plain_folder import PlainFolder
from minipach.model.repo_layout import (
    OWN_FILES,
    SPECS,
    is_pipeline,
    reserved_in_data,
    reserved_in_pipeline,
)
from minipach.model.snapshot import FileEntry, Snapshot
from minipach.project.own_files_list import listed_own
from minipach.support.disk_cache import Cache
from minipach.support.errors import Problem, UserError
from minipach.support.git_objects import blob_id
from minipach.support.text import quoted

_trees: dict[tuple[Path, str, str], str] = {}  # of commits, which have them for ever


def _tree_of(repo: Repo, commit: str, folder: str = "") -> str:
    where = (repo.path, commit, folder)
    if where not in _trees:
        tree = repo.resolve(f"{commit}:{folder}" if folder else commit + "^{tree}")
        assert tree is not None
        _trees[where] = tree
    return _trees[where]


def read_snapshot(repo: Repo, commit: str, cache: Cache | None = None, folder: PlainFolder | None = None) -> Snapshot:
    """Read a commit of a repo, subdatasets at the commits that it pins included; or of a plain folder in it.

    What is housekeeping (`.datalad`, `.git*`) and, in a pipeline's repo, all reserved names are left out.
    With a cache, an earlier snapshot of the repo is taken and only what changed since is read.
    """
    tree = _tree_of(repo, commit, folder.path if folder else "")
    where = str(repo.path) if folder is None else "\0".join((str(repo.path), folder.path, *sorted(folder.pipelines)))
    kept = _restore(repo, cache.get("snapshot", where)) if cache else None
    if kept is not None:
        old_tree, reader, pipeline = kept
        reader.folder = folder
        changed = reader.update(repo, old_tree, tree, pipeline) if old_tree != tree else 0
        if changed is not None:
            if cache and changed > len(reader.files) // 50:
                cache.put("snapshot", where, reader.packed(tree, pipeline))
            return Snapshot(commit, reader.files, reader.missing, pipeline, reader.nested)
    reader = _Reader({}, [], [], folder=folder)
    pipeline = reader.read(repo, commit if folder is None else tree, "")
    if cache:
        cache.put("snapshot", where, reader.packed(tree, pipeline))
    return Snapshot(commit, reader.files, reader.missing, pipeline, reader.nested)


@dataclass
class _Reader:
    """The files found so far. nested: installed subdatasets · missing: those that aren't · folder: the plain folder."""

    files: dict[str, FileEntry]
    nested: list[str]
    missing: list[str]
    folder: PlainFolder | None = None

    def read(self, repo: Repo, commit: str, sub: str) -> bool:
        """Add the files of a commit below `sub`, and return whether it is a pipeline's repo."""
        entries = repo.ls_tree(commit, recursive=True)
        if self.folder is not None:
            self._add_folder(repo, entries, self.folder)
            return False
        pipeline = is_pipeline({e.path.split("/", 1)[0] for e in entries})
        reserved = reserved_in_pipeline if pipeline else reserved_in_data
        own = (listed_own(repo, commit) if pipeline else None) or frozenset()
        kept = [e for e in entries if not reserved(e.path.split("/", 1)[0]) and e.path not in own]
        self._add(repo, [e for e in kept if e.mode != GITLINK], sub)
        for entry in kept:
            if entry.mode == GITLINK:
                self._descend(repo, entry, sub)
        return pipeline

    def _add_folder(self, repo: Repo, entries: Iterable[TreeEntry], folder: PlainFolder) -> None:
        """Add what a plain folder has."""
        self._add(repo, [e for e in entries if e.mode != GITLINK and folder.has(e.path)], "")

    def _descend(self, repo: Repo, entry: TreeEntry, sub: str) -> None:
        """Add the files of a subdataset at the commit that its gitlink names."""
        where = f"{sub}/{entry.path}" if sub else entry.path
        nested = repo.path / entry.path
        if not is_dataset(nested):
            self.missing.append(where)
            return
        self.nested.append(where)
        child = Repo(nested)
        try:
            if child.resolve(entry.sha + "^{commit}") is None:
                raise UserError(
                    Problem(
                        "repo.commit-missing",
                        str(nested),
                        f"the pinned commit {entry.sha[:10]} isn't here",
                        f"datalad update -d {quoted(nested)} or datalad get -n {quoted(nested)}",
                    )
                )
            self.read(child, entry.sha, where)
        finally:
            child.close()

    def _leave(self, subdatasets: set[str]) -> int:
        """Remove subdatasets with all that is inside of them, and return how many files."""
        inside = {
            where
            for where in (*self.nested, *self.missing)
            if where in subdatasets or any(folder in subdatasets for folder in parents(where))
        }
        gone = [path for path, entry in self.files.items() if entry.sub in inside]
        for path in gone:
            del self.files[path]
        self.nested = [where for where in self.nested if where not in inside]
        self.missing = [where for where in self.missing if where not in inside]
        return len(gone)

    def _add(self, repo: Repo, entries: list[TreeEntry], sub: str) -> None:
        contents = classify(repo, entries)
        prefix = sub + "/" if sub else ""
        for entry in entries:
            kind, content, key = contents[entry.sha, entry.mode == SYMLINK]
            self.files[prefix + entry.path] = FileEntry(content, kind, entry.mode == EXECUTABLE, entry.sha, key, sub)

    def update(self, repo: Repo, old: str, new: str, was_pipeline: bool) -> int | None:
        """Apply what differs between two root trees, and return how many paths, or None if all must be read again."""
        try:
            out = repo.git("diff-tree", "-r", "-z", "--no-renames", old, new).split(b"\0")
        except GitError:
            return None  # the old tree was pruned
        added: list[TreeEntry] = []
        gone: list[str] = []
        left: set[str] = set()  # subdatasets that moved or went
        if self.folder is not None:
            return self._update_folder(repo, out, self.folder)
        pipeline = is_pipeline(repo.names(new))
        if pipeline != was_pipeline:
            return None
        reserved = reserved_in_pipeline if pipeline else reserved_in_data
        own = (listed_own(repo, new) if pipeline else None) or frozenset()
        for meta, name in zip(out[::2], out[1::2], strict=False):
            old_mode, new_mode, _, sha, status = meta.decode().lstrip(":").split()
            path = os.fsdecode(name)
            if path in SPECS or path == OWN_FILES:
                return None
            if reserved(path.split("/", 1)[0]) or path in own:
                continue
            if old_mode == GITLINK:
                left.add(path)
            else:
                gone.append(path)
            if status != "D":
                added.append(TreeEntry(new_mode, sha, path))
        count = len(gone) + (self._leave(left) if left else 0)
        for path in gone:
            self.files.pop(path, None)
        self._add(repo, [e for e in added if e.mode != GITLINK], "")
        before = len(self.files)
        for entry in added:
            if entry.mode == GITLINK:
                self._descend(repo, entry, "")
        return count + len(self.files) - before

    def _update_folder(self, repo: Repo, out: Sequence[bytes], folder: PlainFolder) -> int:
        """Apply what `diff-tree` says of a plain folder, and return how many paths."""
        added = []
        count = 0
        for meta, name in zip(out[::2], out[1::2], strict=False):
            _, mode, _, sha, status = meta.decode().lstrip(":").split()
            path = os.fsdecode(name)
            count += 1
            self.files.pop(path, None)
            if status != "D":
                added.append(TreeEntry(mode, sha, path))
        self._add_folder(repo, added, folder)
        return count

    def packed(self, tree: str, pipeline: bool) -> tuple[Any, ...]:
        """Return everything in columns of plain values."""
        rows = self.files.values()
        return (
            tree,
            pipeline,
            self.nested,
            self.missing,
            list(self.files),
            [f.content for f in rows],
            [f.kind for f in rows],
            [f.executable for f in rows],
            [f.blob for f in rows],
            [f.key for f in rows],
            [f.sub for f in rows],
        )


def _restore(repo: Repo, packed: Any) -> tuple[str, _Reader, bool] | None:
    """Return a snapshot out of the cache, if the subdatasets are installed as they were then."""
    if packed is None:
        return None
    tree, pipeline, nested, missing, paths, *columns = packed
    if not all(is_dataset(repo.path / p) for p in nested) or any(is_dataset(repo.path / p) for p in missing):
        return None
    files = dict(zip(paths, map(FileEntry._make, zip(*columns, strict=True)), strict=True))
    return tree, _Reader(files, nested, missing), pipeline


def open_repo(root: Path, path: str) -> Repo:
    """Return the repo at `path` in the project, or a UserError that says how to get it."""
    where = root / path
    if not is_dataset(where):
        raise UserError(
            Problem("repo.not-installed", path, "not installed in this project", f"datalad get -n {quoted(where)}")
        )
    return Repo(where)


def loose_files(folder: Path) -> dict[str, FileEntry]:
    """Return every file below `folder` by its path from there; links aren't followed."""
    found = {}
    for here, folders, names in os.walk(folder):
        for name in (*names, *(f for f in folders if os.path.islink(os.path.join(here, f)))):
            path = Path(here, name)
            found[os.path.relpath(path, folder)] = _entry(path)
    return found


def _entry(path: Path) -> FileEntry:
    if path.is_symlink():
        target = os.fsencode(os.readlink(path))
        key = key_of_link(target)
        sha = blob_id(target)
        return _annexed(key, sha) if key else FileEntry(f"link:{sha}", "link", False, sha, None, "")
    data = path.read_bytes()
    sha = blob_id(data)
    key = key_of_pointer(data) if len(data) <= MAX_POINTER else None
    return _annexed(key, sha) if key else FileEntry(f"git:{sha}", "git", os.access(path, os.X_OK), sha, None, "")


def _annexed(key: str, sha: str) -> FileEntry:
    return FileEntry(content_id(key), "annex", False, sha, key, "")
