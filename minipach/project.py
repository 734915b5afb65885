"""A project: the superdataset, its repos and pipelines, the order in which they depend on each other."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath

from minipach.cache import Cache
from minipach.errors import UserError
from minipach.git import Repo, annex, is_dataset
from minipach.keys import MAX_POINTER, key_of_link, key_of_pointer
from minipach.snapshot import RESERVED
from minipach.spec import Pipeline
from minipach.speccache import read_spec

MARK = "minipach.project"  # the key in .datalad/config by which a project is known
SPEC = "spec.yml"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pipeline lives: its path in the project, and whether it is a dataset already."""

    path: str
    is_dataset: bool


class Project:
    """A superdataset and what it holds. Reading it changes nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repo = Repo(root)

    @property
    def state_dir(self) -> Path:
        """Local and disposable state: ledger, logs, slots, caches (`.git/minipach`)."""
        return self.repo.common_dir / "minipach"

    @cached_property
    def cache(self) -> Cache:
        """Snapshots and plans of earlier."""
        return Cache(self.state_dir / "cache")

    @cached_property
    def repos(self) -> tuple[str, ...]:
        """The paths of all registered repos, nested ones included (installed or not), sorted."""
        return tuple(sorted(_registered(self.root, "")))

    @cached_property
    def not_installed(self) -> tuple[str, ...]:
        """The superdataset's own subdatasets that aren't installed: what pipelines they may hold can't be known."""
        known = {PurePosixPath(p) for p in self.repos}  # with those inside of data repos, which may well stay away
        away = [p for p in self.repos if not is_dataset(self.root / p) and known.isdisjoint(PurePosixPath(p).parents)]
        # .gitmodules may still name what somebody has removed
        listed = self.repo.git("ls-files", "-z", "--stage", "--", *(f":(literal){p}" for p in away)) if away else b""
        links = {os.fsdecode(row.partition(b"\t")[2]) for row in listed.split(b"\0") if row.startswith(b"160000 ")}
        return tuple(p for p in away if p in links)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every folder with a `spec.yml`: pipeline repos, and plain folders that are to become one."""
        found = {}
        for path in self.repos:
            repo = Repo(self.root / path)
            if is_dataset(repo.path) and (repo.resolve(f"HEAD:{SPEC}") is not None or (repo.path / SPEC).is_file()):
                found[path] = Place(path, True)
        for path in self._plain_folders():
            found.setdefault(path, Place(path, is_dataset(self.root / path)))
        return tuple(found[path] for path in sorted(found))

    def _plain_folders(self) -> Iterator[str]:
        listed = self.repo.git("ls-files", "-z", "--cached", "--others", "--", f":(glob)**/{SPEC}")
        # git lists an untracked repository as `folder/`, and never looks inside
        others = self.repo.git("ls-files", "-z", "--others", "--directory", "--no-empty-directory")
        names = {os.fsdecode(n) for n in listed.split(b"\0") if n}
        names |= {os.fsdecode(n) + SPEC for n in others.split(b"\0") if n.endswith(b"/")}
        for name in names:
            folder = name.rpartition("/")[0]
            parts = folder.split("/")
            if folder and not RESERVED & set(parts) and (self.root / name).is_file():
                yield folder

    @cached_property
    def pipelines(self) -> dict[str, Pipeline]:
        """All pipelines by their path, specs parsed; UserError with the problems of all of them."""
        problems: list[str] = []
        found: dict[str, Pipeline] = {}
        for place in self.places:
            try:
                found[place.path] = self.read_spec(place)
            except UserError as error:
                problems += error.problems
        names: dict[str, str] = {}
        for path, pipeline in found.items():
            if pipeline.name in names:
                problems.append(
                    f"{path}/{SPEC}: a second pipeline named {pipeline.name!r}; "
                    f"{names[pipeline.name]} has that name, rename one of the folders"
                )
            names[pipeline.name] = path
        if problems:
            raise UserError(problems)
        return found

    def read_spec(self, place: Place) -> Pipeline:
        """The committed spec of a pipeline's repo (the file itself where nothing is committed yet)."""
        path = self.root / place.path / SPEC
        source = f"{place.path}/{SPEC}"
        text: bytes | None = None
        if place.is_dataset:
            repo = Repo(self.root / place.path)
            try:
                text = _content(repo, source, repo.objects.read(f"HEAD:{SPEC}"))
            finally:
                repo.close()
        if text is None:
            text = path.read_bytes()
        try:
            decoded = text.decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{source}: not UTF-8 text ({error.reason} at byte {error.start})") from None
        return read_spec(decoded, source=source, folder=place.path.rpartition("/")[2], cache=self.cache)

    def path_of(self, name: str) -> str:
        """The path of the pipeline with this name (or path)."""
        if name.rstrip("/") in self.pipelines:
            return name.rstrip("/")
        for path, pipeline in self.pipelines.items():
            if pipeline.name == name:
                return path
        known = sorted(p.name for p in self.pipelines.values())
        raise UserError(f"{name}: no such pipeline in this project" + suggest(name, known))

    def name_of(self, path: str) -> str:
        """The name of the pipeline at this path."""
        return self.pipelines[path].name

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Pipeline paths, each after those that it takes input from; UserError on a cycle or a missing repo."""
        problems: list[str] = []
        graph: dict[str, list[str]] = {}
        known = set(self.repos) | set(self.pipelines)
        for path, pipeline in self.pipelines.items():
            graph[path] = []
            for pfs in pipeline.pfs_inputs():
                if pfs.repo not in known:
                    problems.append(
                        f'{pipeline.source}: no repo "{pfs.repo}" in this project' + suggest(pfs.repo, known)
                    )
                elif pfs.repo in self.pipelines:
                    graph[path].append(pfs.repo)
        if problems:
            raise UserError(problems)
        sorter = TopologicalSorter({p: sorted(set(up)) for p, up in sorted(graph.items())})
        try:
            return tuple(sorter.static_order())
        except CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
            raise UserError(
                f"{self.root}: these pipelines wait for each other: {circle}; take one of these inputs out"
            ) from None

    def upstream(self, path: str) -> tuple[str, ...]:
        """The pipelines whose output this one takes directly, sorted."""
        repos = {pfs.repo for pfs in self.pipelines[path].pfs_inputs()}
        return tuple(sorted(repos & set(self.pipelines)))

    def downstream(self, paths: Iterable[str]) -> tuple[str, ...]:
        """The given pipelines and all that depend on them, in order."""
        chosen = set(paths)
        for path in self.order:
            if chosen & set(self.upstream(path)):
                chosen.add(path)
        return tuple(p for p in self.order if p in chosen)

    def upstream_of(self, paths: Iterable[str]) -> tuple[str, ...]:
        """The given pipelines and all that they depend on, in order."""
        chosen = set(paths)
        for path in reversed(self.order):
            if path in chosen:
                chosen |= set(self.upstream(path))
        return tuple(p for p in self.order if p in chosen)

    def select(self, names: Sequence[str]) -> tuple[str, ...]:
        """The pipelines named (all, if none is) with everything downstream of them, in order."""
        return self.downstream([self.path_of(n) for n in names]) if names else self.order


def _content(repo: Repo, source: str, blob: bytes | None) -> bytes | None:
    """The text behind a blob: its annexed content, if that is what it names (a plain `datalad create` annexes all)."""
    if blob is None or len(blob) > MAX_POINTER or b"\n" in blob.strip():
        return blob
    key = key_of_link(blob) or key_of_pointer(blob)
    if key is None or " " in key:
        return blob
    location = annex(repo, "contentlocation", key, ok=(0, 1)).rstrip(b"\n")
    if not location:
        raise UserError(f"{source}: its content is annexed and not here; datalad get {repo.path / SPEC}")
    return (repo.path / os.fsdecode(location)).read_bytes()


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` for the nearest known word, or the list of what there is."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; there are: {', '.join(names[:8])}" if names else "; there are none yet"


def find_project(start: Path) -> Project:
    """The project that holds the folder `start`: the nearest marked one, else the topmost dataset above."""
    here = Path(os.path.realpath(start))
    if not here.is_dir():
        raise UserError(f"{start}: no such folder")
    topmost: Path | None = None
    for folder in (here, *here.parents):
        if is_dataset(folder) and (folder / ".datalad" / "config").is_file():
            topmost = folder
            if Repo(folder).config(f"{MARK}.version", str(folder / ".datalad" / "config")):
                return Project(folder)
    if topmost is None:
        raise UserError(f"{start}: not inside a project; minipach init makes one here")
    return Project(topmost)


def _registered(root: Path, prefix: str) -> Iterator[str]:
    modules = root / ".gitmodules"
    if not modules.is_file():
        return
    out = Repo(root).git("config", "--file", str(modules), "-z", "--get-regexp", r"\.path$", ok=(0, 1))
    for row in out.split(b"\0"):
        _, _, value = os.fsdecode(row).partition("\n")
        path = value.strip("/")
        # inputs/ of a pipeline are links to repos that are listed at their own place
        if not path or ".." in path.split("/") or (prefix and path.split("/")[0] in RESERVED):
            continue
        yield prefix + path
        if is_dataset(root / path):
            yield from _registered(root / path, prefix + path + "/")
