"""All problems of pipelines that can be found before anything runs, in one answer. Reads only."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial

from minipach.datums.inputs import broken_lines
from minipach.environment.image import resolve_image
from minipach.git.repo import is_dataset
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.command_check import command_problems
from minipach.project import branch_check
from minipach.project.project import Project
from minipach.project.targets import Targets, parse_targets
from minipach.records.own_files import Shared, shared_code, subdatasets
from minipach.support.errors import Problem, UserError, each_once
from minipach.support.text import NAMED


def problems_of(project: Project, paths: Iterable[str], *, committed: bool = True) -> tuple[Problem, ...]:
    """Return what is wrong with these pipelines and with all that they depend on: by file and line, each once.

    committed: whether commands are looked for in the last commits; else in the working trees.
    """
    chosen = project.upstream_of(paths)
    found = list(project.trouble(chosen))
    store = SnapshotStore(project)
    for path in chosen:
        found += _inputs(project, path, store)
        found += branch_check.branch_problems(project, [path])
        if path in project.pipelines:
            assessment = (Assessment if committed else _Uncommitted)(project, path, store)
            try:
                lying = None if committed else assessment.repo.path
                found += command_problems(assessment.pipeline, partial(_has, assessment, committed), lying)
                found += _layout(assessment)
            finally:
                assessment.close()
        elif project.image(path)[0] is not None:
            found += _problems_of(partial(resolve_image, project, path))
    return each_once(found)


class _Uncommitted(Assessment):
    """A pipeline whose shared code need not be committed yet."""

    @cached_property
    def shared(self) -> dict[str, Shared]:
        """Shared code, as far as it is committed. UserError if some is not there at all."""
        pipeline = self.pipeline
        found: dict[str, Shared] = {}
        for word in pipeline.shared_code:
            try:
                found |= shared_code(self.project, self.path, [word], pipeline.at("minipach.code"))
            except UserError:
                if not os.path.lexists(self.project.root / self.path / word):
                    raise
        return {**found, **subdatasets(self.project, self.path, self.own)}


def _has(a: Assessment, committed: bool, path: str) -> bool:
    if not committed and os.path.lexists(a.repo.path / path):
        return True
    try:
        return a.shows(path)
    except UserError:
        return True  # shared code that is not there is a problem of its own


def at_a_glance(project: Project, paths: Iterable[str]) -> dict[str, tuple[Problem, ...]]:
    """Return the same for each of these pipelines by itself, as far as it shows without a look at any file."""
    store = SnapshotStore(project)
    found = {}
    for path in paths:
        own = list(project.problems.get(path, ()))
        for need in project.needs(path):
            if _is_to_be_here(project, need.repo):
                own += _problems_of(partial(store.commit, need))
        if path in project.pipelines or project.image(path)[0] is not None:
            own += _problems_of(partial(resolve_image, project, path))
        found[path] = each_once(own)
    return found


def _inputs(project: Project, path: str, store: SnapshotStore) -> Iterator[Problem]:
    """Yield what is wrong with the repos that a spec names, also where the rest of it is broken."""
    for need in project.needs(path):
        if not _is_to_be_here(project, need.repo):
            continue
        try:
            snapshot = store.at(need.repo, store.commit(need))
        except UserError as error:
            yield from error.problems
        else:
            yield from broken_lines(need.repo, snapshot)


def _layout(a: Assessment) -> Iterator[Problem]:
    """Yield what is wrong with a pipeline's image and, if its inputs can all be there, with its datums."""
    image = list(_problems_of(lambda: a.image))
    yield from image
    if all(_is_to_be_here(a.project, need.repo) for need in a.pipeline.needs()):
        yield from _problems_of(lambda: a.datums) if image else _planned(a)


def _planned(a: Assessment) -> Iterator[Problem]:
    """Yield what is wrong with the datums and their places, and what of them is certain to collide."""
    try:
        yield from a.quick_plan().problems
    except UserError as error:
        yield from error.problems


def _is_to_be_here(project: Project, repo: str) -> bool:
    """Return whether a repo can be looked at, or should be.

    Not one that is missing, nor a pipeline without any output yet.
    """
    if repo in project.holders:
        return True
    pipelines = {place.path for place in project.places}
    there = is_dataset(project.root / repo)  # one that isn't registered is said to be that
    return (there and repo in pipelines) or (repo in project.repos and (there or repo not in pipelines))


def _problems_of(look: Callable[[], object]) -> Iterator[Problem]:
    """Yield what a look at something finds wrong."""
    try:
        look()
    except UserError as error:
        yield from error.problems


def sound_targets(
    project: Project, words: Sequence[str], *, upstream: bool = False, downstream: bool = True
) -> Targets:
    """Return targets as `parse_targets` does, for a run; UserError if one, or what is upstream of it, has a problem."""
    targets = parse_targets(project, words, upstream=upstream, downstream=downstream)
    problems = [
        *project.trouble(targets.order),
        *(p for path in targets.named for p in _trouble(project, path, targets)),
    ]
    if problems:
        # a branch or image that isn't there would stop only its own pipeline; that one is none of those to name
        glance = at_a_glance(project, project.upstream_of(targets.order))
        problems += [problem for found in glance.values() for problem in found]
        sound = [
            path
            for path in targets.order
            if path in targets.named
            and not _trouble(project, path, targets)
            and not any(glance[up] for up in project.upstream_of([path]))
        ]
        options = (" --upstream" if upstream else "", " --no-downstream" if not downstream else "")
        raise UserError([*each_once(problems), *_others(project, targets, sound, *options)])
    return targets


def _trouble(project: Project, path: str, targets: Targets) -> tuple[Problem, ...]:
    """Return what keeps a pipeline from being run.

    Also that what it takes from, and wouldn't be run before, never ran.
    """
    return project.trouble([path]) or project.lacks(path, but=targets.order)


def _others(project: Project, targets: Targets, sound: list[str], upstream: str, alone: str) -> list[Problem]:
    """Return how to continue with those named that have no part in the problems, if there are any."""
    if not sound:
        return []
    if not alone and project.trouble(project.downstream(sound)):
        alone = " --no-downstream"
    if not alone:  # what comes after another one needn't be named
        sound = [path for path in sound if not set(project.upstream_of([path])) & (set(sound) - {path})]
    words = [word for path in sound[:NAMED] for word in _words(project, targets, path)]
    more = " ..." if len(sound) > NAMED else ""
    others = f"to run the others, minipach schedule {shlex.join(words)}{more}{upstream}{alone}"
    return [Problem("schedule.nothing-done", "", "nothing was done", others)]


def _words(project: Project, targets: Targets, path: str) -> list[str]:
    name = project.name_of(path)
    return [f"{name}:{pattern}" for pattern in targets.patterns.get(path, ())] or [name]
