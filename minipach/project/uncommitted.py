"""Uncommitted changes in the repos of a project: only commits count, so people are warned."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from minipach.git.checkout import dirty_paths
from minipach.git.clean_index import matching_tree
from minipach.git.repo import Repo, is_dataset
from minipach.model.plain_folder import PlainFolder
from minipach.model.repo_layout import INPUTS
from minipach.project.project import Project
from minipach.project.spec_file import lying_specs
from minipach.project.unfinished_uploads import drop_folders, unfinished_in
from minipach.support.disk_cache import Cache
from minipach.support.text import quoted

NAMED = 3  # at most so many paths in a line
_AT_ONCE = 4  # git processes
_TREES = "head-trees"  # in the cache: by subdataset, its commit and the tree of that


def used_by(project: Project, pipelines: Iterable[str]) -> tuple[str, ...]:
    """Return the repos of these pipelines and of what they take their input from, and their shared code."""
    found = (
        repo
        for path in pipelines
        for repo in (path, *(n.repo for n in project.needs(path)), *shared_targets(project, [path]))
    )
    return tuple(dict.fromkeys(found))


def shared_targets(project: Project, pipelines: Iterable[str]) -> tuple[str, ...]:
    """Return the paths in the project of the shared code of these pipelines (`minipach.code`)."""
    pairs = ((path, pipeline) for path in pipelines if (pipeline := project.pipelines.get(path)))
    targets = (posixpath.normpath(posixpath.join(path, word)) for path, p in pairs for word in p.shared_code)
    return tuple(dict.fromkeys(target for target in targets if target != "." and not target.startswith("../")))


def uncommitted(project: Project, repos: Iterable[str]) -> dict[str, list[str]]:
    """Return the changed and new paths of each repo that has some. A folder that is no dataset yet counts as it lies.

    An input that is installed at another commit than the pipeline's link says is no change to record.
    """
    pipelines = {place.path for place in project.places}
    shared = set(shared_targets(project, pipelines))
    found = {}
    for path in dict.fromkeys(repos):
        where = project.root / path
        if view := project.folder(path):
            changed = _of_input(project, view)
        elif is_dataset(where):
            changed = dirty_paths(Repo(where))
        else:
            changed = _of_folder(project, path) if path in shared else []
        if path in pipelines:
            changed = [p for p in changed if not is_input(where, p)]
        if not view:
            changed += in_subdatasets(where, project.cache)
        if changed:
            found[path] = changed
    return found


def as_json(found: Mapping[str, Sequence[str]]) -> list[dict[str, object]]:
    """Return the JSON object of `minipach plan --json`."""
    return [{"repo": path, "paths": list(changed)} for path, changed in found.items()]


def remarks(project: Project, found: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line for each repo, with the way to take the changes in."""
    drops = drop_folders(project.local) if found else ()
    rows = []
    for path, changed in found.items():
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        shown = f"{', '.join(changed[:NAMED])}{more}"
        fix = _way_in(project, _dataset_of(project, path), changed, drops)
        rows.append(f"{path}: uncommitted changes are left out ({shown}); {fix}")
    return rows


def _dataset_of(project: Project, path: str) -> Path:
    """Return the dataset at a path, or the one that holds the folder there."""
    where = project.root / path
    return where if is_dataset(where) else project.root / project.holder_of(path)


def _of_folder(project: Project, path: str) -> list[str]:
    """Return the changed and new paths of a plain folder, as seen from the dataset that holds it."""
    holder = project.holder_of(path)
    inside = path.removeprefix(holder + "/") if holder else path
    return dirty_paths(Repo(project.root / holder), inside)


def _of_input(project: Project, folder: PlainFolder) -> list[str]:
    """Return the changed and new paths of a plain folder that is an input, as seen from the dataset that holds it."""
    links = project.links_of(folder.holder)
    changed = dirty_paths(Repo(project.root / folder.holder), *([folder.path] if folder.path else []))
    return [
        name
        for name in changed
        if name.rstrip("/") not in links and folder.has(name.rstrip("/").removeprefix(folder.prefix))
    ]


