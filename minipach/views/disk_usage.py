"""The space that a project takes on this machine, by kind: `minipach du`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minipach.environment import image_cache
from minipach.git.repo import Repo, is_dataset
from minipach.git.worktrees import slots_dir
from minipach.model.local_state import LocalState
from minipach.project.project import Project
from minipach.support.disk_cache import cache_home
from minipach.support.disk_use import Seen, bytes_on_disk

USER = ""  # the place of what is this user's, and of no project


@dataclass(frozen=True, slots=True)
class Use:
    """The space of one kind in one place.

    kind: `data`, `results`, `images`, `git`, `worktrees`, `logs`, `cache`, `state`, `image cache` or `user cache` ·
    place: a repo's path in the project (`.` is the superdataset), or "" · path: the folder · bytes: on disk.
    """

    kind: str
    place: str
    path: str
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach du --json`."""
        return {"kind": self.kind, "place": self.place, "path": self.path, "bytes": self.bytes}


def disk_usage(project: Project) -> list[Use]:
    """Return what takes space, the largest first. A file with several links counts once, where it is met first."""
    seen: Seen = set()
    pipelines = {place.path for place in project.places}
    found: list[Use] = []
    for path in (".", *project.repos):
        if is_dataset(project.root / path):
            found += _repo(project.root / path, path, seen, is_pipeline=path in pipelines)
    found += _project(project.local, seen)
    images = image_cache.folder()
    found.append(Use("image cache", USER, str(images), bytes_on_disk(images, seen)))
    caches = cache_home() / "minipach"
    found.append(Use("user cache", USER, str(caches), bytes_on_disk(caches, seen, but=frozenset({images}))))
    return sorted((use for use in found if use.bytes), key=lambda use: (-use.bytes, use.kind, use.place))


def _repo(root: Path, path: str, seen: Seen, *, is_pipeline: bool) -> Iterator[Use]:
    with closing(Repo(root)) as repo:
        git, slots = repo.common_dir, slots_dir(repo)
        keys = sorted(image_cache.image_keys(repo)) if is_pipeline or path == "." else []
        images = sum(bytes_on_disk(there, seen) for _, there in image_cache.objects(root, keys))
    annex = git / "annex"
    yield Use("images", path, str(annex), images)
    yield Use("results" if is_pipeline else "data", path, str(annex), bytes_on_disk(annex, seen))
    yield Use("worktrees", path, str(slots), bytes_on_disk(slots, seen))
    state = LocalState.of(git).folder
    if path != ".":
        yield Use("state", path, str(state), bytes_on_disk(state, seen, but=frozenset({slots})))
    yield Use("git", path, str(git), bytes_on_disk(git, seen, but=frozenset({annex, state, git / "modules"})))


def _project(local: LocalState, seen: Seen) -> Iterator[Use]:
    yield Use("logs", ".", str(local.logs), bytes_on_disk(local.logs, seen))
    yield Use("cache", ".", str(local.cache), bytes_on_disk(local.cache, seen))
    known = frozenset({local.logs, local.cache, local.slots})
    yield Use("state", ".", str(local.folder), bytes_on_disk(local.folder, seen, but=known))


def by_kind(uses: list[Use]) -> list[Use]:
    """Return the sum of each kind, the largest first."""
    total: dict[str, int] = {}
    for use in uses:
        total[use.kind] = total.get(use.kind, 0) + use.bytes
    return [Use(kind, "", "", total[kind]) for kind in sorted(total, key=lambda kind: (-total[kind], kind))]


def shown_place(project: Project, use: Use) -> str:
    """Return where the space is, for people: relative to the project, or below the home folder."""
    home = os.path.expanduser("~")
    for above, sign in ((str(project.root), ""), (home, "~/")):
        if (use.path + "/").startswith(above + "/"):
            return sign + os.path.relpath(use.path, above)
    return use.path
