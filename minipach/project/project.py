"""A project: the superdataset, its repos and pipelines, what is wrong with them, and the choice of some."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from minipach.git import shared_modes
from minipach.git.repo import Repo, is_dataset
from minipach.model.pipeline import BrokenSpec, Pipeline
from minipach.model.repo_layout import FOLDER, PROJECT_MARK, SPEC
from minipach.project import former_pipelines as former
from minipach.project.problems import absent, pipeline_problems
from minipach.project.spec_file import lying_specs
from minipach.project.specs import ProjectSpecs
from minipach.support.errors import Problem, UserError, each_once
from minipach.support.text import quoted, suggest


class Project(ProjectSpecs):
    """A superdataset, whose pipelines can be asked for by name. Reading it changes nothing."""

    def with_specs(self, given: Mapping[str, Pipeline | BrokenSpec]) -> Project:
        """Return the project with these specs in place of those that lie there."""
        return Project(self.root, given, self.given_parameters)

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
        found = {path: list(problems) for path, problems in self.spec_problems.items()}
        for path, problem in pipeline_problems(self):
            found.setdefault(path, []).append(problem)
        return {path: each_once(problems) for path, problems in found.items()}

    @property
    def services(self) -> tuple[str, ...]:
        """The paths of the pipelines that are services, sorted."""
        return tuple(path for path, pipeline in sorted(self.pipelines.items()) if pipeline.service is not None)

    def lacks(self, path: str, but: Collection[str] = ()) -> tuple[Problem, ...]:
        """Return a line for each input from another pipeline (`but` these) that has no output yet, not even a repo."""
        unborn = {up for up in self.upstream(path) if up not in but and not is_dataset(self.root / up)}
        return tuple(absent(self, need.repo).within(need.repo_at) for need in self.needs(path) if need.repo in unborn)

    def trouble(self, paths: Iterable[str]) -> tuple[Problem, ...]:
        """Return what is wrong with these pipelines, and with all that they depend on: by file and line, each once."""
        if not self.problems:
            return ()
        return each_once(p for path in self.upstream_of(paths) for p in self.problems.get(path, ()))

    def need(self, paths: Iterable[str]) -> None:
        """Raise UserError if something is wrong with these pipelines, or with what they depend on."""
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

    def select(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the pipelines named (all, if none is) with everything downstream of them, in order."""
        return self.downstream([self.path_of(n) for n in names]) if names else self.order


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


def check_encoding(root: Path) -> None:
    """Check that the path of a project can be stored in texts: JSON and the job database have UTF-8 only.

    Raises:
        UserError: It has other bytes.
    """
    try:
        os.fspath(root).encode()
    except UnicodeEncodeError:
        raise UserError(
            Problem("project.path-not-utf8", str(root), "its path is not UTF-8", "rename the folder")
        ) from None


def _opened(root: Path) -> Project:
    check_encoding(root)
    shared_modes.follow(Repo(root).config("core.sharedRepository"))
    return Project(root)
