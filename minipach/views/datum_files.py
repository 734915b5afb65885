"""The files of a datum: what it is made of now, and what is published for it. Only these can be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minipach.git.repo import SYMLINK, Repo, TreeEntry
from minipach.model.datum import Datum
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.project.project import Project
from minipach.records.published_state import Published
from minipach.views.contents import Content, object_of, read_content
from minipach.views.report import output_contents


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


def files_of_datum(project: Project, path: str, name: str) -> list[DatumFile]:
    """Return the inputs of a datum as they are now, then its published outputs; none, if there is no such datum."""
    a = Assessment(project, path, SnapshotStore(project))
    try:
        found = next((task.datum for task in a.tasks if task.datum.name == name), None)
        published = a.state.get(name)
        inputs = list(_inputs(a, found)) if found else []
        return inputs + (list(_outputs(a, published)) if published else [])
    finally:
        a.close()


def _inputs(a: Assessment, datum: Datum) -> Iterator[DatumFile]:
    for match in datum.matches:
        for path, entry in a.snapshots[match.repo, match.branch].below(match.path):
            folder = a.project.root / match.repo / entry.sub
            mode = SYMLINK if entry.kind == "link" else "100644"
            yield DatumFile("input", match.input, path, entry.content, folder, mode, entry.blob, entry.key)


def _outputs(a: Assessment, published: Published) -> Iterator[DatumFile]:
    contents = output_contents(a.repo, a.head or "")
    entries = {e.path: e.mode for e in a.repo.ls_tree(a.head or "", recursive=True)}
    for path in sorted(a.paths_of(published)):
        if path in contents:
            content, blob = contents[path]
            yield DatumFile("output", "", path, content, a.repo.path, entries[path], blob)


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
