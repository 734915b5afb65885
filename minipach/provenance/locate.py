"""The file that a name means: its repository in the project, its path there, and the commit to look at."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path

from minipach.git.git_error import GitError
from minipach.git.repo import Repo, is_dataset
from minipach.git.tree_entries import GITLINK, TREE
from minipach.model.repo_layout import INPUTS, SPECS, is_pipeline, reserved_in_data, reserved_in_pipeline
from minipach.project import output_branch
from minipach.project.own_files_list import listed_own
from minipach.project.project import find_project
from minipach.records.branch_history import resolve_state
from minipach.spec.validate import dig
from minipach.spec.yaml_reader import read_yaml
from minipach.support.errors import Problem, UserError
from minipach.support.text import nearest, quoted


@dataclass(frozen=True, slots=True)
class LocatedFile:
    """Files of one repository at a commit. root: the project · repo: the path of the repository in it."""

    root: Path
    repo: str
    at: str
    paths: tuple[str, ...]


def locate(name: str, folder: Path, at: str | None = None) -> LocatedFile:
    """Return the file, or the files of a folder, that a name means in a folder.

    Args:
        name: A path from the folder, or else from the project.
        folder: The folder of the command.
        at: A commit of the repository, a job of the pipeline, or a commit of the superdataset. None: the commit of now.

    Raises:
        UserError: There is no such file, in no repository, or at no such commit.
    """
    holder, path = _holder(name, folder)
    root = _root(holder)
    if holder is None or root is None:
        raise UserError(
            Problem("project.not-found", name, "not inside a project", "change to a folder of a project, or use -C DIR")
        )
    where = os.path.relpath(holder, root)
    repo = Repo(holder)
    try:
        commit = _commit(repo, root, where, at, path)
        if path.startswith(INPUTS) and (inner := _input(repo, root, where, commit, path)):
            return inner
        paths = _paths(repo, commit, path, name)
        return LocatedFile(root, where, commit, paths)
    finally:
        repo.close()


def _holder(name: str, folder: Path) -> tuple[Path | None, str]:
    """Return the repository that holds a file, and the file's path in it. The file need not exist now."""
    given = Path(os.path.abspath(folder / name))
    first = _above(given)
    if os.path.lexists(given) or first[0] is None:
        return first
    root = _root(first[0])
    other = Path(os.path.abspath(root / name)) if root is not None and not os.path.isabs(name) else given
    return _above(other) if os.path.lexists(other) else first


def _above(given: Path) -> tuple[Path | None, str]:
    # links of annexed files lead into .git: only the folders above are followed
    real = Path(os.path.realpath(given.parent), given.name)
    if not real.is_symlink() and is_dataset(real):
        return real, ""
    for top in real.parents:
        if is_dataset(top):
            return top, real.relative_to(top).as_posix()
    return None, ""


def _root(holder: Path | None) -> Path | None:
    """Return the project around a repository; of a pipeline's repository alone, itself."""
    if holder is None:
        return None
    try:
        return find_project(holder).root
    except UserError:
        return holder


def _commit(repo: Repo, root: Path, where: str, at: str | None, path: str) -> str:
    if at is None:
        return _now(repo, path)
    head = repo.head()
    if head is None:
        raise _nothing(repo)
    try:
        return resolve_state(repo, head, at)
    except UserError:
        pinned = _pinned(root, where, at) if where != "." else None
        if pinned is None:
            raise
        return pinned


def _now(repo: Repo, path: str) -> str:
    """Return the commit that is checked out; where a pipeline publishes elsewhere, that for its outputs."""
    head = repo.head()
    if head is None:
        raise _nothing(repo)
    if reserved_in_pipeline(path.split("/", 1)[0]):
        return head
    for spec in SPECS:
        if (data := repo.objects.read(f"{head}:{spec}")) is not None:
            branch = dig(read_yaml(data.decode("utf-8", "replace")).data, "output_branch")
            other = output_branch.other_branch(repo, branch) if isinstance(branch, str) else None
            return (output_branch.tip(repo, other) if other else None) or head
    return head


