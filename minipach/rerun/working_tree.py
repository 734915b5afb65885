"""Pipelines as they lie in the working tree, uncommitted changes included: to try them before they are committed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from minipach.git.annex_keys import MAX_POINTER, key_of_link, key_of_pointer
from minipach.git.checkout import dirty_paths
from minipach.git.repo import Repo, is_dataset, private_index
from minipach.git.tree_entries import EXECUTABLE, FILE, GITLINK, SYMLINK, TreeEntry
from minipach.git.worktrees import clean_up
from minipach.model.messages import SUBJECT
from minipach.model.pipeline import BrokenSpec, Pipeline
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.project.parameters import working_parameters
from minipach.project.project import Project
from minipach.project.spec_cache import read_spec
from minipach.project.spec_file import lying_specs, one_spec, working_text
from minipach.project.uncommitted import NAMED, in_subdatasets, is_input, shared_targets, uncommitted
from minipach.records.own_files import Shared, shared_code, subdatasets
from minipach.support.errors import Problem, UserError
from minipach.support.git_objects import NO_OBJECT
from minipach.support.text import quoted

_EPOCH = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}  # the same tree is the same commit


def working_project(project: Project, paths: Iterable[str]) -> Project:
    """Return the project with the specs of these pipelines as they are in the working tree."""
    given: dict[str, Pipeline | BrokenSpec] = dict(project.given)
    working = Project(project.root, given, working_parameters(project.root))
    for path in paths:
        folder = project.root / path
        source = project.spec_path(path)
        try:
            source = f"{path}/{one_spec(path, lying_specs(folder))}" if lying_specs(folder) else source
            text = working_text(folder, source)
            if text is not None and path not in given:
                params = working.parameters_for(text, path)
                name = project.name_of(path)
                given[path] = read_spec(text, source=source, folder=name, cache=project.cache, params=params)
        except BrokenSpec as error:
            given[path] = error
        except UserError as error:
            given[path] = BrokenSpec(error.problems)
    return project.with_specs(given)


def uncommitted_in(project: Project, path: str, *below: str) -> list[str]:
    """Return the uncommitted paths of a pipeline's dataset; nothing of a folder that is no dataset yet.

    Args:
        project: The project.
        path: The pipeline's path in it.
        below: Paths in the pipeline that are looked at (default: all).
    """
    folder = project.root / path
    if not is_dataset(folder):
        return []
    return [p for p in dirty_paths(Repo(folder), *below) if not is_input(folder, p)]


def notice(project: Project, path: str) -> str | None:
    """Return the line that says which uncommitted content of a pipeline is used; None if there is none."""
    name = project.name_of(path)
    if not is_dataset(project.root / path):
        return f"{name}: not a dataset yet; its files are used as they are"
    changed = [*uncommitted_in(project, path), *in_subdatasets(project.root / path)]
    working = working_project(project, [path])
    shared = uncommitted(working, shared_targets(working, [path]))
    changed += [os.path.relpath(project.root / p, project.root / path) for p in _in_project(project, shared)]
    if not changed:
        return None
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    shown = ", ".join(changed[:NAMED])
    return f"{name}: uncommitted changes are used ({shown}{more}); --committed uses the last commit"


def _in_project(project: Project, found: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield uncommitted paths of datasets and folders as seen from the project."""
    for path, changed in found.items():
        top = path if is_dataset(project.root / path) else project.holder_of(path)
        yield from (f"{top}/{name}" if top else name for name in changed)


def assess(project: Project, path: str, *, committed: bool) -> Assessment:
    """Return the assessment of a pipeline: of its working tree, or of its last commit.

    Raises:
        UserError: The last commit is asked for, and there is none.
    """
    store = SnapshotStore(project)
    if not committed:
        return WorkingAssessment(project, path, store)
    assessment = Assessment(project, path, store)
    if not assessment.exists:
        name = project.name_of(path)
        raise UserError(
            Problem(
                "pipeline.not-a-dataset",
                path,
                "not a dataset yet, so nothing is committed",
                f"minipach schedule {name}",
            )
        )
    return assessment


