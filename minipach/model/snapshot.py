"""A repo at one commit: its paths, each with a content id. Pure: `datums.snapshot` reads it from git."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Literal, NamedTuple


class FileEntry(NamedTuple):
    """One file: what its content is, and where git keeps it. (A named tuple: a million are made in half the time.)

    content: the content id (`SHA256--...`, `git:<blob>`, `link:<blob>`) · sub: the subdataset that holds it, as a
    path in the repo ("" for the repo itself) · blob: the object id in that dataset · key: its annex key, if annexed.
    """

    content: str
    kind: Literal["annex", "git", "link"]
    executable: bool
    blob: str
    key: str | None
    sub: str


class Snapshot:
    """The files of one repo at one commit, by path from the repo's root (no leading slash)."""

    def __init__(
        self,
        commit: str,
        files: dict[str, FileEntry],
        missing: Iterable[str] = (),
        pipeline: bool = False,
        nested: Iterable[str] = (),
    ) -> None:
        self.commit = commit
        self.files = files
        self.missing = tuple(missing)  # subdatasets that aren't installed
        self.pipeline = pipeline
        self.nested = tuple(nested)  # subdatasets that are
        self._paths: dict[int | None, list[str]] = {}

    def paths(self, depth: int | None = None) -> list[str]:
        """Return sorted absolute paths of all files and folders, or of those with `depth` parts ("/" has none)."""
        if depth not in self._paths:
            self._paths[depth] = sorted(self._all() if depth is None else self._at(depth))
        return self._paths[depth]

    def _all(self) -> set[str]:
        found = {"/" + path for path in self.files}
        for path in self.files:
            folder = "/" + path.rpartition("/")[0]
            while folder not in found:
                found.add(folder)
                folder = folder.rpartition("/")[0] or "/"
        return found

    def _at(self, depth: int) -> set[str]:
        if depth == 0:
            return {"/"} if self.files else set()
        found: set[str] = set()
        last = "\0"  # the folder that was found last, which most often holds the next file, too
        for path in self.files:
            if path.startswith(last):
                continue
            parts = path.split("/", depth)
            if len(parts) > depth:
                last = path[: len(path) - len(parts[-1])]
                found.add("/" + last[:-1])
            elif len(parts) == depth:
                found.add("/" + path)
        return found

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.files)

    def below(self, match: str) -> Iterator[tuple[str, FileEntry]]:
        """Yield the files of a match (absolute path): the file itself, or all of a folder's subtree, in order."""
        path = match.strip("/")
        if path in self.files:
            yield path, self.files[path]
            return
        if not path:
            yield from ((p, self.files[p]) for p in self._sorted)
            return
        prefix = path + "/"
        for i in range(bisect_left(self._sorted, prefix), len(self._sorted)):
            if not self._sorted[i].startswith(prefix):
                return
            yield self._sorted[i], self.files[self._sorted[i]]

    def is_file(self, match: str) -> bool:
        """Return whether a match is one file (not a folder)."""
        return match.strip("/") in self.files
