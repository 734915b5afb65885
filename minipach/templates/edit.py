"""Edits of a spec that keep its comments: values of a form become YAML, and the result is committed.

What is saved is a commit in git. Nothing that somebody else has written meanwhile is overwritten.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from minipach.git.git_error import GitError
from minipach.git.repo import Repo, is_dataset, need_identity, private_index
from minipach.git.tree_entries import EXECUTABLE, FILE
from minipach.model.pipeline import BrokenSpec
from minipach.model.repo_layout import SPEC
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.expected_cost import expected_cost
from minipach.planning.plan import Plan
from minipach.planning.project_plan import plan_project
from minipach.project.project import Project
from minipach.project.settings import slots
from minipach.project.targets import Targets, matching, suggest_datum
from minipach.spec.load import load_spec
from minipach.spec.yaml_reader import read_yaml
from minipach.support.disk_cache import Cache
from minipach.support.errors import Problem, UserError
from minipach.support.files import remove_tree, replace_file
from minipach.support.git_objects import blob_id
from minipach.support.text import quoted
from minipach.templates.create import check_name, commit, write
from minipach.templates.draft import Draft, DraftFile

NEW = "new"  # the base of a spec that does not exist yet
MOST = 60_000  # bytes of a spec that is edited here
_GROUPS = ("cross", "union", "join", "group")


@dataclass(frozen=True, slots=True)
class SpecText:
    """A spec as it is committed. base: its object in git, which names this very text; `new` if there is none."""

    path: str
    source: str
    text: str
    base: str


@dataclass(frozen=True, slots=True)
class SpecPreview:
    """The effect of a spec before it is saved. plan: None where it can't be planned, for `problems`."""

    problems: tuple[Problem, ...]
    plan: Plan | None = None
    cost: str = ""
    project: Project | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """A spec that was committed. undo: the command that takes it back."""

    commit: str
    branch: str
    undo: str


def committed_spec(project: Project, path: str) -> SpecText:
    """Return the committed spec of a pipeline. Raises UserError if it can't be edited here."""
    source = project.spec_path(path)
    repo, inside = _holder(project, path, source)
    with contextlib.closing(repo):
        data = repo.objects.read(f"HEAD:{inside}") if repo.head() else None
    file = project.root / source
    if data is None and file.is_file() and not file.is_symlink():
        raise UserError(Problem("compose.not-committed", source, "no commit has it", f"datalad save {quoted(source)}"))
    if data is None or file.is_symlink() or len(data) > MOST or not source.endswith((".yml", ".yaml")):
        raise UserError(Problem("compose.not-here", source, "can't be edited here", "use an editor"))
    try:
        return SpecText(path, source, data.decode(), blob_id(data))
    except UnicodeDecodeError:
        raise UserError(Problem("spec.not-utf8", source, "not UTF-8 text")) from None


def new_spec(project: Project, path: str, text: str) -> SpecText:
    """Return the spec of a pipeline that is to be. Raises UserError if its name is wrong or taken."""
    check_name(project, path)
    return SpecText(path, f"{path}/{SPEC}", text, NEW)


def _holder(project: Project, path: str, source: str) -> tuple[Repo, str]:
    """Return the repository that has a spec, and the path of the spec in it."""
    holder = path if is_dataset(project.root / path) else project.holder_of(path)
    return Repo(project.root / holder), source[len(holder) + 1 :] if holder else source


# --- values ---


