"""The problems of a project's pipelines that follow from what is there: names, repos, clocks, ports, cycles."""

from __future__ import annotations

import os
from collections.abc import Iterator

from minipach.git.repo import Repo, is_dataset
from minipach.model.pipeline import ALL, Need
from minipach.model.repo_layout import SPEC, reserved_in_data
from minipach.project import dependencies
from minipach.project.discovery import is_displaced
from minipach.project.spec_file import lying_specs, misnamed
from minipach.project.specs import ProjectSpecs
from minipach.support.errors import Problem
from minipach.support.text import quoted, suggest


def pipeline_problems(project: ProjectSpecs) -> Iterator[tuple[str, Problem]]:
    """Yield the problems of pipelines beside those of their specs, each with the path of the pipeline."""
    yield from _names_taken(project)
    yield from _displaced(project)
    yield from _missing_repos(project)
    yield from _shared_clocks(project)
    yield from _taken_from_services(project)
    yield from _shared_ports(project)
    yield from _circles(project)


def _names_taken(project: ProjectSpecs) -> Iterator[tuple[str, Problem]]:
    names: dict[str, str] = {}
    for path in (place.path for place in project.places):
        first = names.setdefault(project.name_of(path), path)
        if first != path:
            problem = Problem(
                "project.name-taken",
                project.spec_path(path),
                f"a second pipeline named {project.name_of(path)!r}, as {first} is",
                "rename one of the folders",
            )
            yield from ((first, problem), (path, problem))


def _displaced(project: ProjectSpecs) -> Iterator[tuple[str, Problem]]:
    known = frozenset(project.repos)
    for place in project.places:
        if not place.is_dataset and place.path in known and is_displaced(project.root, place.path):
            yield place.path, _displacement(project, place.path).within(f"{place.path}/{place.spec}")