class WorkingAssessment(Assessment):
    """A pipeline whose last commit is taken to be its working tree. Moves no ref, and leaves the user's index alone.

    What is in the working tree is stored as plain git objects. A folder that is no dataset yet gets a repository of its
    own for them, in the project's local state.
    """

    @cached_property
    def repo(self) -> Repo:
        """The pipeline's own repository, or the one that stands for it."""
        folder = self.project.root / self.path
        return Repo(folder) if is_dataset(folder) else _stand_in(self.project, self.path)

    @cached_property
    def exists(self) -> bool:
        """Whether there is something to work with: here always."""
        return True

    @cached_property
    def branch(self) -> str | None:
        """The branch that results go to: a trial publishes nothing."""
        return None

    @cached_property
    def source(self) -> str | None:
        """A commit of the working tree, which no ref leads to."""
        folder = self.project.root / self.path
        repo = self.repo
        if repo.path != folder:
            return _commit(repo, None, _loose(self.project, self.path))
        head = repo.head()
        changed = _changed(repo, uncommitted_in(self.project, self.path))
        return head if head and not changed else _commit(repo, head, changed)

    @cached_property
    def shared(self) -> dict[str, Shared]:
        """Shared code as it is in the working tree, and the files of subdatasets among the own files."""
        pipeline = self.pipeline
        at = pipeline.at("minipach.code")
        found = shared_code(self.project, self.path, pipeline.shared_code, at, _working_commit)
        return {**found, **subdatasets(self.project, self.path, map(self._with_edits, self.own))}

    def _with_edits(self, entry: TreeEntry) -> TreeEntry:
        """Return a subdataset's entry at a commit of its working tree; any other entry as it is."""
        there = self.project.root / self.path / entry.path
        if entry.mode != GITLINK or not is_dataset(there):
            return entry
        commit = _working_commit(Repo(there), "")
        return TreeEntry(entry.mode, commit or entry.sha, entry.path)


def _working_commit(repo: Repo, inside: str) -> str | None:
    """Return a commit of the working tree of a repository, of what is at a path in it; no ref leads to it."""
    head = repo.head()
    changed = _changed(repo, dirty_paths(repo, *([inside] if inside else [])))
    return _commit(repo, head, changed) if changed else head


_Row = tuple[str, str, str]  # mode, object id, path


def _commit(repo: Repo, head: str | None, rows: Sequence[_Row]) -> str:
    """Store a commit of `head` with these rows in their paths' place, and return its id."""
    info = b"".join(os.fsencode(f"{mode} {sha}\t{path}") + b"\0" for mode, sha, path in rows)
    with private_index(repo.common_dir / "minipach-index") as env:
        repo.git("read-tree", *([head] if head else ["--empty"]), env=env)
        repo.git("update-index", "-z", "--index-info", stdin=info, env=env)
        tree = repo.line("write-tree", "--missing-ok", env=env)
    return repo.commit_tree(tree, f"{SUBJECT}the working tree\n", [head] if head else [], env=_EPOCH)


def _changed(repo: Repo, paths: Sequence[str]) -> list[_Row]:
    """Return the working tree's side of what is uncommitted."""
    folders = [p for p in paths if p.endswith("/")]
    names = [p for p in paths if not p.endswith("/")]
    if folders:
        listed = repo.git(
            "ls-files", "-z", "--others", "--exclude-standard", "--", *(f":(literal,top){p}" for p in folders)
        )
        names += [name for name in map(os.fsdecode, listed.split(b"\0")) if name and not name.endswith("/")]
    found = []
    for name in dict.fromkeys(names):
        there = repo.path / name
        if is_dataset(there):
            commit = Repo(there).head()
            found += [(GITLINK, commit, name)] if commit else []
        elif os.path.lexists(there) and (there.is_symlink() or not there.is_dir()):
            found.append(_row(repo, there, name))
        else:
            found.append(("0", NO_OBJECT, name))
    return found


def _row(repo: Repo, there: Path, name: str) -> _Row:
    if there.is_symlink():
        return SYMLINK, repo.hash_blob(os.fsencode(os.readlink(there))), name
    mode = EXECUTABLE if os.access(there, os.X_OK) else FILE
    with there.open("rb") as stream:
        sha = repo.line("hash-object", "-w", "--no-filters", "--stdin", stdin=stream.read())
    return mode, sha, name


def _loose(project: Project, path: str) -> list[_Row]:
    """Return the files of a folder that is no dataset yet, less what its holder ignores; annexed ones as content."""
    holder = project.root / project.holder_of(path)
    inside = os.path.relpath(project.root / path, holder)
    listed = Repo(holder).git(
        "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", f":(literal,top){inside}"
    )
    repo = _stand_in(project, path)
    found = []
    for name in dict.fromkeys(map(os.fsdecode, listed.split(b"\0"))):
        there = holder / name
        if not name or name.endswith("/") or not os.path.lexists(there) or is_dataset(there):
            continue
        content = there
        if there.is_symlink() and key_of_link(os.fsencode(os.readlink(there))):
            content = Path(os.path.realpath(there))
        if not os.path.lexists(content) or (content.is_file() and _is_pointer(content)):
            raise UserError(
                Problem("file.content-missing", str(there), "its content is not here", f"datalad get {quoted(there)}")
            )
        found.append(_row(repo, content, os.path.relpath(name, inside)))
    return found


def _is_pointer(file: Path) -> bool:
    with file.open("rb") as stream:
        return key_of_pointer(stream.read(MAX_POINTER + 1)) is not None


def _stand_in(project: Project, path: str) -> Repo:
    """Return the repository that stands for a folder's dataset, with no slots of processes that are gone."""
    folder = project.local.trials / hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    repo = Repo(folder)
    if not (folder / ".git").exists():
        repo.git("init", "--quiet")
    clean_up(repo)
    return repo
