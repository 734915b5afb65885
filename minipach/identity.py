"""Identity: the id of a datum is the hash of what decides its result. Pure."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from minipach.datums import Datum
from minipach.snapshot import FileEntry, Snapshot
from minipach.spec import Pipeline

VERSION = 1  # a new version makes every result be computed again: a decision, guarded by fixed ids in the tests
COMPRESSIONS = frozenset({".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z"})
Snapshots = Mapping[tuple[str, str | None], Snapshot]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The part of identity that all datums of a pipeline share, as canonical data."""

    transform: dict[str, Any]
    image: str
    code: str

    def as_json(self) -> dict[str, Any]:
        """The recipe as JSON data."""
        return {"transform": self.transform, "image": self.image, "code": self.code}


def recipe(pipeline: Pipeline, image: str, code: str) -> Recipe:
    """The recipe of a pipeline, from the content ids of its image and its `code/`."""
    t = pipeline.transform
    transform: dict[str, Any] = {"cmd": list(t.cmd), "out": pipeline.out}
    # what isn't used is left out, so that a later version can add a field and keep every id
    if t.stdin:
        transform["stdin"] = list(t.stdin)
    if t.env:
        transform["env"] = dict(t.env)
    if t.accept_return_code:
        transform["accept_return_code"] = list(t.accept_return_code)
    if t.working_dir:
        transform["working_dir"] = t.working_dir
    if pipeline.salt:
        transform["salt"] = pipeline.salt
    return Recipe(transform, image, code)


def code_id(files: Mapping[str, FileEntry]) -> str:
    """The content id of a folder: the hash of its paths, content ids and executable bits."""
    return _hash([[path, f.content, f.executable] for path, f in sorted(files.items())])


def input_files(datum: Datum, snapshots: Snapshots, *, by_path: bool) -> dict[str, list[list[Any]]]:
    """Per input name, the files as [path relative to the match, content id, executable], sorted.

    For a matched file the relative path is its suffix alone; with `by_path` the whole path counts instead.
    Files of an input with `empty_files` count by name only.
    """
    found: dict[str, list[list[Any]]] = {}
    for match in datum.matches:
        snapshot = snapshots[match.repo, match.branch]
        rows = found.setdefault(match.input, [])
        base = match.path.strip("/")
        for path, entry in snapshot.below(match.path):
            if by_path:
                name = path
            elif path == base:
                name = suffix(path)
            else:
                name = path[len(base) + 1 :] if base else path
            rows.append([name, "" if match.empty_files else entry.content, entry.executable])
    for rows in found.values():
        rows.sort()
    return found


def suffix(path: str) -> str:
    """A file name's suffix, and the one before it if the last is a compression's: `.nii.gz`, "" of `.profile`."""
    name = posixpath.basename(path)
    stem, last = posixpath.splitext(name)
    if last in COMPRESSIONS:
        inner = posixpath.splitext(stem)[1]
        return inner + last
    return last


def datum_id(shared: Recipe, files: Mapping[str, Iterable[Any]], *, by_path: bool) -> str:
    """The id of a datum: SHA-256 (hex) of the canonical JSON of its recipe and inputs."""
    return _hash(
        {
            "version": VERSION,
            **shared.as_json(),
            "identity": "path" if by_path else "content",
            "inputs": {name: list(rows) for name, rows in files.items()},
        }
    )


def _hash(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
