"""The reading of a project for pages: what is read once is kept while the project stays the same.

What takes long to read is read in a thread of its own. Meanwhile pages can show what was last known, which is also
kept on disk, so that the first page of a new console is there at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from minipach.console.packing import pack_summary, pack_table, unpack_summary, unpack_table
from minipach.git.refs_on_disk import folders_of
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.expected_cost import expected_cost
from minipach.planning.status import PipelineStatus, project_status
from minipach.project.project import Project, find_project
from minipach.project.settings import slots
from minipach.project.targets import Targets
from minipach.records.service_state import supervisor
from minipach.support.errors import UserError
from minipach.views.dag import Dag, read_dag
from minipach.views.datum_table import DatumTable, read_tables
from minipach.views.top import Activity, Top

T = TypeVar("T")
SOON = 0.4  # seconds that a page waits for what is being read
_TABLES = 2  # tables of pipelines that are kept; one of 100,000 datums takes some 60 MB


@dataclass(frozen=True, slots=True)
class ProjectSummary:
    """The graph with the states, and the status of each pipeline."""

    dag: Dag
    status: tuple[PipelineStatus, ...]


@dataclass(frozen=True, slots=True)
class KnownValue(Generic[T]):
    """A value that is known. is_of_now: whether it is of the project as it is now; else newer is being read."""

    value: T
    is_of_now: bool


@dataclass(slots=True)
class _Kept:
    """A value of one state of the project, or the error that reading it came to."""

    state: str
    value: Any = None
    error: UserError | None = None


class Reading:
    """A project that is looked at again and again. Nothing in it is a fact: it can be dropped at any time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._kept: dict[str, _Kept] = {}
        self._reads: dict[str, _Read] = {}
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._top: Top | None = None
        self._made: dict[str, tuple[object, Any]] = {}
        self._making = threading.Lock()
        self._assessing = threading.Lock()
        self._assessed: tuple[tuple[str, str], Assessment] | None = None

    @property
    def name(self) -> str:
        """The name of the project: that of its folder."""
        return self._root.name

    def project(self) -> Project:
        """Return the project as it is now. Raises UserError."""
        return find_project(self._root)

    def state(self, *, of_git: bool = False) -> str:
        """Return what differs whenever something that pages show has changed on disk.

        of_git: leave out what changes while jobs run and nothing is published.
        """
        project = self.project()
        local = project.local
        files = [project.root / ".datalad" / "config"]
        if not of_git:
            files += [local.database, local.database.with_name(local.database.name + "-wal"), local.pending_work]
            files += [local.lock, local.looked, local.heard, local.local_status]
        folders = [project.root, *(project.root / path for path in sorted({*project.repos, *project.order}))]
        for folder in folders:
            git = folders_of(folder)
            if git is None:
                continue
            files += [git.own / "HEAD", git.common / "packed-refs", git.common / "config", git.reftable]
            files += _below(git.heads)
        specs = [project.root / project.spec_path(place.path) for place in project.places]
        supervised: int | None = None
        if project.services and not of_git:
            files += [file for file in _below(local.services) if file.suffix in (".json", ".stopped")]
            supervised = supervisor(local)
        stamps = tuple((str(file), _stamp(file)) for file in (*files, *specs))
        return hashlib.sha256(repr((supervised, stamps)).encode("utf-8", "surrogateescape")).hexdigest()

    def summary(self) -> ProjectSummary:
        """Return the graph and the states as they are now. Raises UserError."""
        return self._summary(None).value

    def soon_summary(self) -> KnownValue[ProjectSummary]:
        """Return the graph and the states; as they were last known, or without states, if it takes longer to read."""
        try:
            return self._summary(SOON)
        except _NotYetError:
            return KnownValue(ProjectSummary(read_dag(self.project(), ()), ()), False)

    def dag(self) -> Dag:
        """Return the graph with the states. Raises UserError."""
        return self.summary().dag

    def table(self, path: str) -> DatumTable:
        """Return the datums of one pipeline as they are now. Raises UserError."""
        return self._table(path, None).value

    def soon_table(self, path: str) -> KnownValue[DatumTable]:
        """Return the datums of one pipeline; as they were last known, or none, if it takes longer to read them."""
        try:
            return self._table(path, SOON)
        except _NotYetError:
            return KnownValue(DatumTable(self.project().name_of(path), ()), False)

    def _summary(self, patience: float | None) -> KnownValue[ProjectSummary]:
        def read() -> ProjectSummary:
            project = self.project()
            status = tuple(project_status(project))
            return ProjectSummary(read_dag(project, status), status)

        return self._ask("summary", patience, read, pack_summary, lambda kept: ProjectSummary(*unpack_summary(kept)))

    def _table(self, path: str, patience: float | None) -> KnownValue[DatumTable]:
        def read() -> DatumTable:
            project = self.project()
            tables, plans = read_tables(project, Targets((path,), {}, frozenset({path})))
            cost = expected_cost(project, plans.plans, slots(project.repo, None))
            return tables[path].with_cost(cost.text() if cost else "")

        return self._ask(f"table {path}", patience, read, pack_table, unpack_table)

    @contextlib.contextmanager
    def assessed(self, path: str) -> Iterator[Assessment]:
        """Yield one pipeline as it stands now, to one caller at a time. What it has read is kept for the next."""
        key = path, self.state(of_git=True)
        with self._assessing:
            kept = self._assessed
            if kept is None or kept[0] != key:
                self._assessed = None
                if kept is not None:
                    kept[1].close()
                project = self.project()
                kept = key, Assessment(project, path, SnapshotStore(project))
            try:
                yield kept[1]
            except UserError:
                kept[1].close()
                raise
            self._assessed = kept

    def made(self, name: str, of: object, make: Callable[[], T]) -> T:
        """Return what was made of something under a name; make it again only if that is another one by now.

        The last one alone is kept. Who asks while it is made waits for it, so that 20 tabs cost as much as one.
        """
        with self._making:
            kept = self._made.get(name)
            if kept is None or kept[0] != of:
                self._made.pop(name, None)  # it need not be in memory beside the new one
                kept = self._made[name] = of, make()
            found: T = kept[1]
            return found

    def look(self) -> Activity:
        """Return what runs now. Raises UserError."""
        with self._looking:
            if self._top is None:
                self._top = Top(self.project())
            try:
                return self._top.look()
            except (UserError, OSError):
                self._top = None
                raise

    def _ask(
        self,
        name: str,
        patience: float | None,
        read: Callable[[], T],
        pack: Callable[[T], Any],
        unpack: Callable[[Any], T],
    ) -> KnownValue[T]:
        """Return a value of now, or after so many seconds the last known one (patience None: never).

        Raises:
            UserError: It can't be read.
            _NotYetError: The patience is over, and nothing is known of earlier.
        """
        state = self.state()
        with self._lock:
            kept = self._kept.get(name) or self._from_disk(name, unpack)
            if kept is not None:
                self._keep(name, kept)
                if kept.state == state:
                    return KnownValue(_value(kept), True)
            running = self._reads.get(name)
            if running is None or (patience is None and running.state != state):
                before = running
                running = self._reads[name] = _Read(state)
                threading.Thread(
                    target=self._run, args=(name, running, before, read, pack), name=f"read {name}", daemon=True
                ).start()
        running.done.wait(patience)
        if running.failed is not None:
            raise running.failed
        with self._lock:
            kept = self._kept.get(name)
        if kept is None or (kept.error is not None and kept.state != state and patience is not None):
            raise _NotYetError
        return KnownValue(_value(kept), kept.state == state or patience is None)

    def _run(
        self, name: str, reading: _Read, before: _Read | None, read: Callable[[], T], pack: Callable[[T], Any]
    ) -> None:
        """Read a value, after another thread that reads an older state of it, and keep it."""
        if before is not None:
            before.done.wait()
        kept = _Kept(reading.state)
        try:
            kept.value = read()
        except UserError as error:
            kept.error = error
        except Exception as error:  # whoever waits for it says so
            reading.failed = error
        finally:
            with self._lock:
                if reading.failed is None:
                    self._keep(name, kept)
                if self._reads.get(name) is reading:
                    del self._reads[name]
            reading.done.set()
        if kept.value is not None:
            self.project().cache.put("console", f"{self._root}\0{name}", (kept.state, pack(kept.value)))

    def _from_disk(self, name: str, unpack: Callable[[Any], T]) -> _Kept | None:
        found = self.project().cache.get("console", f"{self._root}\0{name}")
        return _Kept(str(found[0]), unpack(found[1])) if found is not None else None

    def _keep(self, name: str, kept: _Kept) -> None:
        """Keep a value as the one that was asked for last, and drop the tables that were not for long."""
        self._kept.pop(name, None)
        self._kept[name] = kept
        tables = [name for name in self._kept if name.startswith("table ")]
        for old in tables[:-_TABLES]:
            del self._kept[old]


class _NotYetError(Exception):
    """Nothing is known yet, and it takes longer to read."""


class _Read:
    """A value that is being read. failed: an error that is not the user's."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.done = threading.Event()
        self.failed: Exception | None = None


def _value(kept: _Kept) -> Any:
    if kept.error is not None:
        raise kept.error
    return kept.value


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
