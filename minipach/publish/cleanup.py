"""Files on this machine that nobody needs any more, and their removal: `minipach gc`.

Nothing of this is data: results that nothing needs, contents that another repository has too, caches, old logs, and
what a crash has left. Each part is looked for again under the project's lock, right before it is removed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from minipach.environment import image_cache
from minipach.git.annex_keys import size_of
from minipach.git.repo import Repo, annex, is_dataset
from minipach.git.worktrees import clean_up, left_behind
from minipach.project.project import Project
from minipach.project.settings import image_cache_size
from minipach.publish.garbage import Stored, collect
from minipach.records import pending_work
from minipach.support.disk_use import bytes_on_disk
from minipach.support.errors import Problem, UserError
from minipach.support.files import remove_tree
from minipach.support.text import many

Kind = Literal["results", "images", "copies", "logs", "worktrees"]
_DAY = 86400
_JOB = re.compile(r"[0-9]{1,18}")
_UNUSED = re.compile(rb"^\s+[0-9]+\s+(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Waste:
    """A part that can be removed.

    place: a pipeline's path, or a folder · what: it is, for people · bytes: on disk, at most.
    """

    kind: Kind
    place: str
    what: str
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach gc --json`."""
        return {"kind": self.kind, "place": self.place, "what": self.what, "bytes": self.bytes}


class Cleanup:
    """The parts of a project, and of this user's caches, that can be removed.

    problems: the pipelines whose datums are not known, so that their results stay.
    """

    def __init__(self, project: Project, *, keep_days: float, now: float) -> None:
        """keep_days: what was made or used in so many days stays · now: seconds since 1970."""
        self.project = project
        self.keep_days = keep_days
        self.now = now
        self.problems: list[Problem] = []
        self._paths = [path for path in project.order if is_dataset(project.root / path)]

    def found(self) -> list[Waste]:
        """Return all parts, and change nothing."""
        return [*self._results(drop=False), *self._images(), *self._copies(), *self._logs(), *self._worktrees()]

    def free(self) -> Iterator[Waste]:
        """Remove all parts, one after the other; yield each when it is gone. The caller holds the project's lock."""
        yield from self._results(drop=True)
        yield from self._images(drop=True)
        yield from self._copies(drop=True)
        yield from self._logs(drop=True)
        yield from self._worktrees(drop=True)

    def _results(self, *, drop: bool = False) -> Iterator[Waste]:
        for path in self._paths:
            try:
                one = collect(self.project, path, keep_days=self.keep_days, now=self.now, drop=drop)
            except UserError as error:
                self.problems += error.problems
                continue
            if not one.unneeded:
                continue
            what, size = many(len(one.unneeded), "result"), one.annexed
            if drop:
                size = self._drop_contents(path, one.kept, one.unneeded)
            yield Waste("results", path, what, size)

    def _drop_contents(self, path: str, kept: tuple[Stored, ...], gone: tuple[Stored, ...]) -> int:
        """Drop contents of results that are gone, if another repository has them, too. Return how many bytes."""
        keys = frozenset[str]().union(*(s.keys for s in gone)) - frozenset[str]().union(*(s.keys for s in kept))
        if not keys:
            return 0
        with closing(Repo(self.project.root / path)) as repo:
            unused = {os.fsdecode(key) for key in _UNUSED.findall(annex(repo, "unused"))}
            wanted = "".join(f"{key}\n" for key in sorted(keys & unused))
            if not wanted:
                return 0
            # git-annex makes sure that there is another copy, and keeps a content where it can't
            said = annex(repo, "drop", "--json", "--batch-keys", stdin=wanted.encode(), ok=(0, 1))
            rows = [json.loads(line) for line in said.splitlines() if line.startswith(b"{")]
            return sum(size_of(row.get("key") or "") or 0 for row in rows if row.get("success"))

    def _images(self, *, drop: bool = False) -> Iterator[Waste]:
        """Yield images that no pipeline here names and nobody used lately, and the oldest beyond the cache's size."""
        most, total = image_cache_size(self.project.repo), 0
        needed: set[str] = set()
        for path in self._paths:
            with closing(Repo(self.project.root / path)) as repo:
                needed |= image_cache.image_keys(repo)
        for one in image_cache.unpacked():
            total += one.bytes
            if self.now - one.used < image_cache.JUST_USED:
                continue
            is_old = one.key not in needed and self.now - one.used >= self.keep_days * _DAY
            if not is_old and (most is None or total <= most):
                continue
            if image_cache.remove(one) if drop else not image_cache.is_mounted(one.path):
                total -= one.bytes
                yield Waste("images", str(one.path), f"unpacked image {one.key[:60]}", one.bytes)

    def _copies(self, *, drop: bool = False) -> Iterator[Waste]:
        repos = [Repo(self.project.root / path) for path in ("", *self._paths)]
        try:
            for one in image_cache.copies(repos):
                if not drop or image_cache.share(one):
                    place = os.path.relpath(one.repo, self.project.root)
                    yield Waste("copies", place, f"second copy of image {one.path.name[:60]}", one.bytes)
        finally:
            for repo in repos:
                repo.close()

    def _logs(self, *, drop: bool = False) -> Iterator[Waste]:
        """Yield the logs of old jobs, but not those of a pipeline's last job; none while work is pending."""
        if pending_work.exists(self.project):
            return
        for pipeline in _folders(self.project.local.logs):
            jobs = sorted((p for p in _folders(pipeline) if _JOB.fullmatch(p.name)), key=lambda p: int(p.name))
            old = [job for job in jobs[:-1] if self.now - _last_change(job) >= self.keep_days * _DAY]
            if not old:
                continue
            size = sum(bytes_on_disk(job) for job in old)
            if drop:
                for job in old:
                    remove_tree(job)
            yield Waste("logs", pipeline.name, f"logs of {many(len(old), 'job')}", size)

    def _worktrees(self, *, drop: bool = False) -> Iterator[Waste]:
        for path in self._paths:
            with closing(Repo(self.project.root / path)) as repo:
                left = left_behind(repo)
                if not left:
                    continue
                size = sum(bytes_on_disk(one) for one in left)
                if drop:
                    clean_up(repo)
                yield Waste("worktrees", path, f"{many(len(left), 'worktree')} of processes that are gone", size)


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.is_symlink()) if path.is_dir() else []


def _last_change(folder: Path) -> float:
    return max(p.lstat().st_mtime for p in (folder, *folder.iterdir()))
