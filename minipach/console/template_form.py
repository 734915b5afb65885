"""The parameters of a template in the form of a new pipeline, made from the template's JSON Schema.

The spec is rendered from the values. What somebody has changed in its text meanwhile is merged with a new rendering.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.validation import InvalidError, parse_object
from minipach.templates import library
from minipach.templates.draft import Draft, to_yaml
from minipach.templates.parameters import Schema, value_of_text
from minipach.templates.update import three_way

LIBRARY = "library:"  # before the name of a template that is no pipeline of the project
_PREFIX = "p."


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field of the form. value: what it shows · default: what an empty field means."""

    name: str
    kind: str
    description: str
    options: tuple[str, ...]
    default: str
    value: str
    is_required: bool


@dataclass(frozen=True, slots=True)
class Filled:
    """A template with values. text: of the spec that was sent, with what the values have changed."""

    draft: Draft
    text: str
    values: Mapping[str, Any]


def is_of_library(template: str) -> bool:
    """Return whether a template has a description with parameters."""
    return template.startswith(LIBRARY)


def first_repo(project: Project, repo: str) -> str:
    """Return the repo that a template's inputs begin with: a given one, else the first that is no pipeline."""
    if repo in (*project.repos, *project.order):
        return repo
    return next((one for one in project.repos if one not in project.order), "")


def draft_of(project: Project, template: str, path: str, values: Mapping[str, Any], repo: str = "") -> Draft:
    """Return the pipeline that a template makes, with its files. Raises UserError."""
    first = first_repo(project, repo)
    try:
        return library.render(project, template.removeprefix(LIBRARY), path, values, [first] if first else [])
    except UserError as error:
        raise UserError([_in_form(problem) for problem in error.problems]) from None


def _in_form(problem: Problem) -> Problem:
    """Return a problem with an option of the command line as one with a field of the form."""
    if not problem.location.startswith("--set"):
        return problem
    return replace(problem, location=problem.location.replace("--set", "parameter", 1))


def filled(project: Project, given: Mapping[str, str], path: str) -> Filled:
    """Return the template of a form that was sent. Raises UserError if a value does not fit.

    The text keeps what was changed by hand. If one line was changed both by hand and by a value, the value is refused.
    """
    template, repo, text = (given.get(name, "") for name in ("template", "repo", "text"))
    before = values_before(given)
    now = values_given(project, template, given)
    draft = draft_of(project, template, path, now, repo)
    if now == before:
        return Filled(draft, text, now)
    ours = text.replace("\r\n", "\n")
    old = to_yaml(draft_of(project, template, path, before, repo))
    merged, is_clean = three_way(ours.encode(), old.encode(), to_yaml(draft).encode())
    if not is_clean:
        name = next((name for name in {**before, **now} if before.get(name) != now.get(name)), "")
        message = "the YAML was changed by hand where this value is"
        raise UserError(Problem("compose.changed", f"parameter {name}", message, "change the YAML there, too"))
    return Filled(draft, merged.decode(), now)


def values_before(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that the text of a form was rendered from."""
    try:
        return dict(parse_object(given.get("values", "") or "{}"))
    except InvalidError:
        return {}


def values_given(project: Project, template: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the fields that somebody has filled; an empty field means the default."""
    found = {}
    for name, schema in _properties(project, template).items():
        text = given.get(f"{_PREFIX}{name}", "").strip()
        if text:
            found[name] = value_of_text(", ".join(text.split("\n")) if "array" in _types(schema) else text, schema)
    return found


def parameters(
    project: Project, template: str, values: Mapping[str, Any], given: Mapping[str, str]
) -> Sequence[Parameter]:
    """Return the fields of a template, with the texts that were sent, else its values."""
    required = library.describe(template.removeprefix(LIBRARY), project).parameters.get("required", ())
    found = []
    for name, schema in _properties(project, template).items():
        shown = given.get(f"{_PREFIX}{name}", _text(values.get(name)))
        options = tuple(_text(one) for one in schema.get("enum", ()) if one is not None)
        kind = "number" if {"integer", "number"} & set(_types(schema)) else "text"
        if "boolean" in _types(schema):
            options = options or ("true", "false")
        default = _text(schema.get("default"))
        kind = "choice" if options else kind
        about = str(schema.get("description", ""))
        found.append(Parameter(name, kind, about, options, default, shown, name in required))
    return found


def as_values(values: Mapping[str, Any]) -> str:
    """Return values as the form keeps them."""
    return json.dumps(values, sort_keys=True, ensure_ascii=True)


def _properties(project: Project, template: str) -> Mapping[str, Schema]:
    found: Mapping[str, Schema] = library.describe(template.removeprefix(LIBRARY), project).parameters.get(
        "properties", {}
    )
    return found


def _types(schema: Schema) -> Sequence[str]:
    kinds = schema.get("type", ())
    return kinds if isinstance(kinds, list) else (str(kinds),)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
