"""A project: the superdataset, its repos and pipelines, the order in which they depend on each other."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from minipach.git import shared_modes
from minipach.git.repo import Repo, has_folder, is_dataset
from minipach.model.local_state import LocalState
from minipach.model.pipeline import ALL, BrokenSpec, Metadata, Need, PfsInput, Pipeline, folder_in, with_holders
from minipach.model.plain_folder import PlainFolder
from minipach.model.repo_layout import DATALAD_CONFIG, FOLDER, PROJECT_MARK, SPEC, reserved_in_data
from minipach.project import dependencies
from minipach.project import former_pipelines as former
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
from minipach.project.spec_file import lying_specs, misnamed, one_spec, read_text
from minipach.support.disk_cache import Cache
from minipach.support.errors import Problem, UserError, each_once
from minipach.support.git_objects import blob_id
from minipach.support.text import quoted, suggest

_IDENTITIES: dict[str, Literal["content", "path"]] = {"content": "content", "path": "path"}


class Project:
    """A superdataset and what it holds. Reading it changes nothing."""

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
        self._parameters = parameters
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
        return self._parameters if self._parameters is not None else committed_parameters(self.repo)

    def with_specs(self, given: Mapping[str, Pipeline | BrokenSpec]) -> Project:
        """Return the project with these specs in place of those that lie there."""
        return Project(self.root, given, self._parameters)

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

    def is_folder(self, repo: str) -> bool:
        """Return whether an input could take from a path as a plain folder."""
        pipelines = {place.path for place in self.places}
        return repo not in self.repos and repo not in pipelines and self._is_folder(repo, pipelines)

    def _is_folder(self, repo: str, pipelines: Collection[str]) -> bool:
        """Return whether an input takes from a plain folder: of the superdataset, or of another dataset."""
        if repo == ALL:
            return True
        where = self.root / repo
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

    @property
    def places(self) -> tuple[PipelineLocation, ...]:
        """Every folder with a `spec.yml`: pipeline repos, and plain folders that are to become one."""
        return self._found[0]

    def spec_path(self, path: str) -> str:
        """Return the path of a pipeline's spec in the project."""
        return f"{path}/{next((place.spec for place in self.places if place.path == path), SPEC)}"

    def specs_in_data(self) -> list[str]:
        """Return the specs that make no pipelines, since a pipeline takes from the repo they lie in."""
        known = {place.path for place in self.places}
        return [f"{place.path}/{place.spec}" for place in nested_places(self.root, self.repos, known, ())]

    def misplaced_specs(self) -> Iterator[Problem]:
        """Yield a problem for each file that is meant to be a spec, most likely, and is not read."""
        for name in lying_specs(self.root):
            fix = f"move it into a folder of its own: mkdir NAME && git mv {name} NAME/"
            yield Problem("spec.misplaced", name, "a spec in the project's root is not a pipeline", fix)
        pipelines = {place.path for place in self.places}
        plain = [entry.name for entry in os.scandir(self.root) if entry.is_dir() and not entry.name.startswith(".")]
        for path in sorted({*self.repos, *plain} - pipelines):
            for name in misnamed(self.root / path):
                fix = "evaluate it: jsonnet" if name.endswith(".jsonnet") else "rename it:"
                to = f"{SPEC}" if not name.endswith(".jsonnet") else "> spec.json"
                yield Problem("spec.misplaced", f"{path}/{name}", "not read as a spec", f"{fix} {name} {to}")

    @property
    def _specs(self) -> _Specs:
        return self._found[1]

    def holder_of(self, path: str) -> str:
        """Return the dataset that holds a repo or folder.

        The longest registered path above it, or the superdataset ("").
        """
        return holder_of(path, self.repos)

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
        """All pipelines whose spec can be read, by their path; of the others `problems` says why."""
        return self._specs.pipelines

    def pipeline(self, path: str) -> Pipeline:
        """Return the pipeline at this path; UserError with what is wrong with its spec."""
        if path not in self.pipelines:
            raise UserError(self.problems[path])
        return self.pipelines[path]

    @cached_property
    def problems(self) -> dict[str, tuple[Problem, ...]]:
        """The problems of pipelines, by path: the spec, a duplicate name, a missing repo, a cycle of inputs.

        Nothing is said here of those that are sound themselves and take from one of these: see `trouble`.
        """
        found = {path: list(problems) for path, problems in self._specs.problems.items()}
        for path, problem in (
            *self._names_taken(),
            *self._displaced(),
            *self._missing_repos(),
            *self._shared_clocks(),
            *self._taken_from_services(),
            *self._shared_ports(),
            *self._circles(),
        ):
            found.setdefault(path, []).append(problem)
        return {path: each_once(problems) for path, problems in found.items()}

    def _names_taken(self) -> Iterator[tuple[str, Problem]]:
        names: dict[str, str] = {}
        for path in (place.path for place in self.places):
            first = names.setdefault(self.name_of(path), path)
            if first != path:
                problem = Problem(
                    "project.name-taken",
                    self.spec_path(path),
                    f"a second pipeline named {self.name_of(path)!r}, as {first} is",
                    "rename one of the folders",
                )
                yield from ((first, problem), (path, problem))

    def _displaced(self) -> Iterator[tuple[str, Problem]]:
        for place in self.places:
            if not place.is_dataset and place.path in self._registered and is_displaced(self.root, place.path):
                yield place.path, self._displacement(place.path).within(f"{place.path}/{place.spec}")

    def _displacement(self, path: str) -> Problem:
        """Return what is wrong with a plain folder in place of a registered dataset, and both fixes."""
        holder = self.holder_of(path)
        top = self.root / holder
        name = path.removeprefix(holder + "/") if holder else path
        modules = Repo(top).git("config", "--file", ".gitmodules", "-z", "--get-regexp", r"\.path$", ok=(0, 1))
        rows = (os.fsdecode(row).partition("\n") for row in modules.split(b"\0") if row)
        section = next((key.removesuffix(".path") for key, _, value in rows if value == name), f"submodule.{name}")
        git, folder = f"git -C {quoted(top)}", quoted(self.root / path)
        forget = (
            f"{git} rm -q --cached {quoted(name)} && {git} config -f .gitmodules --remove-section {quoted(section)} && "
            f"{git} add .gitmodules && {git} commit -qm {quoted(f'unregister {name}')}"
        )
        return Problem(
            "repo.displaced",
            "",
            f"a plain folder, but a dataset is registered at {path}",
            f"to make it a new one: {forget}; "
            f"or bring the dataset back: mv {folder} {quoted(self.root / (path + '.new'))} && datalad get -n {folder}",
        )

    @cached_property
    def _registered(self) -> frozenset[str]:
        return frozenset(self.repos)

    def _missing_repos(self) -> Iterator[tuple[str, Problem]]:
        known = {*self.repos, *self._graph}
        for path, needs in self._specs.needs.items():
            for need in needs:
                if need.clock is not None:
                    if need.repo in self._graph:
                        message = f"{need.repo} is a pipeline, and can't be a repo of ticks"
                        yield path, Problem("cron.repo-taken", need.repo_at, message, "write another `repo`")
                    continue  # a pass makes it
                if (
                    need.repo not in known
                    and need.project
                    and need.holder is None
                    and not is_dataset(self.root / need.repo)
                ):
                    own = need.repo.removeprefix(need.project + "/")
                    yield (
                        path,
                        Problem(
                            "input.no-such-repo",
                            need.repo_at,
                            f'no repo "{need.repo}" in this project, as `project: {need.project}` has it',
                            f'put that dataset there, or remove `project` to read "{own}"',
                        ),
                    )
                elif need.repo not in known and need.holder is None:
                    yield path, self.absent(need.repo).within(need.repo_at)
                elif need.holder is not None and need.trigger is not None:
                    message = f"{need.repo} is a plain folder, and a trigger counts the commits of a dataset"
                    yield path, Problem("input.trigger-of-folder", need.repo_at, message, "remove `trigger`")

    def _shared_clocks(self) -> Iterator[tuple[str, Problem]]:
        """Yield the repos of ticks that two clocks have which differ: each would undo the other."""
        first: dict[str, tuple[str, Need]] = {}
        for path in sorted(self._specs.needs):
            for need in self._specs.needs[path]:
                if need.clock is None:
                    continue
                other, before = first.setdefault(need.repo, (path, need))
                inside = self.holder_of(need.repo)
                if need.clock != before.clock:
                    message = f"another clock of {other} has the repo of ticks {need.repo}"
                    yield path, Problem("cron.repo-taken", need.repo_at, message, "write another `repo`")
                elif inside in self._graph or any(need.repo.startswith(f"{place}/") for place in self._graph):
                    message = f"the repo of ticks {need.repo} is inside of a pipeline"
                    yield path, Problem("cron.repo-taken", need.repo_at, message, "write another `repo`")

    def _taken_from_services(self) -> Iterator[tuple[str, Problem]]:
        """Yield the pipelines that take input from a service, which has no outputs."""
        for path, needs in self._specs.needs.items():
            for need in needs:
                upstream = self._specs.pipelines.get(need.repo)
                if upstream is not None and upstream.service is not None:
                    message = f"{need.repo} is a service, which has no outputs"
                    yield path, Problem("input.of-service", need.repo_at, message, "take the input from another repo")

    def _shared_ports(self) -> Iterator[tuple[str, Problem]]:
        """Yield the services that want the port of another one."""
        first: dict[int, str] = {}
        for path, pipeline in sorted(self._specs.pipelines.items()):
            if pipeline.service is None:
                continue
            other = first.setdefault(pipeline.service.external, path)
            if other != path:
                message = f"port {pipeline.service.external} is that of the service {other}, too"
                at = pipeline.at("service")
                yield path, Problem("service.port-taken", at, message, "write another `external_port`")

    @property
    def services(self) -> tuple[str, ...]:
        """The paths of the pipelines that are services, sorted."""
        return tuple(path for path, pipeline in sorted(self.pipelines.items()) if pipeline.service is not None)

    def needs(self, path: str) -> tuple[Need, ...]:
        """Return what the inputs of a pipeline take from; nothing where its spec can't be read so far."""
        return self._specs.needs.get(path, ())

    def image(self, path: str) -> tuple[str | None, str]:
        """Return the image that a pipeline's spec names (None: none, or it can't be read), and where it does."""
        if path in self.pipelines:
            pipeline = self.pipelines[path]
            return pipeline.transform.image, pipeline.at("transform.image")
        return self._specs.images.get(path, (None, ""))

    def lacks(self, path: str, but: Collection[str] = ()) -> tuple[Problem, ...]:
        """Return a line for each input from another pipeline (`but` these) that has no output yet, not even a repo."""
        unborn = {up for up in self.upstream(path) if up not in but and not is_dataset(self.root / up)}
        return tuple(self.absent(need.repo).within(need.repo_at) for need in self.needs(path) if need.repo in unborn)

    def absent(self, repo: str) -> Problem:
        """Return why nothing can be taken from a repo that isn't here, and the fix."""
        if repo in self._graph:
            return Problem(
                "input.no-output-yet",
                "",
                f"{repo} is a pipeline without any output yet",
                f"minipach schedule {self.name_of(repo)}",
            )
        if repo in self.repos and is_displaced(self.root, repo):
            return self._displacement(repo).within(repo)
        if repo in self.repos:
            fix = f"datalad get -n {quoted(self.root / repo)}"
            return Problem("repo.not-installed", repo, "not installed in this project", fix)
        real = os.path.relpath(os.path.realpath(self.root / repo), os.path.realpath(self.root))
        if real != repo and real in self.repos:
            return Problem("input.is-a-link", "", f'"{repo}" is a link', f'name what it leads to, "{real}"')
        if is_dataset(self.root / repo) and Repo(self.root / repo).head() is None:
            begin = f"git -C {quoted(self.root / repo)} commit --allow-empty -m begin"
            fix = f"{begin} && datalad save -d {quoted(self.root)} {quoted(repo)}"
            return Problem(
                "repo.not-registered",
                "",
                f'"{repo}" is a dataset without a commit, and not registered in this project',
                fix,
            )
        if is_dataset(self.root / repo):
            fix = f"datalad save -d {quoted(self.root)} {quoted(repo)}"
            return Problem("repo.not-registered", "", f'"{repo}" is a dataset, but not registered in this project', fix)
        if taker := next((path for path in self._graph if repo.startswith(f"{path}/")), None):
            fix = f"write repo: {taker} for its results"
            return Problem("input.in-pipeline", "", f'"{repo}" is a folder of the pipeline {taker}', fix)
        if os.path.lexists(self.root / repo):
            if reserved_in_data(repo.split("/", 1)[0]):
                message = f'"{repo}" is housekeeping of git and DataLad'
                return Problem("input.not-data", "", message, "name another folder")
            if real != repo and real.startswith(".."):
                message = f'"{repo}" is a link that leads out of this project'
                return Problem("input.is-a-link", "", message, "copy the files into a folder of it")
            if real != repo and ".git" not in real.split("/"):  # an annexed file is a file
                return Problem("input.is-a-link", "", f'"{repo}" is a link', f'name what it leads to, "{real}"')
            above, _, file = repo.rpartition("/")
            fix = f"name the folder it is in: repo: {above or ALL}, glob: /{file}"
            return Problem("input.is-a-file", "", f'"{repo}" is a file', fix)
        near = suggest(repo, {*self.repos, *self._graph, *self._top_folders()})
        return Problem("input.no-such-repo", "", f'no repo "{repo}" in this project', near)

    def _top_folders(self) -> list[str]:
        """Return the plain folders at the top of the superdataset."""
        names = (entry.name for entry in os.scandir(self.root) if entry.is_dir(follow_symlinks=False))
        return [name for name in names if not name.startswith(".") and not reserved_in_data(name)]

    def _circles(self) -> Iterator[tuple[str, Problem]]:
        for circle in dependencies.circles(self._graph):
            (at, *_) = (n.repo_at for n in self.needs(circle[0]) if n.repo == [*circle, circle[0]][1])
            shown = " -> ".join([*circle, circle[0]])
            for path in circle:
                message = f"these pipelines wait for each other: {shown}"
                yield path, Problem("project.cycle", at, message, "remove one of these inputs")

    def trouble(self, paths: Iterable[str]) -> tuple[Problem, ...]:
        """Return what is wrong with these pipelines, and with all that they depend on: by file and line, each once."""
        if not self.problems:
            return ()
        return each_once(p for path in self.upstream_of(paths) for p in self.problems.get(path, ()))

    def need(self, paths: Iterable[str]) -> None:
        """UserError if something is wrong with these pipelines, or with what they depend on."""
        problems = self.trouble(paths)
        if problems:
            raise UserError(problems)

    def former_pipelines(self) -> Iterator[Problem]:
        """Return a line for each repo that was a pipeline and counts as data now, with the way back."""
        return former.reported(self.root, self.repos, {place.path for place in self.places})

    def path_of(self, name: str) -> str:
        """Return the path of the pipeline with this name (or path), sound or not."""
        name = os.path.normpath(name) if "/" in name else name
        known = {place.path: self.name_of(place.path) for place in self.places}
        if name in known:
            return name
        for path, own in known.items():
            if own == name:
                return path
        if name in self.repos:
            there = suggest("", known.values())
            why = Problem("project.no-such-pipeline", name, f"a repo without a {SPEC}, not a pipeline", there)
            raise UserError([*former.reported(self.root, [name], known)] or why)
        near = suggest(name, {*known, *known.values()})
        raise UserError(Problem("project.no-such-pipeline", name, "no such pipeline in this project", near))

    def name_of(self, path: str) -> str:
        """Return the name of the pipeline at this path: its folder's."""
        return path.rpartition("/")[2]

    @cached_property
    def _graph(self) -> dict[str, frozenset[str]]:
        paths = {place.path for place in self.places}
        return {
            path: frozenset(n.repo for n in self.needs(path) if n.repo in paths and self._takes_results(n))
            for path in paths
        }

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

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Pipeline paths, sound or not, each after those that it takes input from."""
        return dependencies.in_order(self._graph)

    def upstream(self, path: str) -> tuple[str, ...]:
        """Return the pipelines whose output this one takes directly, sorted."""
        return tuple(sorted(self._graph[path]))

    def downstream(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the given pipelines and all that depend on them, in order."""
        chosen = dependencies.reached(dependencies.turned(self._graph), paths)
        return tuple(p for p in self.order if p in chosen)

    def upstream_of(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the given pipelines and all that they depend on, in order."""
        chosen = dependencies.reached(self._graph, paths)
        return tuple(p for p in self.order if p in chosen)

    def select(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the pipelines named (all, if none is) with everything downstream of them, in order."""
        return self.downstream([self.path_of(n) for n in names]) if names else self.order


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
        """These and others."""
        return _Specs(
            self.pipelines | other.pipelines,
            self.needs | other.needs,
            self.problems | other.problems,
            self.images | other.images,
        )


def is_spec_of_now(project: Project, path: str, reader: Repo | None = None) -> bool:
    """Return whether the last commit of a pipeline has the spec that was read, but for texts for people.

    Args:
        project: The project as it was read, maybe hours ago.
        path: The path of a pipeline that is a dataset.
        reader: Its repository, if the caller has it open.

    Raises:
        UserError: No commit has the spec any more.
    """
    if path in project.given:
        return True  # it is no committed one
    spec = next(place.spec for place in project.places if place.path == path)
    text = read_text(project.root / path, f"{path}/{spec}", project.cache, is_dataset=True, reader=reader)
    before = project.pipelines[path]
    if blob_id(text.encode()) == before.blob:
        return True
    name = project.name_of(path)
    try:
        params = project.parameters_for(text, path)
        now = read_spec(text, source=before.source, folder=name, cache=project.cache, params=params)
    except UserError:
        return False  # it can't be read any more
    if not now.identity:
        now = replace(now, identity=project.identity)
    return _compared(now) == _compared(before)


def _compared(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline as its spec has it, without what has an effect on no datum and on no publish."""
    plain = with_holders(pipeline.input, lambda _: None)
    return replace(pipeline, input=plain, description="", metadata=Metadata(), notes=())


def find_project(start: Path) -> Project:
    """Return the project that holds the folder `start`: the nearest marked one, else the topmost dataset above."""
    here = Path(os.path.realpath(start))
    if not here.is_dir():
        raise UserError(Problem("project.no-such-folder", str(start), "no such folder"))
    topmost: Path | None = None
    plain: Path | None = None
    for folder in (here, *here.parents):
        if is_dataset(folder) and (folder / ".datalad" / "config").is_file():
            topmost = folder
            if is_marked(folder):
                return _opened(folder)
        elif is_dataset(folder):
            plain = plain or folder
    if topmost is None:
        fix = "minipach init makes one here"
        if plain is not None:  # as `minipach init` says there
            fix = f"datalad create --force {quoted(plain)}, then minipach init {quoted(plain)}"
        raise UserError(Problem("project.not-found", str(start), "not inside a project", fix))
    if lying_specs(topmost) and (topmost / FOLDER).is_dir():
        raise UserError(
            Problem(
                "project.pipeline-alone",
                str(topmost),
                "a pipeline's dataset alone, without its project",
                "work in a clone of the project (here, datalad rerun <commit> repeats what is on record)",
            )
        )
    return _opened(topmost)


def is_marked(folder: Path) -> bool:
    """Return whether `minipach init` has made this very folder a project."""
    config = folder / ".datalad" / "config"
    return is_dataset(folder) and config.is_file() and bool(Repo(folder).config(f"{PROJECT_MARK}.version", str(config)))


def _opened(root: Path) -> Project:
    shared_modes.follow(Repo(root).config("core.sharedRepository"))
    return Project(root)
