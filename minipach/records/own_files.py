"""The files in /project: a pipeline's own (all that are no outputs and no housekeeping), and shared code.

Below `code/` every file is the pipeline's own. `.minipach/files` on its branch lists the others, so that the launcher
knows them. Shared code, and subdatasets among the own files, are pinned below `.minipach/code/<path in the project>`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.git.content import classify
from minipach.git.repo import Repo, is_dataset
from minipach.git.tree_entries import EXECUTABLE, GITLINK, TreeEntry
from minipach.model.repo_layout import CODE, PINNED_CODE, reserved_in_data, reserved_in_pipeline
from minipach.model.snapshot import FileEntry
from minipach.project.own_files_list import listed_own
from minipach.project.project import Project
from minipach.records.published_outputs import added_by_hand
from minipach.records.published_state import Published
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted

_PATHS = 500  # that are looked up at once


@dataclass(frozen=True, slots=True)
class Shared:
    """One file of shared code. repo: the dataset that holds it."""

    repo: Path
    entry: FileEntry
    mode: str


def is_own(path: str) -> bool:
    """Return whether a path can be one of the pipeline's own files: below `code`, or at no reserved name."""
    top = path.split("/", 1)[0]
    return top == CODE or not reserved_in_pipeline(top)


def own_entries(
    repo: Repo, head: str, state: Mapping[str, Published], paths_of: Callable[[Sequence[Published]], Iterable[str]]
) -> list[TreeEntry]:
    """Return the own files and gitlinks at a commit. paths_of: the outputs of published datums."""
    code = repo.ls_tree(head, f":(top,literal){CODE}", recursive=True)
    listed = listed_own(repo, head)
    if not state or listed is None:
        outputs = set(paths_of(list(state.values())))
        every = repo.ls_tree(head, recursive=True)
        return code + [e for e in every if is_own(e.path) and not _in_code(e.path) and e.path not in outputs]
    added = {path for path in added_by_hand(repo, head) if is_own(path) and not _in_code(path)}
    added.difference_update(listed)
    if added:
        added.difference_update(paths_of(list(state.values())))
    return code + _at(repo, head, sorted(path for path in {*listed, *added} if not _in_code(path)))


def own_at(repo: Repo, commit: str) -> dict[str, tuple[str, bool]]:
    """Return what was visible in /project at a published commit.

    By path (shared code's begins with `/`), content and mode.
    """
    entries = [
        *repo.ls_tree(commit, f":(top,literal){CODE}", f":(top,literal){PINNED_CODE}", recursive=True),
        *listed_entries(repo, commit),
    ]
    kinds = classify(repo, entries)
    return {
        e.path.removeprefix(PINNED_CODE): (kinds[e.sha, e.mode == "120000"][1], e.mode == EXECUTABLE)
        for e in entries
        if e.mode != GITLINK
    }


def listed_entries(repo: Repo, commit: str) -> list[TreeEntry]:
    """Return what `.minipach/files` lists at a published commit."""
    return _at(repo, commit, sorted(listed_own(repo, commit) or ()))


def _in_code(path: str) -> bool:
    return path == CODE or path.startswith(CODE + "/")


def _at(repo: Repo, commit: str, paths: Sequence[str]) -> list[TreeEntry]:
    found: list[TreeEntry] = []
    for start in range(0, len(paths), _PATHS):
        some = paths[start : start + _PATHS]
        found += repo.ls_tree(commit, *(f":(top,literal){path}" for path in some), recursive=True)
    wanted = set(paths)
    return [e for e in found if e.path in wanted]


def listing(entries: Iterable[TreeEntry], where: str) -> bytes:
    """Return the content of `.minipach/files`; empty where nothing is to be listed. where: for a UserError."""
    paths = sorted(e.path for e in entries if not _in_code(e.path))
    if odd := next((path for path in paths if "\n" in path), None):
        raise UserError(
            Problem("file.line-break-in-name", where, f"the file {odd!r} has a line break in its name", "rename it")
        )
    return b"".join(os.fsencode(path) + b"\n" for path in paths)


def files_of(repo: Repo, entries: Iterable[TreeEntry]) -> dict[str, FileEntry]:
    """Return the files among entries of a tree, by path."""
    rows = [e for e in entries if e.mode != GITLINK]
    kinds = classify(repo, rows)
    found = {}
    for e in rows:
        kind, content, key = kinds[e.sha, e.mode == "120000"]
        found[e.path] = FileEntry(content, kind, e.mode == EXECUTABLE, e.sha, key, "")
    return found


def subdatasets(project: Project, path: str, entries: Iterable[TreeEntry]) -> dict[str, Shared]:
    """Return the files of subdatasets among a pipeline's own files, by path in the project."""
    found: dict[str, Shared] = {}
    for entry in entries:
        if entry.mode == GITLINK:
            _add(project.root / path / entry.path, entry.sha, "", f"{path}/{entry.path}", found)
    return found


def shared_code(
    project: Project,
    path: str,
    named: Sequence[str],
    at: str,
    commit_of: Callable[[Repo, str], str | None] = lambda repo, _inside: repo.head(),
) -> dict[str, Shared]:
    """Return the files of `minipach.code` of a pipeline, by path in the project.

    Args:
        project: The project.
        path: The pipeline's path in it.
        named: The paths that the spec names.
        at: The location, for messages.
        commit_of: Returns the commit that counts of a repository, for what is at a path in it; its last one by default.
    """
    found: dict[str, Shared] = {}
    for word in named:
        target = posixpath.normpath(posixpath.join(path, word))
        if target == "." or target.startswith("../"):
            raise UserError(
                Problem("code.outside-project", at, f"{word} leads out of the project", "name a folder in it")
            )
        there = project.root / target
        holder = target if is_dataset(there) else project.holder_of(target)
        repo = Repo(project.root / holder)
        inner = "" if holder == target else target.removeprefix(holder + "/" if holder else "")
        head = commit_of(repo, inner)
        before = len(found)
        if head is not None:
            _add(repo.path, head, inner, target, found)
        if len(found) == before:
            commit = f"; datalad save -d {quoted(repo.path)}" if os.path.lexists(there) else ""
            raise UserError(
                Problem("code.no-such-file", at, f"{word}: no committed file at {target} in this project{commit}")
            )
        repo.close()
    return found


def _add(folder: Path, commit: str, inner: str, target: str, found: dict[str, Shared]) -> None:
    """Add the files at `inner` of a repository's commit, subdatasets included, at `target` in the project."""
    if not is_dataset(folder):
        raise UserError(
            Problem(
                "repo.not-installed", str(target), "this subdataset is not here", f"datalad get -n {quoted(folder)}"
            )
        )
    repo = Repo(folder)
    try:
        entries = repo.ls_tree(commit, *([f":(top,literal){inner}"] if inner else []), recursive=True)
        entries = [e for e in entries if not reserved_in_data(e.path.split("/", 1)[0])]
        files = files_of(repo, entries)
        for e in entries:
            place = target + e.path.removeprefix(inner) if inner else f"{target}/{e.path}"
            if e.mode == GITLINK:
                _add(folder / e.path, e.sha, "", place, found)
            else:
                found[place] = Shared(folder, files[e.path], e.mode)
    finally:
        repo.close()
