"""A project: the superdataset, its repos and pipelines, the order in which they depend on each other."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from minipach import graph
from minipach.cache import Cache
from minipach.errors import UserError, each_once
from minipach.git import Repo, is_dataset
from minipach.snapshot import RESERVED
from minipach.spec import BrokenSpec, Need, Pipeline
from minipach.speccache import read_spec
from minipach.specfile import SPEC, read_text

_NAMED = 8  # at most so many names in a line
MARK = "minipach.project"  # the key in .datalad/config by which a project is known


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pipeline lives: its path in the project, and whether it is a dataset already."""

    path: str
    is_dataset: bool


class Project:
    """A superdataset and what it holds. Reading it changes nothing."""

    def __init__(self, root: Path, given: Mapping[str, Pipeline] | None = None) -> None:
        """given: pipelines to take for those at these paths, whatever lies there."""
        self.root = root
        self.given = given or {}
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
        for path in self.given:
            found.setdefault(path, Place(path, False))
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
    def _specs(self) -> _Specs:
        return _read_specs(self)

    @property
    def pipelines(self) -> dict[str, Pipeline]:
        """All pipelines whose spec can be read, by their path; of the others `problems` tells why."""
        return self._specs.pipelines

    def pipeline(self, path: str) -> Pipeline:
        """The pipeline at this path; UserError with what is wrong with its spec."""
        if path not in self.pipelines:
            raise UserError(self.problems[path])
        return self.pipelines[path]

    @cached_property
    def problems(self) -> dict[str, tuple[str, ...]]:
        """What is wrong with pipelines, by path: the spec, a name that two have, a missing repo, a circle of inputs.

        Nothing is said here of those that are sound themselves and take from one of these: see `trouble`.
        """
        found = {path: list(problems) for path, problems in self._specs.problems.items()}
        for path, problem in (*self._names_taken(), *self._missing_repos(), *self._circles()):
            found.setdefault(path, []).append(problem)
        return {path: each_once(problems) for path, problems in found.items()}

    def _names_taken(self) -> Iterator[tuple[str, str]]:
        names: dict[str, str] = {}
        for path in (place.path for place in self.places):
            first = names.setdefault(self.name_of(path), path)
            if first != path:
                problem = (
                    f"{path}/{SPEC}: a second pipeline named {self.name_of(path)!r}; "
                    f"{first} has that name, rename one of the folders"
                )
                yield from ((first, problem), (path, problem))

    def _missing_repos(self) -> Iterator[tuple[str, str]]:
        known = {*self.repos, *self._graph}
        for path, needs in self._specs.needs.items():
            for need in needs:
                if need.repo not in known:
                    yield path, f"{need.repo_at}: {self.absent(need.repo)}"

    def needs(self, path: str) -> tuple[Need, ...]:
        """What the inputs of a pipeline take from; nothing where its spec can't be read so far."""
        return self._specs.needs.get(path, ())

    def absent(self, repo: str) -> str:
        """Why nothing can be taken from a repo that isn't here, and the way out."""
        if repo in self._graph:
            return f"{repo} is a pipeline without any output yet; minipach schedule {self.name_of(repo)}"
        if repo in self.repos:
            return f"{repo}: not installed in this project; datalad get -n {self.root / repo}"
        if is_dataset(self.root / repo):
            return f'"{repo}" is a dataset, but not registered in this project; datalad save -d {self.root} {repo}'
        return f'no repo "{repo}" in this project' + suggest(repo, {*self.repos, *self._graph})

    def _circles(self) -> Iterator[tuple[str, str]]:
        for circle in graph.circles(self._graph):
            (at, *_) = (n.repo_at for n in self.needs(circle[0]) if n.repo == [*circle, circle[0]][1])
            shown = " -> ".join([*circle, circle[0]])
            for path in circle:
                yield path, f"{at}: these pipelines wait for each other: {shown}; take one of these inputs out"

    def trouble(self, paths: Iterable[str]) -> tuple[str, ...]:
        """What is wrong with these pipelines, and with all that they depend on: by file and line, each once."""
        return each_once(p for path in self.upstream_of(paths) for p in self.problems.get(path, ()))

    def need(self, paths: Iterable[str]) -> None:
        """UserError if something is wrong with these pipelines, or with what they depend on."""
        problems = self.trouble(paths)
        if problems:
            raise UserError(problems)

    def path_of(self, name: str) -> str:
        """The path of the pipeline with this name (or path), sound or not."""
        known = {place.path: self.name_of(place.path) for place in self.places}
        if name.rstrip("/") in known:
            return name.rstrip("/")
        for path, own in known.items():
            if own == name:
                return path
        if name.rstrip("/") in self.repos:
            raise UserError(f"{name}: a repo without a {SPEC}, no pipeline" + suggest("", known.values()))
        raise UserError(f"{name}: no such pipeline in this project" + suggest(name, {*known, *known.values()}))

    def name_of(self, path: str) -> str:
        """The name of the pipeline at this path: its folder's."""
        return path.rpartition("/")[2]

    @cached_property
    def _graph(self) -> dict[str, frozenset[str]]:
        paths = {place.path for place in self.places}
        return {path: frozenset(n.repo for n in self.needs(path)) & paths for path in paths}

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Pipeline paths, sound or not, each after those that it takes input from."""
        return graph.in_order(self._graph)

    def upstream(self, path: str) -> tuple[str, ...]:
        """The pipelines whose output this one takes directly, sorted."""
        return tuple(sorted(self._graph[path]))

    def downstream(self, paths: Iterable[str]) -> tuple[str, ...]:
        """The given pipelines and all that depend on them, in order."""
        chosen = graph.reached(graph.turned(self._graph), paths)
        return tuple(p for p in self.order if p in chosen)

    def upstream_of(self, paths: Iterable[str]) -> tuple[str, ...]:
        """The given pipelines and all that they depend on, in order."""
        chosen = graph.reached(self._graph, paths)
        return tuple(p for p in self.order if p in chosen)

    def select(self, names: Sequence[str]) -> tuple[str, ...]:
        """The pipelines named (all, if none is) with everything downstream of them, in order."""
        return self.downstream([self.path_of(n) for n in names]) if names else self.order


@dataclass(frozen=True, slots=True)
class _Specs:
    """What the specs of a project say, each by its pipeline's path. needs: also of broken ones, if it can be read."""

    pipelines: dict[str, Pipeline]
    needs: dict[str, tuple[Need, ...]]
    problems: dict[str, tuple[str, ...]]


def _read_specs(project: Project) -> _Specs:
    specs = _Specs({}, {}, {})
    for place in project.places:
        path, source = place.path, f"{place.path}/{SPEC}"
        try:
            pipeline = project.given.get(path)
            if pipeline is None:
                text = read_text(project.root / path, source, is_dataset=place.is_dataset)
                pipeline = read_spec(text, source=source, folder=project.name_of(path), cache=project.cache)
            specs.pipelines[path], specs.needs[path] = pipeline, pipeline.needs()
        except UserError as error:
            specs.problems[path] = error.problems
            if isinstance(error, BrokenSpec):
                specs.needs[path] = error.needs
    return specs


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` for the nearest known word, or the list of what there is."""
    names = sorted(known)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    there = f"; there are: {', '.join(names[:_NAMED])}{more}" if names else "; there are none yet"
    return nearest(word, names) or there


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def near_id(start: str, ids: Iterable[str]) -> str:
    """The same for the beginning of an id."""
    length = max(len(start), 8)
    return nearest(start, {ident[:length] for ident in ids})


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
