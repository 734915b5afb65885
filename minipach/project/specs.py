"""The repos, pipelines and specs of a superdataset, and the order in which pipelines depend on each other.

Whether these are sound is decided in `problems`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from minipach.git.repo import Repo, has_folder, is_dataset
from minipach.model.local_state import LocalState
from minipach.model.pipeline import ALL, BrokenSpec, Need, PfsInput, Pipeline, folder_in, with_holders
from minipach.model.plain_folder import PlainFolder
from minipach.model.repo_layout import DATALAD_CONFIG, SPEC, reserved_in_data
from minipach.project import dependencies
from minipach.project.discovery import (
    PipelineLocation,
    holder_of,
    is_data,
    is_displaced,
    nested_places,
    own_places,
    registered,
)
from minipach.project.parameters import Parameters, committed_parameters
from minipach.project.spec_cache import read_spec
from minipach.project.spec_file import one_spec, read_text
from minipach.support.disk_cache import Cache
from minipach.support.errors import Problem, UserError

_IDENTITIES: dict[str, Literal["content", "path"]] = {"content": "content", "path": "path"}


class ProjectSpecs:
    """A superdataset as it is read: its repos, pipelines and specs. Reading it changes nothing."""

    def __init__(
        self,
        root: Path,
        given: Mapping[str, Pipeline | BrokenSpec] | None = None,
        parameters: Parameters | None = None,
    ) -> None:
        """given: what to take for the specs at these paths, whatever lies there · parameters: in place of the
        committed ones.
        """
        self.root = root
        self.given = given or {}
        self.given_parameters = parameters
        self.repo = Repo(root)

    @property
    def state_dir(self) -> Path:
        """Local and disposable state: job database, logs, slots, caches (`.git/minipach`)."""
        return self.local.folder

    @cached_property
    def local(self) -> LocalState:
        """The paths in it."""
        return LocalState.of(self.repo.common_dir)

    @cached_property
    def parameters(self) -> Parameters:
        """The parameters that specs may name."""
        return self.given_parameters if self.given_parameters is not None else committed_parameters(self.repo)

    def parameters_for(self, text: str, path: str) -> Mapping[str, Any] | None:
        """Return the parameters of the pipeline at a path; None if its spec has no template. UserError."""
        return self.parameters.of(self.name_of(path), path) if "{{" in text else None

    @cached_property
    def cache(self) -> Cache:
        """Snapshots and plans of earlier."""
        return Cache(self.local.cache)

    @cached_property
    def repos(self) -> tuple[str, ...]:
        """The paths of all registered repos, nested ones included (installed or not), sorted."""
        return tuple(sorted(registered(self.root)))

    @cached_property
    def not_installed(self) -> tuple[str, ...]:
        """The superdataset's own subdatasets that aren't installed: what pipelines they may hold can't be known."""
        known = {PurePosixPath(p) for p in self.repos}  # with those inside of data repos, which may well stay away
        away = [p for p in self.repos if not is_dataset(self.root / p) and known.isdisjoint(PurePosixPath(p).parents)]
        away = [p for p in away if not is_displaced(self.root, p)]  # to install it there can't work
        # .gitmodules may still name what somebody has removed
        listed = self.repo.git("ls-files", "-z", "--stage", "--", *(f":(literal){p}" for p in away)) if away else b""
        links = {os.fsdecode(row.partition(b"\t")[2]) for row in listed.split(b"\0") if row.startswith(b"160000 ")}
        return tuple(p for p in away if p in links)

    @property
    def places(self) -> tuple[PipelineLocation, ...]:
        """Every folder with a `spec.yml`: pipeline repos, and plain folders that are to become one."""
        return self._found[0]

    @cached_property
    def _found(self) -> tuple[tuple[PipelineLocation, ...], _Specs]:
        """All pipelines' places, and what their specs say: the specs say in which subdatasets to look."""
        places = {place.path: place for place in own_places(self.root, self.repos, self.cache)}
        for path in self.given:
            places.setdefault(path, PipelineLocation(path, False))
        specs = self._read(places.values())
        needs = [need for found in specs.needs.values() for need in found]
        nested = nested_places(self.root, self.repos, places, needs)
        needs += [need for found in self._read(nested).needs.values() for need in found]
        data = {need.repo for need in needs}
        more = [place for place in nested if not is_data(holder_of(place.path, self.repos), data)]
        places |= {place.path: place for place in more}
        specs = specs.plus(self._read(more))
        return tuple(places[path] for path in sorted(places)), self._with_holders(specs, places)

    @property
    def _specs(self) -> _Specs:
        return self._found[1]

    @property
    def spec_problems(self) -> Mapping[str, tuple[Problem, ...]]:
        """The problems of specs that can't be read, by the path of the pipeline."""
        return self._specs.problems

    def _read(self, places: Iterable[PipelineLocation]) -> _Specs:
        specs = _Specs({}, {}, {}, {})
        for place in places:
            path, source = place.path, f"{place.path}/{place.spec}"
            try:
                pipeline = self.given.get(path)
                if isinstance(pipeline, BrokenSpec):
                    raise pipeline
                if pipeline is None:
                    one_spec(path, place.specs)
                    text = read_text(self.root / path, source, self.cache, is_dataset=place.is_dataset)
                    params = self.parameters_for(text, path)
                    name = self.name_of(path)
                    pipeline = read_spec(text, source=source, folder=name, cache=self.cache, params=params)
                if not pipeline.identity:
                    pipeline = replace(pipeline, identity=self.identity)
                specs.pipelines[path], specs.needs[path] = pipeline, pipeline.needs()
            except UserError as error:
                specs.problems[path] = error.problems
                if isinstance(error, BrokenSpec):
                    specs.needs[path] = error.needs
                    if error.image is not None:
                        specs.images[path] = error.image
        return specs

    def _with_holders(self, specs: _Specs, places: Collection[str]) -> _Specs:
        """Return the specs with the datasets of their plain folders."""
        known = {*self.repos, *places}
        holders: dict[str, str | None] = {}

        def holder(one: PfsInput | Need) -> str | None:
            if one.clock is not None or one.repo in known:
                return None
            if one.repo not in holders:
                holders[one.repo] = self.holder_of(one.repo) if self._is_folder(one.repo, places) else None
            return holders[one.repo]

        needs = {path: tuple(replace(need, holder=holder(need)) for need in of) for path, of in specs.needs.items()}
        if all(found is None for found in holders.values()):
            return specs
        pipelines = {
            path: replace(pipeline, input=with_holders(pipeline.input, holder))
            for path, pipeline in specs.pipelines.items()
        }
        return replace(specs, pipelines=pipelines, needs=needs)

    def holder_of(self, path: str) -> str:
        """Return the dataset that holds a repo or folder.

        The longest registered path above it, or the superdataset ("").
        """
        return holder_of(path, self.repos)

    def is_folder(self, repo: str) -> bool:
        """Return whether an input could take from a path as a plain folder."""
        pipelines = {place.path for place in self.places}
        return repo not in self.repos and repo not in pipelines and self._is_folder(repo, pipelines)

    def _is_folder(self, repo: str, pipelines: Collection[str]) -> bool:
        """Return whether an input takes from a plain folder: of the superdataset, or of another dataset."""
        if repo == ALL:
            return True
        where = self.root / repo
        if os.path.isabs(repo):  # the root would not count
            return False
        if reserved_in_data(repo.split("/", 1)[0]) or is_dataset(where):
            return False
        if any(repo.startswith(f"{path}/") for path in pipelines):
            return False
        if os.path.lexists(where):
            return where.is_dir() and os.path.realpath(where) == os.path.join(os.path.realpath(self.root), repo)
        holder = self.holder_of(repo)
        if not is_dataset(self.root / holder):
            return False
        dataset = Repo(self.root / holder)
        head = dataset.head()
        return head is not None and has_folder(dataset, head, folder_in(repo, holder))

    @cached_property
    def holders(self) -> dict[str, str]:
        """The plain folders that pipelines take from, each with the dataset that has it ("" is the superdataset)."""
        needs = (need for of in self._specs.needs.values() for need in of)
        return {need.repo: need.holder for need in needs if need.holder is not None}

    def dataset_of(self, repo: str, sub: str = "") -> Path:
        """Return the dataset with the files of a repo; of a plain folder, the one that has it. sub: below the repo."""
        return self.root / (f"{repo}/{sub}" if sub else self.holders.get(repo, repo))

    def folder(self, repo: str) -> PlainFolder | None:
        """Return the plain folder that a repo of an input is; None: it is a dataset."""
        holder = self.holders.get(repo)
        if holder is None:
            return None
        paths = (place.path for place in self.places)
        if repo != ALL:
            paths = (path.removeprefix(f"{repo}/") for path in paths if path.startswith(f"{repo}/"))
        return PlainFolder(holder, folder_in(repo, holder), frozenset(paths))

    def datasets_in(self, repo: str) -> tuple[str, ...]:
        """Return the datasets of data in a plain folder, as seen from there; nobody expects them in `.`."""
        folder = self.folder(repo)
        if folder is None or not folder.path:
            return ()
        links = (path for path in self.links_of(folder.holder) if path.startswith(folder.prefix))
        inside = sorted(path.removeprefix(folder.prefix) for path in links)
        kin = {f"{path}/" for path in folder.pipelines}
        return tuple(
            path for path in inside if not any(f"{path}/".startswith(p) or p.startswith(f"{path}/") for p in kin)
        )

    def links_of(self, holder: str) -> frozenset[str]:
        """Return the paths of the subdatasets of a dataset, as seen from there."""
        above = f"{holder}/" if holder else ""
        return frozenset(path.removeprefix(above) for path in self.repos if path.startswith(above))

    def spec_path(self, path: str) -> str:
        """Return the path of a pipeline's spec in the project."""
        return f"{path}/{next((place.spec for place in self.places if place.path == path), SPEC)}"

    def specs_in_data(self) -> list[str]:
        """Return the specs that make no pipelines, since a pipeline takes from the repo they lie in."""
        known = {place.path for place in self.places}
        return [f"{place.path}/{place.spec}" for place in nested_places(self.root, self.repos, known, ())]

    @cached_property
    def identity(self) -> Literal["content", "path"]:
        """The `identity` of pipelines whose specs name none: this clone's setting, or the committed one."""
        name = "minipach.identity"
        local = self.repo.config(name)
        head = self.repo.head()
        value = local or (self.repo.config(name, f"blob:{head}:{DATALAD_CONFIG}") if head else None) or "path"
        if value in _IDENTITIES:
            return _IDENTITIES[value]
        where = f"git config {name}" if local else f"git config --file {DATALAD_CONFIG} {name}"
        raise UserError(Problem("setting.bad-value", name, f'"{value}" is neither path nor content', f"{where} path"))

    @property
    def pipelines(self) -> dict[str, Pipeline]:
        """All pipelines whose spec can be read, by their path; of the others `spec_problems` says why."""
        return self._specs.pipelines

    @property
    def all_needs(self) -> Mapping[str, tuple[Need, ...]]:
        """The repos that inputs of pipelines take from, by path; also of broken specs, if it can be read."""
        return self._specs.needs

    def needs(self, path: str) -> tuple[Need, ...]:
        """Return what the inputs of a pipeline take from; nothing where its spec can't be read so far."""
        return self._specs.needs.get(path, ())

    def image(self, path: str) -> tuple[str | None, str]:
        """Return the image that a pipeline's spec names (None: none, or it can't be read), and where it does."""
        if path in self.pipelines:
            pipeline = self.pipelines[path]
            return pipeline.transform.image, pipeline.at("transform.image")
        return self._specs.images.get(path, (None, ""))

    def name_of(self, path: str) -> str:
        """Return the name of the pipeline at this path: its folder's."""
        return path.rpartition("/")[2]

    @cached_property
    def graph(self) -> dict[str, frozenset[str]]:
        """The pipelines that each one waits for, by path, sound or not."""
        paths = {place.path for place in self.places}
        return {
            path: frozenset(n.repo for n in self.needs(path) if n.repo in paths and self._takes_results(n))
            for path in paths
        }

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Pipeline paths, sound or not, each after those that it takes input from."""
        return dependencies.in_order(self.graph)

    def upstream(self, path: str) -> tuple[str, ...]:
        """Return the pipelines whose output this one takes directly, sorted."""
        return tuple(sorted(self.graph[path]))

    def downstream(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the given pipelines and all that depend on them, in order."""
        chosen = dependencies.reached(dependencies.turned(self.graph), paths)
        return tuple(p for p in self.order if p in chosen)

    def upstream_of(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the given pipelines and all that they depend on, in order."""
        chosen = dependencies.reached(self.graph, paths)
        return tuple(p for p in self.order if p in chosen)

    def _takes_results(self, need: Need) -> bool:
        """Return whether an input reads the branch that the pipeline it takes from publishes to, and so waits for it.

        Another one is moved by whoever releases results: `git branch -f master dev`.
        """
        upstream = self._specs.pipelines.get(need.repo)
        output = upstream.output_branch if upstream else None
        if output == need.branch or not is_dataset(self.root / need.repo):
            return True
        current = Repo(self.root / need.repo).branch()
        return (need.branch or current) == (output or current)


@dataclass(frozen=True, slots=True)
class _Specs:
    """The specs of a project, each by its pipeline's path.

    needs: also of broken ones, if it can be read · images: of broken ones, with the place in the spec.
    """

    pipelines: dict[str, Pipeline]
    needs: dict[str, tuple[Need, ...]]
    problems: dict[str, tuple[Problem, ...]]
    images: dict[str, tuple[str, str]]

    def plus(self, other: _Specs) -> _Specs:
        """Return these specs and others."""
        return _Specs(
            self.pipelines | other.pipelines,
            self.needs | other.needs,
            self.problems | other.problems,
            self.images | other.images,
        )