def own_subdatasets(folder: Path) -> list[str]:
    """Return the installed subdatasets of a dataset, nested ones included, that are no inputs of a pipeline."""
    modules = folder / ".gitmodules"
    text = modules.read_text("utf-8", "replace") if modules.is_file() else ""
    here = {_unquoted(word) for word in re.findall(r"^\s*path\s*=\s*(.+?)\s*$", text, re.MULTILINE)}
    outside = ("/", INPUTS) if lying_specs(folder) else "/"
    found = []
    for path in sorted(here):
        if not path.startswith(outside) and ".." not in path.split("/") and is_dataset(folder / path):
            found += [path, *(f"{path}/{name}" for name in own_subdatasets(folder / path))]
    return found


def _unquoted(word: str) -> str:
    """Return a value of a git configuration file without its quotes."""
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if len(word) > 1 and word[0] == word[-1] == '"' else word


def in_subdatasets(folder: Path, cache: Cache | None = None) -> list[str]:
    """Return the uncommitted paths in these subdatasets; git lists only those whose commit has changed.

    cache: with it, git is not asked about a small subdataset whose files have the times that its index names.
    """
    paths = own_subdatasets(folder)
    if not paths:
        return []
    known: dict[str, list[str]] = (cache.get(_TREES, str(folder)) or {}) if cache else {}
    seen = {path: found for path in paths if cache and (found := matching_tree(folder / path))}
    left = [path for path in paths if path not in seen or known.get(path) != list(seen[path])]
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # a git process for each
        changed = list(pool.map(lambda path: _of_subdataset(folder / path), left))
    # where git finds no change, the tree of the index is that of the commit
    fresh = {path: list(seen[path]) for path, names in zip(left, changed, strict=True) if path in seen and not names}
    if cache and fresh:
        cache.put(_TREES, str(folder), {**{p: t for p, t in known.items() if p in seen}, **fresh})
    return [f"{path}/{name}" for path, names in zip(left, changed, strict=True) for name in names]


def _of_subdataset(folder: Path) -> list[str]:
    changed = dirty_paths(Repo(folder))
    return [name for name in changed if not is_input(folder, name)] if lying_specs(folder) else changed


def _way_in(project: Project, dataset: Path, changed: Sequence[str], drops: Sequence[str]) -> str:
    """Return the command that commits the changes. drops: folders whose new files a watcher saves."""
    where = quoted(dataset)
    if Repo(dataset).resolve("MERGE_HEAD") is not None:  # datalad would save what is in conflict as it lies
        return f"finish the merge: git -C {where} merge --continue (or --abort)"
    inside = os.path.relpath(dataset, project.root)
    kept = [name for name in changed if _is_below(os.path.normpath(os.path.join(inside, name)), drops)]
    rest = [name for name in changed if name not in kept]
    waits = "minipach watch saves new files of the drop folder when they are complete" if kept else ""
    if not rest:
        return waits
    below = any(name.startswith(f"{path}/") for path in own_subdatasets(dataset) for name in rest)
    save = f"datalad save {'-r ' if below else ''}-d {where}"
    if partial := unfinished_in(dataset, rest):
        return f"{partial} seems to be an unfinished upload: name the complete files, {save} FILE..."
    if kept:  # without names, datalad would save those, too
        names = " ".join(map(quoted, rest)) if len(rest) <= NAMED else "FILE..."
        return f"{waits}; for the others {save} {names}"
    return save


def _is_below(path: str, folders: Sequence[str]) -> bool:
    """Return whether a path is in one of these folders, or holds one of them."""
    return any(f"{path}/".startswith(f"{folder}/") or f"{folder}/".startswith(f"{path}/") for folder in folders)


def is_input(root: Path, path: str) -> bool:
    """Return whether a path of a pipeline is an input's folder with something installed in it."""
    return path.startswith(INPUTS) and is_dataset(root / path)
