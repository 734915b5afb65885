"""Two states of a pipeline's branch side by side: inputs, spec and code, image, datums, outputs. Reads only."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from minipach.environment import host
from minipach.git.content import classify
from minipach.git.repo import Repo, is_dataset
from minipach.git.tree_entries import EXECUTABLE, GITLINK, SYMLINK, TreeEntry
from minipach.model.pipeline import ALL
from minipach.model.plain_folder import PlainFolder
from minipach.model.repo_layout import (
    CODE,
    CONTAINER,
    DATALAD_CONFIG,
    INPUTS,
    PINNED_CODE,
    SPECS,
    is_pipeline,
    reserved_in_data,
    reserved_in_pipeline,
)
from minipach.model.run_record import slugs
from minipach.project import output_branch
from minipach.project.own_files_list import listed_own
from minipach.project.project import Project
from minipach.records.branch_history import added_paths, outputs_of, publishes, record_commits, resolve_state
from minipach.records.published_state import Published, read_state
from minipach.records.results_branch import StoredResults
from minipach.support.errors import Problem, UserError
from minipach.support.text import short


@dataclass(frozen=True, slots=True)
class PathChanges:
    """The changes of files. moved: (old path, new path) of equal content · same: stored again, with equal content."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    moved: tuple[tuple[str, str], ...] = ()
    same: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.moved or self.same)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach diff --json`."""
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "changed": list(self.changed),
            "moved": [{"from": old, "to": new} for old, new in self.moved],
            "same_content": list(self.same),
        }


@dataclass(frozen=True, slots=True)
class InputChange:
    """An input that moved. old, new: its commits (None: not an input then) · paths: None if a commit isn't here."""

    repo: str
    old: str | None
    new: str | None
    paths: PathChanges | None


@dataclass(frozen=True, slots=True)
class DatumChange:
    """A datum at both states (None: not there). outputs: how they compare where its id changed."""

    name: str
    old: Published | None
    new: Published | None
    outputs: Literal["", "identical", "changed", "unknown"] = ""

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        """The kind of the change."""
        return "added" if self.old is None else "removed" if self.new is None else "changed"

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach diff --json`."""

        def side(published: Published | None) -> dict[str, str] | None:
            return {"id": published.id, "place": published.dest or "/"} if published else None

        return {
            "name": self.name,
            "kind": self.kind,
            "old": side(self.old),
            "new": side(self.new),
            "outputs": self.outputs or None,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference of two commits of a pipeline. code: (git's status letter, path) · image: a line a change."""

    pipeline: str
    old: str
    new: str
    inputs: tuple[InputChange, ...]
    code: tuple[tuple[str, str], ...]
    patch: str
    image: tuple[str, ...]
    datums: tuple[DatumChange, ...]
    kept: int
    outputs: PathChanges

    def __bool__(self) -> bool:
        return bool(self.inputs or self.code or self.image or self.datums or self.outputs)

    @property
    def identical(self) -> tuple[str, ...]:
        """The datums whose id changed, and not their outputs."""
        return tuple(d.name for d in self.datums if d.outputs == "identical")

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach diff --json`."""
        return {
            "pipeline": self.pipeline,
            "old": self.old,
            "new": self.new,
            "inputs": [
                {"repo": i.repo, "old": i.old, "new": i.new, "paths": i.paths.as_json() if i.paths else None}
                for i in self.inputs
            ],
            "code": [{"path": path, "status": status} for status, path in self.code],
            "patch": self.patch or None,
            "image": list(self.image),
            "datums": [d.as_json() for d in self.datums],
            "datums_unchanged": self.kept,
            "outputs": self.outputs.as_json(),
        }


def compare_states(project: Project, path: str, old: str | None, new: str | None, *, patch: bool = False) -> Comparison:
    """Compare two states, named by commits or job ids; by default what was before the last publish with HEAD.

    UserError if nothing was published yet, or a name leads nowhere.
    """
    repo = Repo(project.root / path)
    try:
        head = repo.head() if is_dataset(repo.path) else None
        pipeline = project.pipelines.get(path)
        if head is not None and pipeline and (branch := output_branch.other_branch(repo, pipeline.output_branch)):
            head = output_branch.tip(repo, branch)
        if head is None:
            raise UserError(
                Problem(
                    "pipeline.not-published",
                    path,
                    "nothing published yet",
                    f"minipach schedule {project.name_of(path)}",
                )
            )
        before = resolve_state(repo, head, old) if old else _state_before_last_publish(project, path, repo, head)
        after = resolve_state(repo, head, new) if new else head
        published = read_state(repo, before), read_state(repo, after)
        datums = _compare_datums(repo, before, after, *published)
        return Comparison(
            pipeline=project.name_of(path),
            old=before,
            new=after,
            inputs=tuple(_compare_inputs(project, path, repo, before, after)),
            code=tuple(_compare_code(repo, before, after)),
            patch=_make_patch(repo, before, after) if patch else "",
            image=tuple(_compare_images(repo, before, after)),
            datums=datums,
            kept=len(published[1]) - sum(d.new is not None for d in datums),
            outputs=_compare_outputs(repo, before, after),
        )
    finally:
        repo.close()


def _state_before_last_publish(project: Project, path: str, repo: Repo, head: str) -> str:
    """Return the state of the publish before the last one; after a first publish, what was there before it."""
    found = publishes(repo, head)
    if not found:
        raise UserError(
            Problem(
                "pipeline.not-published", path, "nothing published yet", f"minipach schedule {project.name_of(path)}"
            )
        )
    return found[1].commit if len(found) > 1 else found[0].before or found[0].commit


# What a diff of two trees says


@dataclass(frozen=True, slots=True)
class _Change:
    path: str
    old: TreeEntry | None
    new: TreeEntry | None
    status: str


def _read_changes(repo: Repo, old: str, new: str, *paths: str) -> list[_Change]:
    args = ("diff-tree", "-r", "-z", "--no-renames", old, new, "--", *(f":(top,literal){p}" for p in paths))
    out = repo.git(*args).split(b"\0")
    found = []
    for meta, name in zip(out[::2], out[1::2], strict=False):
        old_mode, new_mode, old_sha, new_sha, status = meta.decode().lstrip(":").split()
        path = os.fsdecode(name)
        before = TreeEntry(old_mode, old_sha, path) if status != "A" else None
        after = TreeEntry(new_mode, new_sha, path) if status != "D" else None
        found.append(_Change(path, before, after, status))
    return found


def _read_content_ids(repo: Repo, entries: Iterable[TreeEntry | None]) -> dict[tuple[str, str], str]:
    """Return (mode, blob) → the content id, marked where it is executable."""
    known = [e for e in entries if e is not None and e.mode != GITLINK]
    kinds = classify(repo, known)
    return {(e.mode, e.sha): kinds[e.sha, e.mode == SYMLINK][1] + "x" * (e.mode == EXECUTABLE) for e in known}


def _match_moves(repo: Repo, changes: Sequence[_Change]) -> PathChanges:
    """Sort changes by what they mean for the content."""
    content = _read_content_ids(repo, [e for c in changes for e in (c.old, c.new)])

    def of(entry: TreeEntry | None) -> str:
        return content.get((entry.mode, entry.sha), f"commit:{entry.sha}") if entry else ""

    changed = [c.path for c in changes if c.old and c.new and of(c.old) != of(c.new)]
    same = [c.path for c in changes if c.old and c.new and of(c.old) == of(c.new)]
    gone: dict[str, list[str]] = {}
    for c in changes:
        if c.new is None:
            gone.setdefault(of(c.old), []).append(c.path)
    added, moved = [], []
    for c in changes:
        if c.old is None:
            twins = gone.get(of(c.new))
            if twins:
                moved.append((twins.pop(0), c.path))
            else:
                added.append(c.path)
    removed = sorted(path for left in gone.values() for path in left)
    return PathChanges(tuple(added), tuple(removed), tuple(changed), tuple(moved), tuple(same))


def _compare_outputs(repo: Repo, old: str, new: str) -> PathChanges:
    own = _read_own_files(repo, old, new)
    changes = [c for c in _read_changes(repo, old, new) if c.path not in own]
    return _match_moves(repo, [c for c in changes if not reserved_in_pipeline(c.path.split("/", 1)[0])])


# Inputs


def _compare_inputs(project: Project, path: str, repo: Repo, old: str, new: str) -> Iterable[InputChange]:
    for change in _read_changes(repo, old, new, "inputs"):
        before = change.old.sha if change.old and change.old.mode == GITLINK else None
        after = change.new.sha if change.new and change.new.mode == GITLINK else None
        if before is None and after is None:
            continue
        where = _source_of_link(repo, new if after else old, path, change.path)
        if folder := _folder_of_link(project, path, change.path, where):
            dataset = Repo(project.dataset_of(folder))
            yield InputChange(folder, before, after, _compare_plain_folders(project, folder, dataset, before, after))
        else:
            yield InputChange(where, before, after, _compare_input(project, where, before, after))


def _folder_of_link(project: Project, path: str, link: str, where: str) -> str:
    """Return the plain folder that an input is; "" if it is a dataset.

    One that the spec no longer names is shown as all of the dataset that has it.
    """
    pipeline = project.pipelines.get(path)
    named = {f"{INPUTS}{slug}": repo for (repo, _), slug in slugs(pipeline).items()} if pipeline else {}
    found = named.get(link, "")
    if found in project.holders and (project.holders[found] or ALL) == where:
        return found
    return ALL if where == ALL else ""


def _compare_plain_folders(
    project: Project, repo: str, dataset: Repo, old: str | None, new: str | None
) -> PathChanges | None:
    """Return what changed in a plain folder, by the paths from there."""
    folder = project.folder(repo) or PlainFolder("", "")
    try:
        if any(c and dataset.resolve(f"{c}^{{commit}}") is None for c in (old, new)):
            return None
        nothing = dataset.line("hash-object", "-t", "tree", "--stdin", stdin=b"")
        below = [folder.path or "."]
        changes = [
            replace(change, path=change.path.removeprefix(folder.prefix))
            for change in _read_changes(dataset, old or nothing, new or nothing, *below)
            if GITLINK not in (change.old and change.old.mode, change.new and change.new.mode)
        ]
        return _match_moves(dataset, [change for change in changes if folder.has(change.path)])
    finally:
        dataset.close()


def _source_of_link(repo: Repo, commit: str, path: str, link: str) -> str:
    """Return the repo that an input is, as a path in the project: `.gitmodules` has it relative to the pipeline."""
    url = repo.config(f"submodule.{link}.url", f"blob:{commit}:.gitmodules")
    return posixpath.normpath(posixpath.join(path, url)) if url else link


def _compare_input(project: Project, where: str, old: str | None, new: str | None) -> PathChanges | None:
    if where.startswith(("..", "/")) or not is_dataset(project.root / where):
        return None
    repo = Repo(project.root / where)
    try:
        if any(c and repo.resolve(f"{c}^{{commit}}") is None for c in (old, new)):
            return None
        if old and new:
            return _compare_repo(repo, old, new)
        reserved = _reserved_names_at(repo, old or new or "")
        names = [e.path for e in repo.ls_tree(old or new or "", recursive=True)]
        paths = tuple(p for p in names if not reserved(p.split("/", 1)[0]))
        return PathChanges(added=paths) if new else PathChanges(removed=paths)
    finally:
        repo.close()


def _reserved_names_at(repo: Repo, commit: str) -> Callable[[str], bool]:
    return reserved_in_pipeline if is_pipeline(repo.names(commit)) else reserved_in_data


def _compare_repo(repo: Repo, old: str, new: str) -> PathChanges:
    """Return what changed in a repo of data, in its subdatasets too where both commits are here."""
    reserved = _reserved_names_at(repo, new)
    changes = [c for c in _read_changes(repo, old, new) if not reserved(c.path.split("/", 1)[0])]
    links = [c for c in changes if c.old and c.new and c.old.mode == c.new.mode == GITLINK]
    inside = {c.path: found for c in links if (found := _compare_subdataset(repo, c)) is not None}
    found = _match_moves(repo, [c for c in changes if c.path not in inside])
    for prefix, below in inside.items():
        found = PathChanges(
            found.added + tuple(f"{prefix}/{p}" for p in below.added),
            found.removed + tuple(f"{prefix}/{p}" for p in below.removed),
            found.changed + tuple(f"{prefix}/{p}" for p in below.changed),
            found.moved + tuple((f"{prefix}/{a}", f"{prefix}/{b}") for a, b in below.moved),
            found.same + tuple(f"{prefix}/{p}" for p in below.same),
        )
    return found


def _compare_subdataset(repo: Repo, change: _Change) -> PathChanges | None:
    assert change.old and change.new
    if not is_dataset(repo.path / change.path):
        return None
    child = Repo(repo.path / change.path)
    try:
        here = all(child.resolve(f"{e.sha}^{{commit}}") for e in (change.old, change.new))
        return _compare_repo(child, change.old.sha, change.new.sha) if here else None
    finally:
        child.close()


# Spec, code, image


def _compare_code(repo: Repo, old: str, new: str) -> Iterable[tuple[str, str]]:
    return ((c.status, c.path) for c in _read_changes(repo, old, new, *_code_paths(repo, old, new)))


def _code_paths(repo: Repo, old: str, new: str) -> list[str]:
    """Return the spec, the pipeline's own files, and the shared code that is pinned."""
    return [*SPECS, CODE, PINNED_CODE, *sorted(_read_own_files(repo, old, new))]


def _read_own_files(repo: Repo, *commits: str) -> frozenset[str]:
    return frozenset[str]().union(*(listed_own(repo, commit) or () for commit in commits))


def _make_patch(repo: Repo, old: str, new: str) -> str:
    options = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")
    paths = (f":(top,literal){path}" for path in _code_paths(repo, old, new))
    return repo.git("diff", *options, old, new, "--", *paths).decode("utf-8", "replace")


def _compare_images(repo: Repo, old: str, new: str) -> list[str]:
    """Return what changed between the images in use: the packages of a host environment, else the content id."""
    before, after = _read_image(repo, old), _read_image(repo, new)
    if before == after:
        return []
    texts = [image[2] if image else "" for image in (before, after)]
    if all(text.startswith(host.FIRST_LINE) for text in texts):
        return list(host.drift(*texts))
    names = [f"{image[0]} ({short(image[1])})" if image else "none" for image in (before, after)]
    return [f"{names[0]} → {names[1]}"]


def _read_image(repo: Repo, commit: str) -> tuple[str, str, str] | None:
    """Return the image registered at a commit.

    Where it lies, its content id, and its text if it is a small one in git.
    """
    place = repo.config(f"datalad.containers.{CONTAINER}.image", f"blob:{commit}:{DATALAD_CONFIG}")
    entries = repo.ls_tree(commit, f":(top,literal){place}") if place and not place.startswith("/") else []
    if place is None or not entries:
        return None
    entry = entries[0]
    kind, content, _ = classify(repo, [entry])[entry.sha, entry.mode == SYMLINK]
    text = (repo.objects.read(entry.sha) or b"").decode("utf-8", "replace") if kind == "git" else ""
    return place, content, text


# Datums


def _compare_datums(
    repo: Repo, old: str, new: str, before: dict[str, Published], after: dict[str, Published]
) -> tuple[DatumChange, ...]:
    names = [n for n in sorted(before.keys() | after.keys()) if before.get(n) != after.get(n)]
    both = [n for n in names if n in before and n in after]
    was = _files_of(repo, old, [before[n] for n in both])
    now = _files_of(repo, new, [after[n] for n in both])
    found = []
    for name in names:
        verdict: Literal["", "identical", "changed", "unknown"] = ""
        if name in was and name in now:
            left, right = was[name], now[name]
            verdict = "unknown" if left is None or right is None else "identical" if left == right else "changed"
        found.append(DatumChange(name, before.get(name), after.get(name), verdict))
    return tuple(found)


def _files_of(repo: Repo, commit: str, datums: Sequence[Published]) -> dict[str, dict[str, str] | None]:
    """Return for each datum its files by path in its folder, with content ids. None: they are unknown.

    What published no output has no record on the branch, but a result without a tree.
    """
    records = record_commits(repo, commit, [(d.name, d.id) for d in datums])
    paths = added_paths(repo, [c for c, _ in records.values()])
    wanted = {p for found in paths.values() for p in found}
    every = {e.path: e for e in repo.ls_tree(commit, recursive=True) if e.path in wanted} if wanted else {}
    content = _read_content_ids(repo, every.values())
    known = StoredResults(repo) if len(records) < len(datums) else None
    result: dict[str, dict[str, str] | None] = {}
    for d in datums:
        record = records.get((d.name, d.id))
        if record is None:
            stored = known.of(d.id) if known else ()
            result[d.name] = {} if any(r.tree is None for r in stored) else None
        else:
            prefix = d.dest + "/" if d.dest else ""
            own = outputs_of(record[1], paths.get(record[0], []), d.name, d.id)
            mine = [every[p] for p in own if p in every]
            result[d.name] = {e.path.removeprefix(prefix): content[e.mode, e.sha] for e in mine if e.mode != GITLINK}
    return result
