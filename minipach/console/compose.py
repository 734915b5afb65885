"""The form of a spec, made from its JSON Schema, beside the YAML; below, what each datum would do.

The form changes the YAML, and the YAML fills the form: each request has the text as it was shown (`before`), so that
only what somebody has changed in the form is written into the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from minipach.console import template_form
from minipach.project.project import Project
from minipach.spec.load import json_schema
from minipach.spec.yaml_reader import Null, Number
from minipach.support.errors import Problem, UserError
from minipach.templates import library
from minipach.templates.draft import to_yaml
from minipach.templates.edit import (
    NEW,
    Saved,
    SpecText,
    committed_spec,
    input_of,
    inputs_in,
    name_for,
    new_spec,
    read_values,
    save_spec,
    save_template,
    with_values,
)
from minipach.views.datum_table import STATES, DatumRow, by_reason

_MAPS = ("transform", "resource_requests", "resource_limits", "parallelism_spec", "datum_set_spec", "minipach")
_FIRST = ("description", "transform.image", "transform.cmd", "transform.stdin")
_ROW = ("repo", "glob", "name", "branch", "join_on", "group_by")
_NAMED = 200  # datums that are listed
_ROWS = 20  # inputs of a form
_KINDS = ("", "cross", "union", "join", "group")
_NOT_HERE = ("Not supported", "Ignored", "Accepted")
BLANK = """\
# What the pipeline does, for people.
description: ""
input:
  pfs: {repo: %s, glob: "/*"}
transform:
  cmd: [sh, -c, 'wc -c "$%s" >"$PFS/out/size.txt"']
"""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the form. kind: `text`, `lines`, `number`, `flag` or `choice`."""

    path: str
    kind: str
    description: str
    options: tuple[str, ...] = ()
    default: str = ""


@cache
def fields() -> tuple[Field, ...]:
    """Return the fields that a form can have: the plain values of a spec, and lists of texts."""
    schema = json_schema()
    found = [*_fields(schema, schema, "")]
    for name in _MAPS:
        below = _resolved(schema, schema["properties"][name])
        found += _fields(schema, below, f"{name}.")
    known = {field.path: field for field in found}
    first = [known[path] for path in _FIRST if path in known]
    return tuple(first + [field for field in found if field.path not in _FIRST])


