"""The ids and places of a pipeline's datums, remembered: only those whose files changed are computed again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate
from typing import Any

from minipach.datums.snapshot import open_repo
from minipach.git.git_error import GitError
from minipach.model.datum import Datum, Task
from minipach.model.pipeline import Input, PfsInput
from minipach.model.snapshot import Snapshot
from minipach.project.project import Project

Snapshots = Mapping[tuple[str, str | None], Snapshot]
_Kept = tuple[str, str, tuple[str, ...], str]  # of a task: id, place, words, why its names are visible


def make_tasks(
    project: Project,
    path: str,
    datums: Sequence[Datum],
    compute: Callable[[Datum], Task],
    *,
    key: str,
    input: Input,
    snapshots: Snapshots,
) -> list[Task]:
    """Return the tasks of these datums, in order.

    A task follows from four things alone. `key` stands for the first: recipe, template and input, as one text. The
    datum itself is in its mark. Its files are those of the commits kept, less what git says has changed. Then the
    code, which the cache looks after.
    """
    marks = _marks(input, datums)
    kept, touched = _kept(project, path, key, snapshots)
    tasks: list[Task] = []
    computed = 0
    for datum, mark in zip(datums, marks, strict=True):
        found = kept.get(mark)
        if found is not None:
            for match in datum.matches:
                if match.path in touched[match.repo, match.branch]:
                    found = None
                    break
        if found is None:
            computed += 1
            tasks.append(compute(datum))
        else:
            tasks.append(Task(datum, *found))
    if computed > len(tasks) // 50 and _whole(snapshots):
        commits = [(*pair, snapshot.commit) for pair, snapshot in snapshots.items()]
        columns = (
            marks,
            [task.id for task in tasks],
            [task.dest for task in tasks],
            [task.words for task in tasks],
            [task.visible for task in tasks],
        )
        project.cache.put("tasks", path, (key, commits, *columns))
    return tasks


def _marks(input: Input, datums: Sequence[Datum]) -> list[Any]:
    """Return for each datum what distinguishes it from all others of this input: of a single pfs input its path."""
    if isinstance(input, PfsInput):
        return [datum.matches[0].path for datum in datums]
    return [
        (d.name, d.key, *((m.input, m.repo, m.branch, m.path, m.empty_files, m.captures) for m in d.matches))
        for d in datums
    ]


def _kept(
    project: Project, path: str, key: str, snapshots: Snapshots
) -> tuple[dict[Any, _Kept], dict[tuple[str, str | None], AbstractSet[str]]]:
    """Return what tasks have besides their datums, by mark, and for each repo the paths that changed since."""
    kept = project.cache.get("tasks", path)
    if kept is None or kept[0] != key:
        return {}, {}
    _, commits, marks, *columns = kept
    touched: dict[tuple[str, str | None], AbstractSet[str]] = {}
    for repo, branch, commit in commits:
        snapshot = snapshots.get((repo, branch))
        found = _touched(project, repo, commit, snapshot) if snapshot else None
        if found is None:
            return {}, {}
        touched[repo, branch] = found
    if touched.keys() != snapshots.keys():
        return {}, {}
    return dict(zip(marks, zip(*columns, strict=True), strict=True)), touched


def _whole(snapshots: Snapshots) -> bool:
    """Return whether the commits alone say which files there are.

    What a subdataset adds depends on its being installed.
    """
    return not any(snapshot.nested or snapshot.missing for snapshot in snapshots.values())


def _touched(project: Project, path: str, old: str, snapshot: Snapshot) -> AbstractSet[str] | None:
    """Return the paths that changed since another commit and all folders above them.

    None if that isn't known or is much.
    """
    if old == snapshot.commit:
        return frozenset()
    try:
        folder = project.folder(path)
        trees = [f"{commit}:{folder.path}" if folder else commit for commit in (old, snapshot.commit)]
        repo = open_repo(project.root, folder.holder if folder else path)
        out = repo.git("diff-tree", "-r", "-z", "--name-only", "--no-renames", *trees)
    except GitError:
        return None  # the old commit was pruned
    names = [os.fsdecode(name) for name in out.split(b"\0") if name]
    if len(names) > len(snapshot.files) // 10:
        return None
    found = {"/"}  # which also has all that a new spec.yml hides, whole folders below the root
    for name in names:
        found.update(accumulate(name.split("/"), lambda folder, part: f"{folder}/{part}", initial=""))
    return found
