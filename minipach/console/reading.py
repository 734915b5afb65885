"""The reading of a project for pages: what is read once is kept while the project stays the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from minipach.git.refs_on_disk import folders_of
from minipach.planning.project_plan import Plans
from minipach.project.project import Project, find_project
from minipach.project.targets import Targets
from minipach.support.errors import UserError
from minipach.views.dag import Dag, read_dag
from minipach.views.datum_table import DatumTable, read_tables
from minipach.views.top import Look, Top

T = TypeVar("T")
_KEPT = 12  # values that are kept; a table of 100,000 datums takes some 60 MB
_TABLES = 2  # tables of pipelines among them


@dataclass(frozen=True, slots=True)
class _Kept:
    state: Hashable
    value: object


class Reading:
    """A project that is looked at again and again. Nothing in it is a fact: it can be dropped at any time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.RLock()
        self._top: Top | None = None

    @property
    def name(self) -> str:
        """The name of the project: that of its folder."""
        return self._root.name

    def project(self) -> Project:
        """Return the project as it is now. Raises UserError."""
        return find_project(self._root)

    def state(self) -> Hashable:
        """Return what differs whenever something that pages show has changed on disk."""
        project = self.project()
        local = project.local
        files = [local.database, local.database.with_name(local.database.name + "-wal"), local.pending_work]
        files += [local.lock, local.looked, local.heard, local.local_status, project.root / ".datalad" / "config"]
        folders = [project.root, *(project.root / path for path in sorted({*project.repos, *project.order}))]
        for folder in folders:
            git = folders_of(folder)
            if git is None:
                continue
            files += [git.own / "HEAD", git.common / "packed-refs", git.common / "config", git.reftable]
            files += _below(git.heads)
        specs = [project.root / project.spec_path(place.path) for place in project.places]
        return tuple((str(file), _stamp(file)) for file in (*files, *specs))

    def dag(self) -> Dag:
        """Return the graph with the states. Raises UserError."""
        return self._once("dag", lambda: read_dag(self.project()))

    def table(self, path: str) -> tuple[DatumTable, Plans]:
        """Return the datums of one pipeline, and the plan that they follow from. Raises UserError."""

        def read() -> tuple[DatumTable, Plans]:
            project = self.project()
            tables, plans = read_tables(project, Targets((path,), {}, frozenset({path})))
            return tables[path], plans

        return self._once(f"table {path}", read)

    def look(self) -> Look:
        """Return what runs now. Raises UserError."""
        with self._lock:
            if self._top is None:
                self._top = Top(self.project())
            try:
                return self._top.look()
            except (UserError, OSError):
                self._top = None
                raise

    def _once(self, name: str, read: Callable[[], T]) -> T:
        with self._lock:
            state = self.state()
            kept = self._kept.pop(name, None)
            if kept is None or kept.state != state:
                kept = _Kept(state, read())
            self._kept[name] = kept
            self._forget()
            return cast(T, kept.value)

    def _forget(self) -> None:
        """Drop the values that were not asked for recently."""
        tables = [name for name in self._kept if name.startswith("table ")]
        for name in [*tables[:-_TABLES], *list(self._kept)[:-_KEPT]]:
            self._kept.pop(name, None)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _below(folder: Path) -> list[Path]:
    """Return the files below a folder of refs."""
    found: list[Path] = []
    for where, _, names in os.walk(folder):
        found += [Path(where, name) for name in names]
    return sorted(found)


Data = dict[str, Any]
