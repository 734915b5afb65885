"""Notes on `params.yml`: parameters of no pipeline, and parameters that no template names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from minipach.project.parameters import PARAMETERS, working_parameters
from minipach.project.project import Project
from minipach.project.spec_file import read_text, working_text
from minipach.spec.template import is_used, parameters_in
from minipach.support.errors import Problem, UserError
from minipach.support.text import printable, suggest


def unknown_pipelines(project: Project, *, committed: bool) -> list[Problem]:
    """Return a note for each entry of `params.yml` that is no pipeline. committed: as in `unused_parameters`."""
    known = {place.path for place in project.places}
    names = known | {project.name_of(path) for path in known}
    return [
        Problem(
            "params.unknown-pipeline",
            f"{PARAMETERS}: {printable(str(name))[:80]}",
            "no pipeline has this name",
            suggest(str(name), names),
        )
        for name in _parameters(project, committed=committed)
        if name not in names
    ]


def unused_parameters(project: Project, paths: Iterable[str], *, committed: bool) -> list[Problem]:
    """Return a note for each parameter that `params.yml` gives to one of these pipelines, and that has no effect.

    committed: whether the last commits of `params.yml` and of the specs count; else the working trees.
    """
    found = []
    by_pipeline = _parameters(project, committed=committed)
    for path in paths:
        name = project.name_of(path)
        given = by_pipeline.get(path, by_pipeline.get(name, {}))
        if not isinstance(given, Mapping) or (text := _text(project, path, committed=committed)) is None:
            continue
        named = parameters_in(text)
        for chain in _chains(given):
            if not is_used(chain, named):
                where, shown = f"{PARAMETERS}: {name}.{printable(chain)[:80]}", f"params.{printable(chain)[:80]}"
                fix = suggest(chain, named) or "remove it, or write it into the command"
                found.append(Problem("params.unused", where, f"no template of {name} names {shown}", fix))
    return found


def _parameters(project: Project, *, committed: bool) -> Mapping[str, Any]:
    return (project.parameters if committed else working_parameters(project.root)).by_pipeline


def _text(project: Project, path: str, *, committed: bool) -> str | None:
    """Return the text of a spec; None if it can't be read, which is a problem of its own."""
    place = next((place for place in project.places if place.path == path), None)
    if place is None:
        return None
    folder, source = project.root / path, f"{path}/{place.spec}"
    try:
        text = None if committed else working_text(folder, source)
        return text or read_text(folder, source, project.cache, is_dataset=place.is_dataset)
    except UserError:
        return None


def _chains(given: Mapping[Any, Any], above: str = "") -> Iterator[str]:
    """Yield the names of all values, as templates name them."""
    for key, value in given.items():
        if isinstance(value, Mapping) and value:
            yield from _chains(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"