def read_values(text: str) -> dict[str, Any] | None:
    """Return the data of a spec; None if it can't be read."""
    document = read_yaml(text)
    return document.data if isinstance(document.data, dict) and not document.problems else None


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Return a spec with these values by dotted path; all else keeps its place and its comments.

    None removes a key. Numbers in a path are places in a list.

    Raises:
        UserError: The text is no YAML that can be edited.
    """
    if not values:
        return text

    def put(data: Any) -> None:
        for path, value in values.items():
            _put(data, path.split("."), value)

    return _changed(text, put)


def _changed(text: str, change: Callable[[Any], None]) -> str:
    if text.strip() and read_values(text) is None:
        raise UserError(Problem("compose.broken-yaml", "spec", "the YAML can't be read", "correct it first"))
    yaml = _yaml(text)
    try:
        data = yaml.load(text) if text.strip() else CommentedMap()
        change(data)
        out = io.StringIO()
        yaml.dump(data, out)
    except (YAMLError, TypeError, ValueError, AttributeError, RecursionError) as error:
        message = "the YAML can't be changed by the form"
        raise UserError(Problem("compose.broken-yaml", "spec", message, "change it as text")) from error
    return out.getvalue()


def _yaml(text: str) -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096
    if re.search(r"^( +)[^\s#-][^\n]*:[ ]*\n\1- |^[^\s#-][^\n]*:[ ]*\n- ", text, re.MULTILINE):
        yaml.indent(mapping=2, sequence=2, offset=0)
    else:
        yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _put(data: Any, words: list[str], value: Any) -> None:
    """Set or remove a value; parent maps are made, and removed when they are empty."""
    first, rest = words[0], words[1:]
    if not isinstance(data, CommentedMap):
        raise TypeError(first)
    first = next((key for key in (first, _camel(first)) if key in data), first)
    if rest:
        if first not in data:
            if value is None:
                return
            data[first] = CommentedMap()
        _put(data[first], rest, value)
        if value is None and not data[first]:
            del data[first]
    elif value is None:
        data.pop(first, None)
    elif isinstance(value, list) and isinstance(data.get(first), CommentedSeq):
        data[first][:] = [_plain(one) for one in value]
    else:
        data[first] = _plain(value)


def _append(data: Any, row: Mapping[str, str]) -> None:
    """Add a row to what a spec leaves out."""
    options = data.setdefault("minipach", CommentedMap())
    known = options.get("exclude")
    if not isinstance(known, CommentedSeq):
        options["exclude"] = known = CommentedSeq([known] if known else [])
    known.append(_plain(row))


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        made = CommentedMap({key: _plain(below) for key, below in value.items()})
        if all(not isinstance(below, Mapping | list) for below in value.values()):
            made.fa.set_flow_style()
        return made
    if isinstance(value, list):
        found = CommentedSeq([_plain(one) for one in value])
        if all(isinstance(one, str) and "\n" not in one for one in value):
            found.fa.set_flow_style()
        return found
    if isinstance(value, str):
        if "\n" in value:
            return LiteralScalarString(value)
        # the reader of specs follows YAML 1.1, where more words than in 1.2 are no text
        return value if read_yaml(f"- {value}\n").data == [value] else DoubleQuotedScalarString(value)
    return value


# --- inputs ---


def inputs_in(data: Mapping[str, Any]) -> tuple[str, list[dict[str, str]]] | None:
    """Return how inputs are combined, and each as text; None if they are nested, or no plain pfs inputs."""
    found = data.get("input")
    if not isinstance(found, Mapping) or len(found) != 1:
        return ("", []) if found in (None, {}) else None
    kind, below = next(iter(found.items()))
    members = [found] if kind == "pfs" else below if kind in _GROUPS else None
    if not isinstance(members, list):
        return None
    rows = []
    for member in members:
        pfs = member.get("pfs") if isinstance(member, Mapping) and len(member) == 1 else None
        if not isinstance(pfs, Mapping) or not all(isinstance(value, str | bool) for value in pfs.values()):
            return None
        rows.append({str(key): value if isinstance(value, str) else str(value).lower() for key, value in pfs.items()})
    return ("" if kind == "pfs" else str(kind)), rows


def input_of(kind: str, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return the inputs as data of a spec."""
    members = [{"pfs": {k: v == "true" if v in ("true", "false") else v for k, v in row.items()}} for row in rows]
    if len(members) == 1 and kind not in ("group",):
        return members[0]
    return {kind if kind in _GROUPS else "cross": members}


# --- the effect ---


def preview(project: Project, spec: SpecText) -> SpecPreview:
    """Return the effect of a spec on its datums, as if it were committed. Writes nothing but a cache of its own."""
    name = project.name_of(spec.path)
    try:
        params = project.parameters_for(spec.text, spec.path)
        pipeline = load_spec(spec.text, source=spec.source, folder=name, params=params)
    except UserError as error:
        return SpecPreview(error.problems, project=_with(project, spec.path, BrokenSpec(error.problems)))
    found = _with(project, spec.path, pipeline)
    if trouble := found.problems.get(spec.path):
        return SpecPreview(tuple(trouble), project=found)
    plans = plan_project(found, Targets((spec.path,), {}, frozenset({spec.path})))
    cost = expected_cost(found, plans.plans, slots(found.repo, None))
    return SpecPreview(plans.problems, plans.plans[0], cost.text() if cost else "", found)


def _with(project: Project, path: str, pipeline: Any) -> Project:
    found = project.with_specs({path: pipeline})
    found.cache = Cache(project.local.cache / "compose")  # the plan of what is committed stays in the project's own
    return found


# --- saving ---


