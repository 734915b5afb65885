"""Trees that are small enough to be listed and compared without a process of git."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from minipach.git.loose_reader import LooseReader
from minipach.git.object_reader import CatFile
from minipach.git.tree_entries import TREE, TreeEntry, parse_tree

_MOST_TREES = 40  # of a listing that starts no process
_MOST_BYTES = 100_000
_LITERAL = (":(top,literal)", ":(literal)")


def small_listing(
    objects: CatFile | LooseReader, treeish: str, paths: Sequence[str], *, recursive: bool
) -> list[TreeEntry] | None:
    """Return what `git ls-tree` lists, read from the trees; None: git must do it."""
    wanted = [path.removeprefix(word) for path in paths for word in _LITERAL if path.startswith(word)]
    if len(wanted) < len(paths) or any(not path or path.endswith("/") or "//" in path for path in wanted):
        return None
    if any(other.startswith(f"{path}/") for path in wanted for other in wanted):
        return None
    trees = SmallTrees(objects)
    top = f"{treeish}^{{tree}}"
    try:
        found = [entry for path in wanted if (entry := trees.at(top, path))] if paths else trees.listed(top, "")
        if recursive:
            found = [below for entry in found for below in trees.below(entry)]
    except LookupError:
        return None
    ordered = {_in_order(entry): entry for entry in found}
    return [ordered[key] for key in sorted(ordered)]


def _in_order(entry: TreeEntry) -> bytes:
    return os.fsencode(entry.path) + (b"/" if entry.mode == TREE else b"")


class SmallTrees:
    """The trees of one listing. Each method raises LookupError for what is large or missing."""

    def __init__(self, objects: CatFile | LooseReader) -> None:
        self._objects = objects
        self._known: dict[str, list[TreeEntry]] = {}
        self._bytes = 0

    def listed(self, name: str, above: str) -> list[TreeEntry]:
        """Return the entries of a tree. above: its path."""
        if name not in self._known:
            data = self._objects.read_if_free(name) if len(self._known) < _MOST_TREES else None
            self._bytes += len(data or b"")
            if data is None or self._bytes > _MOST_BYTES:
                raise LookupError
            self._known[name] = list(parse_tree(data))
        prefix = f"{above}/" if above else ""
        return [TreeEntry(entry.mode, entry.sha, prefix + entry.path) for entry in self._known[name]]

    def at(self, top: str, path: str) -> TreeEntry | None:
        """Return the entry at a path, if there is one."""
        name, above = top, ""
        for part in path.split("/"):
            here = f"{above}/{part}" if above else part
            entry = next((e for e in self.listed(name, above) if e.path == here), None)
            if entry is None or (entry.mode != TREE and here != path):
                return None
            name, above = entry.sha, here
        return entry

    def changes(
        self, old: str | None, new: str | None, above: str
    ) -> Iterator[tuple[str, TreeEntry | None, TreeEntry | None]]:
        """Yield what differs between two trees below a path: files and gitlinks, with their entries."""
        before = {entry.path: entry for entry in (self.listed(old, above) if old else ())}
        after = {entry.path: entry for entry in (self.listed(new, above) if new else ())}
        for path in sorted(before.keys() | after.keys()):
            one, two = before.get(path), after.get(path)
            if one is not None and two is not None and (one.mode, one.sha) == (two.mode, two.sha):
                continue
            trees = [entry.sha if entry is not None and entry.mode == TREE else None for entry in (one, two)]
            if any(trees):
                yield from self.changes(trees[0], trees[1], path)
            files = [entry if entry is not None and entry.mode != TREE else None for entry in (one, two)]
            if any(files):
                yield path, files[0], files[1]

    def below(self, entry: TreeEntry) -> Iterator[TreeEntry]:
        """Yield the files below an entry, or the entry itself."""
        if entry.mode != TREE:
            yield entry
            return
        for inside in self.listed(entry.sha, entry.path):
            yield from self.below(inside)