def _missing_repos(project: ProjectSpecs) -> Iterator[tuple[str, Problem]]:
    known = {*project.repos, *project.graph}
    for path, needs in project.all_needs.items():
        for need in needs:
            if need.clock is not None:
                if need.repo in project.graph:
                    message = f"{need.repo} is a pipeline, and can't be a repo of ticks"
                    yield path, Problem("cron.repo-taken", need.repo_at, message, "write another `repo`")
                continue  # a pass makes it
            if (
                need.repo not in known
                and need.project
                and need.holder is None
                and not is_dataset(project.root / need.repo)
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
                yield path, absent(project, need.repo).within(need.repo_at)
            elif need.holder is not None and need.trigger is not None:
                message = f"{need.repo} is a plain folder, and a trigger counts the commits of a dataset"
                yield path, Problem("input.trigger-of-folder", need.repo_at, message, "remove `trigger`")


def _shared_clocks(project: ProjectSpecs) -> Iterator[tuple[str, Problem]]:
    """Yield the repos of ticks that two clocks have which differ: each would undo the other."""
    first: dict[str, tuple[str, Need]] = {}
    for path in sorted(project.all_needs):
        for need in project.all_needs[path]:
            if need.clock is None:
                continue
            other, before = first.setdefault(need.repo, (path, need))
            inside = project.holder_of(need.repo)
            if need.clock != before.clock:
                message = f"another clock of {other} has the repo of ticks {need.repo}"
                yield path, Problem("cron.repo-taken", need.repo_at, message, "write another `repo`")
            elif inside in project.graph or any(need.repo.startswith(f"{place}/") for place in project.graph):
                message = f"the repo of ticks {need.repo} is inside of a pipeline"
                yield path, Problem("cron.repo-taken", need.repo_at, message, "write another `repo`")


def _taken_from_services(project: ProjectSpecs) -> Iterator[tuple[str, Problem]]:
    """Yield the pipelines that take input from a service, which has no outputs."""
    for path, needs in project.all_needs.items():
        for need in needs:
            upstream = project.pipelines.get(need.repo)
            if upstream is not None and upstream.service is not None:
                message = f"{need.repo} is a service, which has no outputs"
                yield path, Problem("input.of-service", need.repo_at, message, "take the input from another repo")


def _shared_ports(project: ProjectSpecs) -> Iterator[tuple[str, Problem]]:
    """Yield the services that want the port of another one."""
    first: dict[int, str] = {}
    for path, pipeline in sorted(project.pipelines.items()):
        if pipeline.service is None:
            continue
        other = first.setdefault(pipeline.service.external, path)
        if other != path:
            message = f"port {pipeline.service.external} is that of the service {other}, too"
            at = pipeline.at("service")
            yield path, Problem("service.port-taken", at, message, "write another `external_port`")


def _circles(project: ProjectSpecs) -> Iterator[tuple[str, Problem]]:
    for circle in dependencies.circles(project.graph):
        (at, *_) = (n.repo_at for n in project.needs(circle[0]) if n.repo == [*circle, circle[0]][1])
        shown = " -> ".join([*circle, circle[0]])
        for path in circle:
            message = f"these pipelines wait for each other: {shown}"
            yield path, Problem("project.cycle", at, message, "remove one of these inputs")


def absent(project: ProjectSpecs, repo: str) -> Problem:
    """Return why nothing can be taken from a repo that isn't here, and the fix."""
    if repo in project.graph:
        return Problem(
            "input.no-output-yet",
            "",
            f"{repo} is a pipeline without any output yet",
            f"minipach schedule {project.name_of(repo)}",
        )
    if repo in project.repos and is_displaced(project.root, repo):
        return _displacement(project, repo).within(repo)
    if repo in project.repos:
        fix = f"datalad get -n {quoted(project.root / repo)}"
        return Problem("repo.not-installed", repo, "not installed in this project", fix)
    real = os.path.relpath(os.path.realpath(project.root / repo), os.path.realpath(project.root))
    if real != repo and real in project.repos:
        return Problem("input.is-a-link", "", f'"{repo}" is a link', f'name what it leads to, "{real}"')
    if is_dataset(project.root / repo) and Repo(project.root / repo).head() is None:
        begin = f"git -C {quoted(project.root / repo)} commit --allow-empty -m begin"
        fix = f"{begin} && datalad save -d {quoted(project.root)} {quoted(repo)}"
        return Problem(
            "repo.not-registered",
            "",
            f'"{repo}" is a dataset without a commit, and not registered in this project',
            fix,
        )
    if is_dataset(project.root / repo):
        fix = f"datalad save -d {quoted(project.root)} {quoted(repo)}"
        return Problem("repo.not-registered", "", f'"{repo}" is a dataset, but not registered in this project', fix)
    if taker := next((path for path in project.graph if repo.startswith(f"{path}/")), None):
        fix = f"write repo: {taker} for its results"
        return Problem("input.in-pipeline", "", f'"{repo}" is a folder of the pipeline {taker}', fix)
    if os.path.lexists(project.root / repo):
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
    near = suggest(repo, {*project.repos, *project.graph, *_top_folders(project)})
    return Problem("input.no-such-repo", "", f'no repo "{repo}" in this project', near)


def _displacement(project: ProjectSpecs, path: str) -> Problem:
    """Return what is wrong with a plain folder in place of a registered dataset, and both fixes."""
    holder = project.holder_of(path)
    top = project.root / holder
    name = path.removeprefix(holder + "/") if holder else path
    modules = Repo(top).git("config", "--file", ".gitmodules", "-z", "--get-regexp", r"\.path$", ok=(0, 1))
    rows = (os.fsdecode(row).partition("\n") for row in modules.split(b"\0") if row)
    section = next((key.removesuffix(".path") for key, _, value in rows if value == name), f"submodule.{name}")
    git, folder = f"git -C {quoted(top)}", quoted(project.root / path)
    forget = (
        f"{git} rm -q --cached {quoted(name)} && {git} config -f .gitmodules --remove-section {quoted(section)} && "
        f"{git} add .gitmodules && {git} commit -qm {quoted(f'unregister {name}')}"
    )
    return Problem(
        "repo.displaced",
        "",
        f"a plain folder, but a dataset is registered at {path}",
        f"make it a new one: {forget}; "
        f"or bring the dataset back: mv {folder} {quoted(project.root / (path + '.new'))} && datalad get -n {folder}",
    )


def _top_folders(project: ProjectSpecs) -> list[str]:
    """Return the plain folders at the top of the superdataset."""
    names = (entry.name for entry in os.scandir(project.root) if entry.is_dir(follow_symlinks=False))
    return [name for name in names if not name.startswith(".") and not reserved_in_data(name)]


def misplaced_specs(project: ProjectSpecs) -> Iterator[Problem]:
    """Yield a problem for each file that is meant to be a spec, most likely, and is not read."""
    for name in lying_specs(project.root):
        fix = f"move it into a folder of its own: mkdir NAME && git mv {name} NAME/"
        yield Problem("spec.misplaced", name, "a spec in the project's root is not a pipeline", fix)
    pipelines = {place.path for place in project.places}
    plain = [entry.name for entry in os.scandir(project.root) if entry.is_dir() and not entry.name.startswith(".")]
    for path in sorted({*project.repos, *plain} - pipelines):
        for name in misnamed(project.root / path):
            fix = "evaluate it: jsonnet" if name.endswith(".jsonnet") else "rename it:"
            to = f"{SPEC}" if not name.endswith(".jsonnet") else "> spec.json"
            yield Problem("spec.misplaced", f"{path}/{name}", "not read as a spec", f"{fix} {name} {to}")
