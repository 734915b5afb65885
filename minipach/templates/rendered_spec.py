"""The first line of a spec that was rendered from a jsonnet template: from what, with which arguments."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from minipach.model.repo_layout import SPEC
from minipach.project.project import Project
from minipach.support.errors import Problem
from minipach.support.text import quoted

_BEGINS = "# rendered from a template (minipach new NAME --update renders it again): "
_MOST_LINE = 200_000  # bytes
_MOST_FILE = 1_000_000  # bytes
_DIGITS = 12  # of a hash


@dataclass(frozen=True, slots=True)
class RenderedFrom:
    """The template that a spec was rendered from.

    Args:
        template: The path of the template, from the folder of the pipeline.
        arguments: Its arguments.
        files: The hash of the template and of each file that it imports, by their paths from its folder.
        spec: The hash of the rendered text below the line; "" for none yet.
    """

    template: str
    arguments: Mapping[str, str]
    files: Mapping[str, str]
    spec: str = ""

    def line(self, body: str) -> str:
        """Return the first line of a spec with this text below it."""
        files = {name: digest[:_DIGITS] for name, digest in sorted(self.files.items())}
        found = {"template": self.template, "arguments": dict(self.arguments), "files": files, "spec": _hash(body)}
        return f"{_BEGINS}{json.dumps(found)}\n"


def read_source(spec: Path) -> RenderedFrom | None:
    """Return what a spec was rendered from; None for one that was not, or whose line is damaged."""
    try:
        with spec.open("rb") as stream:
            first = stream.readline(_MOST_LINE)
    except OSError:
        return None
    if not first.startswith(_BEGINS.encode()):
        return None
    try:
        found = json.loads(first[len(_BEGINS) :])
        source = RenderedFrom(found["template"], found["arguments"], found["files"], found["spec"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    rows = (source.arguments, source.files)
    good = all(isinstance(row, dict) and all(isinstance(v, str) for v in row.values()) for row in rows)
    return source if good and all(isinstance(text, str) for text in (source.template, source.spec)) else None


def is_edited(spec: str, source: RenderedFrom) -> bool:
    """Return whether a spec has other text below its first line than what was rendered."""
    return _hash(spec.partition("\n")[2]) != source.spec


def template_of(project: Project, name: str, source: RenderedFrom) -> Path | None:
    """Return the template of a pipeline's spec; None if its path leads out of the project, or to no small file."""
    return _file(project, os.path.join(name, source.template))


def stale(project: Project, names: Iterable[str]) -> list[Problem]:
    """Return a note for each spec of a pipeline whose template has changed since, or that was edited by hand."""
    notes = []
    for name in names:
        spec = project.root / name / SPEC
        source = read_source(spec)
        if source is None:
            continue
        pipeline = PurePosixPath(name).name
        again = f"minipach new {quoted(pipeline)} --update"
        folder = os.path.dirname(os.path.join(name, source.template))
        gone = [file for file in source.files if _file(project, os.path.join(folder, file)) is None]
        changed = [f for f in source.files if f not in gone and not _same(project, folder, f, source.files[f])]
        at = f"{name}/{SPEC}"
        if gone:
            notes.append(Problem("new.template-gone", at, f"its template {gone[0]} is not there", "bring it back"))
        if changed:
            message = f"{', '.join(changed)} has changed since this was rendered; what is written here counts"
            notes.append(Problem("new.template-changed", at, message, again))
        if is_edited(spec.read_text("utf-8", "replace"), source):
            message = f"was edited after it was rendered from {source.template}"
            fix = f"make the change in {source.template}, too; then {again} --conflicts"
            notes.append(Problem("new.rendered-edited", at, message, fix))
    return notes


def _same(project: Project, folder: str, name: str, digest: str) -> bool:
    file = _file(project, os.path.join(folder, name))
    return file is not None and hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGITS] == digest


def _file(project: Project, path: str) -> Path | None:
    """Return a small file in the project; None if there is none at this path."""
    try:
        file = Path(os.path.realpath(project.root / path))
        state = file.stat()
    except (OSError, ValueError):
        return None
    inside = file.is_relative_to(os.path.realpath(project.root))
    return file if inside and stat.S_ISREG(state.st_mode) and state.st_size <= _MOST_FILE else None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
