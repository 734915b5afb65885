"""Uncommitted changes in the repos of a project: only commits count, so people are warned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from minipach.git.checkout import dirty_paths
from minipach.git.repo import Repo, is_dataset
from minipach.model.repo_layout import INPUTS
from minipach.project.project import Project
from minipach.support.text import quoted

_NAMED = 3


def used_by(project: Project, pipelines: Iterable[str]) -> tuple[str, ...]:
    """Return the repos of these pipelines and of what they take their input from."""
    return tuple(dict.fromkeys(repo for path in pipelines for repo in (path, *(n.repo for n in project.needs(path)))))


def uncommitted(project: Project, repos: Iterable[str]) -> dict[str, list[str]]:
    """Return the changed and new paths of each repo that has some. A folder that is no dataset yet counts as it lies.

    An input that is installed at another commit than the pipeline's link says is no change to take in.
    """
    pipelines = {place.path for place in project.places}
    found = {}
    for path in dict.fromkeys(repos):
        where = project.root / path
        changed = dirty_paths(Repo(where)) if is_dataset(where) else []
        if path in pipelines:
            changed = [p for p in changed if not is_input(where, p)]
        if changed:
            found[path] = changed
    return found


def as_json(found: Mapping[str, Sequence[str]]) -> list[dict[str, object]]:
    """Return the JSON object of `minipach plan --json`."""
    return [{"repo": path, "paths": list(changed)} for path, changed in found.items()]


def remarks(project: Project, found: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line for each repo, with the way to take the changes in."""
    return [
        f"{path}: uncommitted changes are left out ({', '.join(changed[:_NAMED])}"
        + (f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else "")
        + f"); {_way_in(Repo(project.root / path))}"
        for path, changed in found.items()
    ]


def _way_in(repo: Repo) -> str:
    if repo.resolve("MERGE_HEAD") is None:
        return f"datalad save -d {quoted(repo.path)}"
    # datalad would save what is in conflict as it lies
    return f"finish the merge: git -C {quoted(repo.path)} merge --continue (or --abort)"


def is_input(root: Path, path: str) -> bool:
    """Return whether a path of a pipeline is an input's folder with something installed in it."""
    return path.startswith(INPUTS) and is_dataset(root / path)
