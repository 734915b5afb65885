"""Update a pipeline from its template: a merge of the template's changes with the user's own, file by file."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from minipach.git.repo import Repo
from minipach.git.shared_modes import current_mask
from minipach.model.repo_layout import CODE, SPEC, TEMPLATE_RECORD
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.text import many
from minipach.templates.create import check_spec
from minipach.templates.draft import DraftFile, to_yaml
from minipach.templates.jsonnet import check_argument
from minipach.templates.library import describe, render, values_of_words
from minipach.templates.pachyderm import from_pachyderm
from minipach.templates.rendered_spec import RenderedFrom, is_edited, read_source, template_of
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
        sources: The paths of the files of a jsonnet template that lie in the pipeline's folder.
        left_out: What the template says and the pipeline does not, a sentence each.
    """

    template: str
    old: str
    new: str
    write: tuple[DraftFile, ...] = ()
    remove: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def update_of(project: Project, name: str, words: Sequence[str], arguments: Sequence[str] = ()) -> Update:
    """Return the changes that a newer template, or other values, make in a pipeline. Writes nothing.

    Args:
        project: The project.
        name: The path of the pipeline in the project.
        words: Values of parameters that change, `NAME=VALUE` each.
        arguments: Arguments of a jsonnet template that change, `KEY=VALUE` each.

    Raises:
        UserError: The pipeline was made from no template, its files are not committed, or the merged spec is wrong.
    """
    if (source := read_source(project.root / name / SPEC)) is not None:
        if words:
            fix = "write --arg KEY=VALUE"
            raise UserError(Problem("new.no-values", "--set", f"{name} was rendered from jsonnet", fix))
        return _rendered_again(project, name, source, arguments)
    if arguments:
        fix = "leave out --arg"
        raise UserError(Problem("new.no-arguments", "--arg", f"{name} was rendered from no jsonnet template", fix))
    return _merged_update(project, name, words)


def _merged_update(project: Project, name: str, words: Sequence[str]) -> Update:
    """Return the update of a pipeline that was made from a template with `<<NAME>>` marks."""
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
            content, clean = three_way(ours or b"", before or b"", file.content)
            write.append(DraftFile(path, content, file.executable))
            if not clean:
                conflicts.append(path)
    if SPEC not in conflicts:
        for file in (file for file in write if file.path == SPEC):
            check_spec(project, file.content.decode(), name)
    if write or remove or made_record.content != _read(folder / TEMPLATE_RECORD, name):
        write.append(made_record)
    old, new = str(record["version"]), template.version
    return Update(template.name, old, new, tuple(write), tuple(remove), tuple(conflicts), tuple(kept))


def _rendered_again(project: Project, name: str, source: RenderedFrom, words: Sequence[str]) -> Update:
    """Return the update of a spec that was rendered from a jsonnet template. A spec edited by hand is a conflict."""
    file = template_of(project, name, source)
    if file is None:
        fix = f"bring it back, or delete the first line of {name}/{SPEC}"
        raise UserError(Problem("new.template-gone", f"{name}/{SPEC}", f"no template {source.template}", fix))
    _need_committed(project, name, [SPEC])
    given = dict(source.arguments)
    for word in words:
        key, _, value = word.partition("=")
        given[key] = value if "=" in word else ""
        check_argument(word)
    pairs = [f"{key}={value}" for key, value in given.items()]
    draft = from_pachyderm(file, PurePosixPath(name).name, pairs)
    assert draft.rendering is not None
    rendering = replace(draft.rendering, template=source.template)
    draft = replace(draft, rendering=rendering)
    content = to_yaml(draft).encode()
    check_spec(project, content.decode(), name)
    ours = _read(project.root / name / SPEC, f"{name}/{SPEC}") or b""
    conflicts: tuple[str, ...] = ()
    if ours != content and is_edited(ours.decode("utf-8", "surrogateescape"), source):
        content, clean = three_way(ours, b"", content)
        conflicts = () if clean else (SPEC,)
    write = (DraftFile(SPEC, content),) if ours != content else ()
    folder = os.path.dirname(source.template)
    sources = (os.path.normpath(os.path.join(folder, one)) for one in rendering.files)
    own = tuple(one for one in sources if not one.startswith("../"))
    main = os.path.basename(source.template)
    old, new = source.files.get(main, "")[:7], rendering.files[file.name][:7]
    return Update(source.template, old, new, write, conflicts=conflicts, sources=own, left_out=draft.left_out)


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
        staged = target.with_name(f".{target.name}.minipach-new")
        staged.write_bytes(file.content)
        staged.chmod(mode & ~current_mask())
        os.replace(staged, target)  # a link of git-annex, too
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


def three_way(ours: bytes, before: bytes, theirs: bytes) -> tuple[bytes, bool]:
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