def _pinned(root: Path, where: str, at: str) -> str | None:
    """Return the commit that a commit of the superdataset has of a dataset."""
    project = Repo(root)
    try:
        entries = project.ls_tree(at, f":(top,literal){where}") if project.resolve(f"{at}^{{commit}}") else []
    except GitError:
        return None
    finally:
        project.close()
    return entries[0].sha if entries and entries[0].mode == GITLINK else None


def _input(repo: Repo, root: Path, where: str, commit: str, path: str) -> LocatedFile | None:
    """Return a file below a pipeline's `inputs/` as the file of the input's repository."""
    parts = path.split("/")
    for n in range(2, len(parts) + 1):
        link = "/".join(parts[:n])
        entries = repo.ls_tree(commit, f":(top,literal){link}")
        if not entries or entries[0].mode != GITLINK:
            continue
        url = repo.config(f"submodule.{link}.url", f"blob:{commit}:.gitmodules") or ""
        source = posixpath.normpath(posixpath.join(where, url))
        if source.startswith(("..", "/")) or not is_dataset(root / source):
            return None
        held = Repo(root / source)
        try:
            if held.resolve(f"{entries[0].sha}^{{commit}}") is None:
                return None
            return LocatedFile(root, source, entries[0].sha, _paths(held, entries[0].sha, "/".join(parts[n:]), path))
        finally:
            held.close()
    return None


def _paths(repo: Repo, commit: str, path: str, name: str) -> tuple[str, ...]:
    """Return the path itself, or the data files below a folder. UserError if there are none."""
    entries = repo.ls_tree(commit, f":(top,literal){path}") if path else []
    if entries and entries[0].mode not in (TREE, GITLINK):
        return (path,)
    if entries and entries[0].mode == GITLINK:
        raise UserError(
            Problem("repo.not-installed", name, "this dataset is not installed", f"datalad get -n {quoted(name)}")
        )
    if not path or entries:
        below = repo.ls_tree(commit, *([f":(top,literal){path}"] if path else []), recursive=True)
        pipeline = is_pipeline(repo.names(commit))
        reserved = reserved_in_pipeline if pipeline else reserved_in_data
        own = (listed_own(repo, commit) if pipeline else None) or frozenset()
        inside = bool(path) and reserved(path.split("/", 1)[0])
        files = [e.path for e in below if e.mode != GITLINK]
        files = files if inside else [p for p in files if not reserved(p.split("/", 1)[0]) and p not in own]
        if files:
            return tuple(files)
        raise UserError(Problem("explain.no-files", name, "this folder has no committed files", "name another one"))
    raise _missing(repo, commit, path, name)


def _missing(repo: Repo, commit: str, path: str, name: str) -> UserError:
    if os.path.lexists(repo.path / path) and commit == repo.head():
        fix = f"datalad save -d {quoted(repo.path)} {quoted(path)}"
        return UserError(
            Problem("explain.not-committed", name, "this file is not committed, so nothing is recorded", fix)
        )
    last = repo.line("log", "-1", "--format=%h", "--diff-filter=D", commit, "--", f":(top,literal){path}")
    if last:
        fix = f"minipach explain {quoted(name)} --at {last}^"
        return UserError(Problem("explain.removed", name, f"commit {last} removed this file", fix))
    folder = posixpath.dirname(path)
    beside = [e.path for e in repo.ls_tree(commit, *([f":(top,literal){folder}/"] if folder else []))]
    fix = nearest(path, beside)
    return UserError(Problem("explain.no-such-file", name, f"no such file in commit {commit[:10]}", fix))


def _nothing(repo: Repo) -> UserError:
    return UserError(Problem("explain.no-files", str(repo.path), "this repository has no commits", "datalad save"))
