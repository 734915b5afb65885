"""Update a pipeline from its template: a merge of the template's changes with the user's own, file by file."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from minipach.git.repo import Repo
from minipach.git.shared_modes import current_mask
from minipach.model.pipeline import BrokenSpec
from minipach.model.repo_layout import CODE, SPEC, TEMPLATE_RECORD
from minipach.project.project import Project
from minipach.spec.load import load_spec
from minipach.support.errors import Problem, UserError
from minipach.support.text import many
from minipach.templates.draft import DraftFile, to_yaml
from minipach.templates.library import describe, render, values_of_words
from minipach.templates.template import bad_path

_MOST = 10_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Update:
    """A newer template in a pipeline.

    Args:
        template: The template's name.
        old: The version that the pipeline was made from.
        new: The version now.
        write: The files to write, with their content.
        remove: The paths of files to remove.
        conflicts: The paths of files in which both have changed the same lines; they are written with marks.
        kept: The paths of files that the template no longer has, and the user has changed.
    """

    template: str
    old: str
    new: str
    write: tuple[DraftFile, ...] = ()
    remove: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def update_of(project: Project, name: str, words: Sequence[str]) -> Update:
    """Return the changes that a newer template, or other values, make in a pipeline. Writes nothing.

    Args:
        project: The project.
        name: The path of the pipeline in the project.
        words: Values of parameters that change, `NAME=VALUE` each.

    Raises:
        UserError: The pipeline was made from no template, its files are not committed, or the merged spec is wrong.
    """
    folder = project.root / name
    record = _record(folder, name)
    base: Mapping[str, str] = record["files"]
    template = describe(record["template"], project)
    known = template.parameters.get("properties", {})
    values = {**{k: v for k, v in record["values"].items() if k in known}, **values_of_words(template, words)}
    inputs = [f"{slot}={word}" for slot, word in record["inputs"].items() if slot in {s.name for s in template.inputs}]
    draft = render(project, template.name, name, values, inputs)
    theirs = {SPEC: DraftFile(SPEC, to_yaml(draft).encode()), **{file.path: file for file in draft.files}}
    made_record = theirs.pop(TEMPLATE_RECORD)
    _need_committed(project, name, [*base, *theirs])
    write: list[DraftFile] = []
    remove: list[str] = []
    conflicts: list[str] = []
    kept: list[str] = []
    for path in sorted({*base, *theirs}):
        before = base[path].encode("utf-8", "surrogateescape") if path in base else None
        file = theirs.get(path)
        ours = _read(folder / path, f"{name}/{path}")
        after = file.content if file else None
        if after in (before, ours):
            continue
        if ours == before:
            if file:
                write.append(file)
            else:
                remove.append(path)
        elif file is None:
            kept.append(path)
        else:
            content, clean = _merged(ours or b"", before or b"", file.content)
            write.append(DraftFile(path, content, file.executable))
            if not clean:
                conflicts.append(path)
    if SPEC not in conflicts:
        _validate(next((file.content for file in write if file.path == SPEC), None), PurePosixPath(name).name)
    if write or remove or made_record.content != _read(folder / TEMPLATE_RECORD, name):
        write.append(made_record)
    old, new = str(record["version"]), template.version
    return Update(template.name, old, new, tuple(write), tuple(remove), tuple(conflicts), tuple(kept))


def apply(project: Project, name: str, update: Update, *, conflicts: bool) -> list[str]:
    """Write an update, and return the paths that have changed.

    Args:
        project: The project.
        name: The path of the pipeline.
        update: The changes.
        conflicts: Whether files with conflicts are written, with the marks of git. Else nothing is.

    Raises:
        UserError: There are conflicts, and they are not to be written.
    """
    if update.conflicts and not conflicts:
        paths = ", ".join(f"{name}/{path}" for path in update.conflicts)
        fix = f"minipach new {name} --update --conflicts writes them with marks, as git merge does"
        files = many(len(update.conflicts), "file")
        message = f"the template {update.template} and you changed the same lines of {files}"
        raise UserError(Problem("new.conflicts", paths, message, fix))
    folder = project.root / name
    for file in update.write:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o777 if file.executable else 0o666
        aside = target.with_name(f".{target.name}.minipach-new")
        aside.write_bytes(file.content)
        aside.chmod(mode & ~current_mask())
        os.replace(aside, target)  # a link of git-annex, too
    for path in update.remove:
        (folder / path).unlink(missing_ok=True)
    return sorted(f"{name}/{path}" for path in (*(file.path for file in update.write), *update.remove))


def _record(folder: Path, name: str) -> dict[str, Any]:
    fix = "make it again: minipach new NAME --from TEMPLATE"
    content = _read(folder / TEMPLATE_RECORD, f"{name}/{TEMPLATE_RECORD}")
    if content is None:
        raise UserError(Problem("new.no-record", name, "was made from no template", fix))
    try:
        record = json.loads(content)
        good = record["schema"] == 1 and all(isinstance(record[key], str) for key in ("template", "version"))
        good = good and all(isinstance(record[key], dict) for key in ("values", "inputs", "files"))
        good = good and all(isinstance(text, str) for text in (*record["files"].values(), *record["inputs"].values()))
        good = good and all(path == SPEC or path.startswith(f"{CODE}/") for path in record["files"])
        good = good and not any(bad_path(path) for path in record["files"])
    except (ValueError, KeyError, TypeError, RecursionError):
        good = False
    if not good:
        raise UserError(Problem("new.bad-record", f"{name}/{TEMPLATE_RECORD}", "no record of a template", fix))
    return dict(record)


def _read(file: Path, place: str) -> bytes | None:
    """Return the content of a file, through a link of git-annex; None if there is none."""
    if not os.path.lexists(file):
        return None
    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST + 1)
    except OSError as error:
        fix = f"datalad get {place}" if file.is_symlink() else "check the file"
        raise UserError(Problem("new.unreadable", place, f"cannot be read: {error.strerror}", fix)) from None
    if len(content) > _MOST:
        raise UserError(Problem("new.unreadable", place, "too large", "check the file"))
    return content


def _need_committed(project: Project, name: str, paths: Sequence[str]) -> None:
    """Raise UserError if a change of the user's would be lost for good."""
    folder = project.root / name
    inside = folder if (folder / ".git").exists() else project.root / project.holder_of(name)
    words = [os.path.relpath(folder / path, inside) for path in paths]
    found = Repo(inside).git("--literal-pathspecs", "status", "--porcelain", "-z", "--", *words)
    if found:
        path = os.fsdecode(found.split(b"\0")[0])[3:]
        fix = "commit it: then git can bring back what an update changes"
        raise UserError(Problem("new.uncommitted", name, f"{path} has changes that are not committed", fix))


def _merged(ours: bytes, before: bytes, theirs: bytes) -> tuple[bytes, bool]:
    """Return the merge of two versions of a text, and whether it is clean."""
    if b"\0" in ours + before + theirs:
        return theirs, False
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for label, content in (("yours", ours), ("before", before), ("template", theirs)):
            paths.append(Path(folder, label))
            paths[-1].write_bytes(content)
        labels = [word for label in ("yours", "before", "template") for word in ("-L", label)]
        command = ["git", "merge-file", "-p", *labels, *map(str, paths)]
        done = subprocess.run(command, capture_output=True, cwd=folder, check=False)
    return done.stdout, done.returncode == 0


def _validate(content: bytes | None, folder: str) -> None:
    if content is None:
        return
    try:
        load_spec(content.decode(), source=SPEC, folder=folder)
    except BrokenSpec as error:
        raise UserError(error.problems) from None
