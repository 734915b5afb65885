"""The files of a datum: what it is made of now, and what is published for it. Only these can be looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from minipach.git.content import classify
from minipach.git.repo import Repo
from minipach.git.tree_entries import GITLINK, SYMLINK, TREE, TreeEntry
from minipach.model.datum import Datum
from minipach.planning.assessment import Assessment
from minipach.records.published_state import Published
from minipach.support.git_objects import NO_OBJECT
from minipach.views.contents import Content, object_of, read_content

_PATHS = 500  # that are looked up at once


@dataclass(frozen=True, slots=True)
class DatumFile:
    """One file. input: the name in the spec, "" for an output · folder: its repository · key: if it is annexed."""

    side: Literal["input", "output"]
    input: str
    path: str
    content: str
    folder: Path
    mode: str
    blob: str
    key: str | None = None


def files_of_datum(a: Assessment, name: str) -> list[DatumFile]:
    """Return the inputs of a datum as they are now, then its published outputs; none, if there is no such datum."""
    found = next((task.datum for task in a.tasks if task.datum.name == name), None)
    published = a.state.get(name)
    inputs = list(_inputs(a, found)) if found else []
    return inputs + (list(_outputs(a, published)) if published else [])


def _inputs(a: Assessment, datum: Datum) -> Iterator[DatumFile]:
    for match in datum.matches:
        for path, entry in a.snapshots[match.repo, match.branch].below(match.path):
            folder = a.project.dataset_of(match.repo, entry.sub)
            mode = SYMLINK if entry.kind == "link" else "100644"
            yield DatumFile("input", match.input, path, entry.content, folder, mode, entry.blob, entry.key)


def _outputs(a: Assessment, published: Published) -> Iterator[DatumFile]:
    paths = sorted(a.paths_of(published))
    for start in range(0, len(paths), _PATHS):  # never all of the branch: it has the outputs of all datums
        some = [f":(top,literal){path}" for path in paths[start : start + _PATHS]]
        entries = [e for e in a.repo.ls_tree(a.head or "", *some) if e.mode not in (GITLINK, TREE)]
        kinds = classify(a.repo, entries)
        for e in sorted(entries, key=lambda entry: entry.path):
            yield DatumFile("output", "", e.path, kinds[e.sha, e.mode == SYMLINK][1], a.repo.path, e.mode, e.sha)


@dataclass(frozen=True, slots=True)
class OutputVersion:
    """A content that a commit gave to a file. content: its id; "" where the commit removed it · at: unix seconds."""

    commit: str
    at: int
    subject: str
    content: str
    mode: str
    blob: str

    def as_json(self) -> dict[str, Any]:
        """Return the version as a JSON object."""
        return {"commit": self.commit, "at": self.at, "subject": self.subject, "content": self.content}


def versions_of(file: DatumFile, most: int) -> list[OutputVersion]:
    """Return the last versions of an output on the branch that is checked out, the newest first."""
    repo = Repo(file.folder)
    try:
        head = repo.head()
        if head is None:
            return []
        form = "--format=%x01%H%x00%ct%x00%s"
        options = ("-z", "--raw", "--no-abbrev", "--no-renames", "-m", "--first-parent", f"--max-count={most}", form)
        out = repo.git("log", *options, head, "--", f":(top,literal){file.path}")
        found = [version for part in out.split(b"\1")[1:] if (version := _version(part, file.path))]
        ids = classify(repo, [TreeEntry(v.mode, v.blob, v.path) for v in found if v.blob != NO_OBJECT])
        return [
            OutputVersion(v.commit, v.at, v.subject, ids[v.blob, v.mode == SYMLINK][1], v.mode, v.blob)
            if v.blob != NO_OBJECT
            else OutputVersion(v.commit, v.at, v.subject, "", "", "")
            for v in found
        ]
    finally:
        repo.close()


class _Version(NamedTuple):
    commit: str
    at: int
    subject: str
    mode: str
    blob: str
    path: str


def _version(part: bytes, path: str) -> _Version | None:
    """Return one commit of `git log --raw -z`; None if it has no change of the file."""
    commit, when, rest = (os.fsdecode(word) for word in part.split(b"\0", 2))
    subject, _, change = rest.partition("\0")
    words = change.lstrip("\n\0").partition("\0")[0].removeprefix(":").split(" ")
    if len(words) != 5:
        return None
    return _Version(commit, int(when), subject, words[1], words[3], path)


def at_version(file: DatumFile, commit: str, most: int) -> DatumFile | None:
    """Return an output as it was at a commit of its history; None if no such commit changed it, or it removed it."""
    found = next((v for v in versions_of(file, most) if v.commit == commit and v.blob), None)
    return replace(file, content=found.content, mode=found.mode, blob=found.blob) if found else None


def place_of(file: DatumFile) -> Path | None:
    """Return the annexed content of a file on this machine; None: it is not here, or in git itself."""
    repo = Repo(file.folder)
    try:
        key = file.key
        if key is None:
            entry = TreeEntry(file.mode, file.blob, file.path)
            key = classify(repo, [entry])[entry.sha, entry.mode == SYMLINK][2]
        return object_of(repo, key) if key else None
    finally:
        repo.close()


def read_file(file: DatumFile, most: int) -> Content:
    """Return up to `most` bytes of a file, as far as its content is on this machine."""
    repo = Repo(file.folder)
    try:
        if file.key is None:
            return read_content(repo, TreeEntry(file.mode, file.blob, file.path), most)
        there = object_of(repo, file.key)
        if there is None:
            return Content(file.content, None, None)
        with there.open("rb") as opened:
            data = opened.read(most)
            return Content(file.content, data, opened.seek(0, 2))
    finally:
        repo.close()