def save_spec(project: Project, spec: SpecText, message: str, branch: str = "") -> Saved:
    """Commit a spec, and nothing else. The caller holds the project's lock.

    Args:
        project: The project.
        spec: The new text, and the base that it was made from.
        message: The subject of the commit.
        branch: A branch to be made for the commit; "" for the branch that is checked out.

    Raises:
        UserError: The spec is wrong, or is another by now, or has uncommitted changes; or the branch exists.
    """
    params = project.parameters_for(spec.text, spec.path)
    load_spec(spec.text, source=spec.source, folder=project.name_of(spec.path), params=params)
    if spec.base == NEW:
        check_name(project, spec.path)
    repo, inside = _holder(project, spec.path, spec.source)
    with contextlib.closing(repo):
        need_identity(repo)
        _check_base(project, repo, inside, spec)
        subject = " ".join(message.split()) or f"change the spec of {project.name_of(spec.path)}"
        where = os.path.relpath(repo.path, project.root)
        git = "git" if where == "." else f"git -C {quoted(where)}"
        if branch:
            made = _to_branch(repo, {inside: (FILE, spec.text.encode())}, subject, branch)
            return Saved(made, branch, f"{git} branch -D {quoted(branch)}")
        made = _to_checkout(repo, inside, spec.text, subject)
        return Saved(made, "", f"{git} revert --no-edit {made[:12]}")


def save_template(project: Project, spec: SpecText, draft: Draft, message: str, branch: str = "") -> Saved:
    """Commit a new pipeline with the files of a template, and the spec as it was edited.

    The caller holds the project's lock. Without a commit nothing is left behind. With a branch, the commit is on that
    new branch alone, and no file is written to the working tree.

    Raises:
        UserError: The spec is wrong, its name is taken, or git refuses the commit.
    """
    params = project.parameters_for(spec.text, spec.path)
    load_spec(spec.text, source=spec.source, folder=project.name_of(spec.path), params=params)
    check_name(project, spec.path)
    folder = project.root / spec.path
    if folder.exists():
        raise UserError(Problem("new.file-exists", spec.path, "exists already", "choose another name"))
    holder = project.holder_of(spec.path)
    with contextlib.closing(Repo(project.root / holder)) as repo:
        need_identity(repo)
        git = "git" if not holder else f"git -C {quoted(holder)}"
        if branch:
            subject = " ".join(message.split()) or f"add the pipeline {project.name_of(spec.path)}"
            files = [DraftFile(SPEC, spec.text.encode()), *draft.files]
            inside = spec.path[len(holder) + 1 :] if holder else spec.path
            made = _to_branch(repo, {f"{inside}/{f.path}": (_mode(f), f.content) for f in files}, subject, branch)
            return Saved(made, branch, f"{git} branch -D {quoted(branch)}")
        paths = write(project, spec.path, replace(draft, text=spec.text))
        try:
            commit(project, spec.path, paths, " ".join(message.split()))
        except GitError as error:
            written = [path[len(holder) + 1 :] if holder else path for path in paths]
            repo.git("--literal-pathspecs", "reset", "--quiet", "--", *written, ok=(0, 1))
            remove_tree(folder)
            raise UserError(Problem("compose.not-committed", spec.path, f"git refused the commit: {error}")) from error
        head = repo.head() or ""
        return Saved(head, "", f"{git} revert --no-edit {head[:12]}")


def _check_base(project: Project, repo: Repo, inside: str, spec: SpecText) -> None:
    data = repo.objects.read(f"HEAD:{inside}") if repo.head() else None
    now = blob_id(data) if data is not None else NEW
    file = project.root / spec.source
    if now != spec.base:
        message = "somebody has changed it since this form was opened"
        raise UserError(Problem("compose.changed", spec.source, message, "open the form again"))
    there = file.read_bytes() if file.is_file() and not file.is_symlink() else None
    if there != data or file.is_symlink():
        fix = f"commit or undo them: git -C {quoted(repo.path)} diff"
        raise UserError(Problem("compose.uncommitted", spec.source, "it has uncommitted changes", fix))


def _mode(file: DraftFile) -> str:
    return EXECUTABLE if file.executable else FILE


def _to_branch(repo: Repo, files: Mapping[str, tuple[str, bytes]], subject: str, branch: str) -> str:
    """Commit files on a new branch, beside what is checked out. files: by path, each with mode and content."""
    ref = f"refs/heads/{branch}"
    if branch.startswith("-") or not repo.succeeds("check-ref-format", "--branch", branch):
        raise UserError(Problem("compose.bad-branch", branch, "no name of a branch", "choose another name"))
    head = repo.head()
    if head is None or repo.resolve(ref) is not None:
        raise UserError(Problem("compose.branch-exists", branch, "the branch exists", "choose another name"))
    blobs = {path: repo.line("hash-object", "-w", "--stdin", stdin=content) for path, (_, content) in files.items()}
    with private_index(repo.common_dir / "minipach-index") as env:
        repo.git("read-tree", head, env=env)
        lines = "".join(f"{files[path][0]} {blob}\t{path}\0" for path, blob in blobs.items())
        repo.git("update-index", "-z", "--add", "--index-info", stdin=os.fsencode(lines), env=env)
        tree = repo.line("write-tree", env=env)
    commit = repo.commit_tree(tree, f"{subject}\n", [head])
    try:
        repo.update_refs([f"create {ref} {commit}"])
    except GitError as error:
        raise UserError(Problem("compose.bad-branch", branch, str(error), "choose another name")) from error
    return commit


