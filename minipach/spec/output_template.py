"""The template `minipach.out`: where a datum's /pfs/out lands in the pipeline's repo. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from minipach.model.datum import Datum
from minipach.model.pipeline import Input
from minipach.model.repo_layout import reserved_in_pipeline
from minipach.spec.placeholder import TemplateError, check_field, value_of
from minipach.support.errors import Problem, UserError

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


@dataclass(frozen=True, slots=True)
class _Field:
    """A placeholder, without its braces."""

    text: str


_Part = tuple[_Field | str, ...]  # a template's piece between two slashes


def out_path(template: str, datum: Datum) -> str:
    """Return the folder for a datum's output: "" for the repo's root, else like `a/b`.

    Placeholders: `{name}` the datum's name, `{key}` its join or group key, `{1}` a capture (of the first by
    name of the inputs that have so many), `{INPUT}` the matched path, `{INPUT.name}` its last part,
    `{INPUT.stem}` and `{INPUT.ext}` that part up to its suffixes and the suffixes (`a` and `.nii.gz`),
    `{INPUT.dir}` the path of its folder (dropped where it stands alone and is empty), `{INPUT.1}` a capture;
    `{{` and `}}` are braces. The root is called `root`.
    A UserError names the datum if its values don't make a path, or one at a reserved name.
    """
    try:
        parts = _parse(template)
        if not parts:
            return ""
        found: list[str] = []
        for part in parts:
            values = [value_of(piece.text, datum) if isinstance(piece, _Field) else piece for piece in part]
            text = "".join(values)
            if text or not _may_vanish(part):
                found += text.split("/")
        problem = _path_problem(found)
        if problem:
            raise TemplateError(problem, "choose another template")
    except TemplateError as error:
        raise UserError(
            Problem("datum.bad-output-template", f'datum "{datum.name}"', f'out "{template}": {error}', error.fix)
        ) from None
    return "/".join(found)


def check_out_template(template: str, input: Input) -> tuple[str, str] | None:
    """Return what is wrong with a template for this input, and the fix; None: nothing is."""
    try:
        parts = _parse(template)
        for part in parts:
            for piece in part:
                if isinstance(piece, _Field):
                    check_field(piece.text, input)
        if parts and not any(isinstance(piece, _Field) for piece in parts[0]):
            first = "".join(str(piece) for piece in parts[0])
            problem = _path_problem([first])
            if problem:
                raise TemplateError(problem, "choose another folder")
    except TemplateError as error:
        return error.message, error.fix
    return None


@lru_cache(maxsize=64)
def _parse(template: str) -> tuple[_Part, ...]:
    """Return the parts between the slashes; one slash at either end and parts `.` mean nothing."""
    parts: list[list[_Field | str]] = [[]]
    for token in _TOKEN.finditer(template):
        text = token.group()
        if text in ("{", "}"):
            where = token.start() + 1
            raise TemplateError(f"a single {text} at column {where}", f"write {text * 2} for the brace itself")
        if text in ("{{", "}}"):
            parts[-1].append(text[0])
        elif text.startswith("{"):
            parts[-1].append(_Field(token.group(1)))
        else:
            first, *others = text.split("/")
            if first:
                parts[-1].append(first)
            parts += [[other] if other else [] for other in others]
    if not parts[-1]:
        parts.pop()
    if parts and not parts[0]:
        parts.pop(0)
    if not all(parts):
        raise TemplateError("nothing between two slashes", "write one slash")
    if [".."] in parts:
        raise TemplateError('".." leads out of the repo', "write a path below its root")
    return tuple(tuple(part) for part in parts if part != ["."])


def _may_vanish(part: _Part) -> bool:
    """Return a `{INPUT.dir}` that stands alone: the folder of a file at the root is no part of a path."""
    return len(part) == 1 and isinstance(part[0], _Field) and part[0].text.endswith(".dir")


def _path_problem(parts: list[str]) -> str | None:
    if "" in parts:
        path = "/".join(parts)
        return f'"{path}" has an empty part' if parts[0] else f'"{path}" is no path in the repo'
    if "." in parts or ".." in parts:
        return f'"{"/".join(parts)}" has a part that is "." or ".."'
    if parts and reserved_in_pipeline(parts[0]):
        return f'"{parts[0]}" is reserved at the root of a pipeline\'s repo'
    return None
