"""A Pachyderm spec (JSON or YAML) as a draft: its older field names in today's, what has no counterpart left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minipach.model.pipeline import BrokenSpec
from minipach.model.repo_layout import SPEC
from minipach.project.spec_file import decoded
from minipach.spec.load import load_spec
from minipach.spec.yaml_reader import Null, Number, read_yaml
from minipach.support.errors import Problem, UserError, each_once
from minipach.templates.draft import Draft, to_yaml, without_refused
from minipach.templates.jsonnet import evaluated
from minipach.templates.rendered_spec import RenderedFrom

_RENAMED = {"atom": "pfs"}  # of an input
_RENAMED_FIELDS = {
    **dict.fromkeys(("chunk_spec", "chunkSpec"), "datum_set_spec"),
    **dict.fromkeys(("resource_spec", "resourceSpec"), "resource_requests"),
}
_RENAMED_PFS = dict.fromkeys(("lazy_files", "lazyFiles"), "lazy")
_LISTS = ("cross", "union", "join", "group")


def from_pachyderm(file: Path, name: str, arguments: Sequence[str] = ()) -> Draft:
    """Return a draft from a Pachyderm spec.

    Args:
        file: The spec, or the jsonnet template of one, as pachctl takes it.
        name: The name of the new pipeline.
        arguments: Arguments of the template, `KEY=VALUE` each.

    Raises:
        UserError: The file is no spec, or has an input or a command that has no counterpart here.
    """
    source = None
    if file.suffix == ".jsonnet":
        made = evaluated(file, arguments)
        text, source = made.text, RenderedFrom(file.name, made.arguments, {file.name: made.own, **made.imports})
    elif arguments:
        raise UserError(Problem("new.no-arguments", "--arg", f"{file.name} is no jsonnet template", "leave out --arg"))
    else:
        text = decoded(file.read_bytes(), str(file))
    document = read_yaml(text)
    if document.problems or not isinstance(document.data, dict):
        found = (problem.within(f"{file}:{mark.line}:{mark.column}") for mark, problem in document.problems)
        raise UserError(each_once(found) or [Problem("new.no-spec", str(file), "no spec: no mapping")])
    spec = _plain(document.data)
    left_out = []
    named = spec.get("pipeline", {}).get("name") if isinstance(spec.get("pipeline"), dict) else None
    if named and named != name:
        left_out.append(f"pipeline.name: {named}; here the folder names a pipeline")
    pipeline = spec.pop("pipeline", None)
    if isinstance(pipeline, dict) and pipeline.get("project"):
        left_out.append("pipeline.project: a repo is looked up in the project that this pipeline is in")
    spec = _renamed(spec, _RENAMED_FIELDS)
    if "inputs" in spec and "input" not in spec and isinstance(spec["inputs"], list):
        members = [
            {"pfs": {k: v for k, v in _repo(m).items() if k in ("repo", "glob", "branch", "name")}}
            for m in spec.pop("inputs")
        ]
        spec["input"] = members[0] if len(members) == 1 else {"cross": members}
    if isinstance(spec.get("input"), dict):
        spec["input"] = _input(spec["input"])
    order = ("description", "input", "transform")
    spec = {key: spec[key] for key in (*(k for k in order if k in spec), *(k for k in spec if k not in order))}
    draft = Draft(spec, left_out=tuple(left_out), origin=file.name, rendering=source)
    draft = without_refused(draft, name)
    return replace(draft, left_out=(*draft.left_out, *_without_effect(draft, name)))


def _without_effect(draft: Draft, name: str) -> list[str]:
    """Return a sentence for each field that stays in the spec and changes nothing here."""
    try:
        notes = load_spec(to_yaml(draft), source=SPEC, folder=name).notes
    except BrokenSpec:
        return []  # reported when the draft is checked
    return [f"{note.message} (it stays in the spec)" for note in notes]


def _renamed(spec: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Return a mapping with today's names of keys, where these are free."""
    found = {}
    for key, value in spec.items():
        new = names.get(key, key)
        found[key if new in spec else new] = value
    return found


def _plain(value: Any) -> Any:
    """Return data as read with numbers instead of their text, and without the keys that have no value."""
    if isinstance(value, Number):
        try:
            return int(value.text)
        except ValueError:
            return float(value.text)
    if isinstance(value, dict):
        return {str(key): _plain(v) for key, v in value.items() if not isinstance(v, Null) and v is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value if not isinstance(item, Null)]
    return value


def _input(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    found = _renamed(node, _RENAMED)
    if isinstance(found.get("pfs"), dict):
        found["pfs"] = _renamed(found["pfs"], _RENAMED_PFS)
    for kind in _LISTS:
        if isinstance(found.get(kind), list):
            found[kind] = [_input(member) for member in found[kind]]
    return found


def _repo(member: Any) -> dict[str, Any]:
    """Return an entry of `inputs` of Pachyderm 1.6, whose repo may be an object with a name."""
    found = dict(member) if isinstance(member, dict) else {}
    if isinstance(repo := found.get("repo"), dict):
        found["repo"] = repo.get("name", "")
    return found