def _to_checkout(repo: Repo, inside: str, text: str, subject: str) -> str:
    """Write the file and commit it with the user's own hooks; without a commit the file is as it was."""
    file = repo.path / inside
    before = file.read_bytes() if file.is_file() else None
    made = [folder for folder in file.relative_to(repo.path).parents if not (repo.path / folder).exists()]
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, text.encode())
    try:
        repo.git("--literal-pathspecs", "add", "--", inside)
        repo.git("--literal-pathspecs", "commit", "--quiet", "-m", subject, "--", inside)
    except GitError as error:
        repo.git("--literal-pathspecs", "reset", "--quiet", "--", inside, ok=(0, 1))
        if before is None:
            file.unlink()
            for folder in made:
                with contextlib.suppress(OSError):
                    (repo.path / folder).rmdir()
        else:
            replace_file(file, before)
        raise UserError(Problem("compose.not-committed", inside, f"git refused the commit: {error}")) from error
    return repo.head() or ""


# --- exclusions ---


def without_datum(spec: SpecText, datum: str, reason: str) -> SpecText:
    """Return the spec that leaves out a datum. Raises UserError if it does already."""
    data = read_values(spec.text) or {}
    options = data.get("minipach")
    left_out = options.get("exclude") if isinstance(options, Mapping) else None
    rows = left_out if isinstance(left_out, list) else [left_out] if isinstance(left_out, Mapping) else []
    if any(isinstance(row, Mapping) and row.get("datum") == datum for row in rows):
        raise UserError(Problem("exclude.already", datum, "the spec leaves it out already", "minipach status"))
    row = {"datum": datum, **({"reason": reason} if reason else {})}
    text = _changed(spec.text, lambda data: _append(data, row))
    return SpecText(spec.path, spec.source, text, spec.base)


def with_datum(spec: SpecText, datum: str) -> SpecText:
    """Return the spec that no longer leaves out a datum. Raises UserError if no entry names it."""

    def take_out(data: Any) -> None:
        options = data.get("minipach") if isinstance(data, Mapping) else None
        known = options.get("exclude") if isinstance(options, Mapping) else None
        rows = known if isinstance(known, list) else [known]
        found = [n for n, row in enumerate(rows) if isinstance(row, Mapping) and row.get("datum") == datum]
        if not found:
            fix = "use a name from `minipach: {exclude: [...]}` in the spec"
            raise UserError(Problem("exclude.not-there", spec.source, f'no entry leaves out "{datum}"', fix))
        for n in reversed(found):
            del rows[n]
        if not rows or rows is not known:
            _put(data, ["minipach", "exclude"], None)

    return SpecText(spec.path, spec.source, _changed(spec.text, take_out), spec.base)


def datum_to_exclude(project: Project, path: str, word: str) -> str:
    """Return the one datum that a name or a glob selects. Raises UserError if it is not one, or is left out already."""
    project.need([path])
    assessment = Assessment(project, path, SnapshotStore(project))
    try:
        left_out = assessment.excluded
        known = [*(datum.name for datum in assessment.datums), *left_out]
    finally:
        assessment.close()
    found = sorted(set(matching(word, known)))
    if not found:
        message = f"no datum is called {word!r}"
        fix = suggest_datum(word, known) if known else f"minipach datums {quoted(project.name_of(path))}"
        raise UserError(Problem("datum.unknown", path, message, fix))
    if len(found) > 1:
        fix = f"name one; or write the pattern below `minipach.exclude` in {path}/{SPEC}"
        raise UserError(Problem("datum.ambiguous", f"{path}:{word}", f"{len(found)} datums", fix))
    if found[0] in left_out:
        raise UserError(Problem("exclude.already", found[0], "the spec leaves it out already", "minipach status"))
    return found[0]


def name_for(project: Project) -> str:
    """Return a name that no pipeline has."""
    taken = {PurePosixPath(place.path).name for place in project.places} | set(project.repos)
    return next(name for name in _names() if name not in taken and not (project.root / name).exists())


def _names() -> Iterator[str]:
    yield "step"
    number = 2
    while True:
        yield f"step{number}"
        number += 1