def _resolved(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    return part


def _fields(schema: Mapping[str, Any], part: Mapping[str, Any], prefix: str) -> Iterator[Field]:
    for name, about in part.get("properties", {}).items():
        description = str(about.get("description", ""))
        if name != name.lower() or description.startswith(_NOT_HERE):
            continue
        kind, options = _kind(_resolved(schema, about))
        if kind:
            default = about.get("default", "")
            text = str(default).lower() if isinstance(default, bool) else str(default) if default else ""
            yield Field(f"{prefix}{name}", kind, description, options, text if kind != "lines" else "")


def _kind(about: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the kind of a field for a part of the schema; "" if it is no plain value."""
    if "enum" in about:
        options = about["enum"]
        return ("choice", tuple(options)) if all(isinstance(one, str) for one in options) else ("", ())
    options = about.get("anyOf", [about])
    types: set[str] = set()
    for one in options:
        types |= {one["type"]} if isinstance(one.get("type"), str) else set(one.get("type", ()))
    items = [one.get("items", {}) for one in options if one.get("type") == "array"]
    if items and all(_kind(item)[0] in ("text", "choice") for item in items):
        return "lines", ()
    if items or "object" in types or not types:
        return "", ()
    if types == {"boolean"}:
        return "flag", ()
    return ("number" if types <= {"integer", "number"} else "text"), ()


# --- between form and text ---


def form_of(text: str) -> dict[str, str]:
    """Return the values of a form that a spec fills; nothing that it does not have."""
    data = read_values(text)
    if data is None:
        return {}
    found: dict[str, str] = {}
    for field in fields():
        value: Any = data
        for word in field.path.split("."):
            value = value.get(word, value.get(_camel(word))) if isinstance(value, Mapping) else None
        if (shown := _shown(value, field.kind)) is not None:
            found[f"f.{field.path}"] = shown
    known = inputs_in(data)
    if known is not None:
        found["i.kind"] = known[0]
        for number, row in enumerate(known[1][:_ROWS]):
            found |= {f"i.{number}.{name}": value for name, value in row.items()}
    return found


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _shown(value: Any, kind: str) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Number):
        return value.text
    if value is None or isinstance(value, Null | Mapping):
        return None
    if isinstance(value, list):
        lines = [_shown(one, "text") for one in value]
        return "\n".join(line for line in lines if line is not None) if kind == "lines" and None not in lines else None
    return str(value)


def is_flat(text: str) -> bool:
    """Return whether the inputs of a spec are ones that the form has."""
    data = read_values(text)
    return data is not None and inputs_in(data) is not None


def merged(given: Mapping[str, str]) -> str:
    """Return the text of a form's YAML with what somebody has changed in the form. Raises UserError."""
    text, before = _lines(given.get("text", "")), _lines(given.get("before", ""))
    shown = form_of(before)
    values: dict[str, Any] = {}
    for field in fields():
        name = f"f.{field.path}"
        now = _lines(given.get(name, "")).rstrip("\n") if field.kind == "lines" else given.get(name, "").strip()
        if name in given and now != shown.get(name, "").rstrip("\n"):
            values[field.path] = _value(field, now)
    if "i.kind" in given:
        rows, kept = _rows(given), _rows(shown)
        if rows != kept or given["i.kind"] != shown.get("i.kind", ""):
            values["input"] = input_of(given["i.kind"], rows) if rows else None
    return with_values(text, values)


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _value(field: Field, text: str) -> Any:
    if not text:
        return None
    if field.kind == "lines":
        return text.split("\n")
    if field.kind == "flag":
        return text == "true"
    if field.kind == "number" and re.fullmatch(r"-?[0-9]{1,15}", text):
        return int(text)
    return text


def _rows(given: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the inputs of a form; a row without a repo is none."""
    found = []
    for number in range(_ROWS):
        prefix = f"i.{number}."
        row = {name.removeprefix(prefix): value.strip() for name, value in given.items() if name.startswith(prefix)}
        row = {name: value for name, value in row.items() if value}
        if row.get("repo"):
            found.append({"glob": "/*", **row} if "glob" not in row else row)
    return [dict(sorted(row.items(), key=_order)) for row in found]


def _order(pair: tuple[str, str]) -> tuple[int, str]:
    return (_ROW.index(pair[0]) if pair[0] in _ROW else len(_ROW)), pair[0]


# --- the page ---


def opened(project: Project, given: Mapping[str, str]) -> SpecText:
    """Return the spec that a form is opened with: that of a pipeline, or a template. Raises UserError."""
    if given.get("pipeline"):
        return committed_spec(project, project.path_of(given["pipeline"]))
    template = given.get("template", "")
    path = given.get("path") or name_for(project)
    return new_spec(project, path, template_text(project, template, path, given.get("repo", "")))


def given_spec(project: Project, given: Mapping[str, str]) -> SpecText:
    """Return the spec of a form that was sent. Raises UserError."""
    path, base = given.get("path", ""), given.get("base", "")
    if base == NEW and template_form.is_of_library(given.get("template", "")):
        given = {**given, "text": template_form.filled(project, given, path).text}
    text = merged(given)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(Problem("spec.not-utf8", "spec", "not UTF-8 text")) from None
    if base == NEW:
        return new_spec(project, path, text)
    return replace(committed_spec(project, project.path_of(path)), text=text, base=base)


def templates(project: Project) -> list[tuple[str, str]]:
    """Return the templates: name, and what it is. Those of the library come before the project's own pipelines."""
    found = [("", "a command to be replaced")]
    for one in library.available(project):
        if not one.problems:
            found.append((f"{template_form.LIBRARY}{one.name}", f"{one.name}: {one.summary}"))
    return [*found, *((path, f"like {project.name_of(path)}") for path in sorted(project.pipelines))]


def template_text(project: Project, name: str, path: str, repo: str = "") -> str:
    """Return the text of a template for a new pipeline. Raises UserError."""
    if template_form.is_of_library(name):
        return to_yaml(template_form.draft_of(project, name, path, {}, repo))
    if not name:
        data = [one for one in project.repos if one not in project.order]
        first = repo if repo in (*data, *project.order) else data[0] if data else "REPO"
        return BLANK % (first, first.rpartition("/")[2])
    if name not in project.pipelines:
        raise UserError(Problem("compose.no-template", name, "no such template", "choose one of the list"))
    return committed_spec(project, name).text


def saved(project: Project, spec: SpecText, given: Mapping[str, str]) -> Saved:
    """Commit the spec of a form; with the files of its template, if it is a new one. Raises UserError."""
    message, branch, template = (given.get(name, "") for name in ("message", "branch", "template"))
    if spec.base != NEW or not template_form.is_of_library(template):
        return save_spec(project, spec, message, branch)
    return save_template(project, spec, template_form.filled(project, given, spec.path).draft, message, branch)


def effects(steps: Sequence[Any]) -> dict[str, Any]:
    """Return what datums would do: their number by action and reason, and the first of each."""
    states = {"run": "to run", "skip": "skipped"}
    rows = [DatumRow(s.name, s.id, s.action, states.get(s.action, s.action), s.reason, s.reason) for s in steps]
    groups = [
        {"state": state, "reason": reason, "datums": len(names), "first": names[:5]}
        for (state, reason), names in list(by_reason(rows).items())[:50]
    ]
    current = sum(row.state == "current" for row in rows)
    order = sorted(rows, key=lambda row: STATES.index(row.state))[:_NAMED]
    named = [{"name": row.name, "state": row.state, "reason": row.reason} for row in order]
    counts = {state: n for state in STATES if state != "current" and (n := sum(row.state == state for row in rows))}
    return {"groups": groups, "current": current, "all": len(rows), "counts": counts, "datums": named}


def shown_rows(form: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the rows of inputs that a form shows: those that there are, and an empty one."""
    rows = [{name: form.get(f"i.{number}.{name}", "") for name in _ROW} for number in range(_ROWS)]
    known = [row for row in rows if row["repo"]]
    return [*known, dict.fromkeys(_ROW, "")][:_ROWS]


def kinds() -> tuple[str, ...]:
    """Return the ways to combine inputs."""
    return _KINDS


def groups() -> list[tuple[str, list[Field]]]:
    """Return the fields by the part of the spec that they are in: the most frequent ones, then the others."""
    first = [field for field in fields() if field.path in _FIRST]
    found = [("Most used", first), ("Running", [f for f in fields() if "." not in f.path and f not in first])]
    for name in _MAPS:
        found.append((name, [f for f in fields() if f.path.startswith(f"{name}.") and f not in first]))
    return [(title, group) for title, group in found if group]


def extras(form: Mapping[str, str]) -> list[dict[str, str]]:
    """Return what inputs have besides the fields of their rows, which is kept as it is."""
    found: list[dict[str, str]] = [{} for _ in range(_ROWS)]
    for name, value in form.items():
        words = name.split(".", 2)
        if len(words) == 3 and words[0] == "i" and words[1].isdecimal() and words[2] not in _ROW:
            found[int(words[1])][words[2]] = value
    return found
