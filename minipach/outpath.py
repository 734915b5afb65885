"""The template `minipach.out`: where a datum's /pfs/out lands in the pipeline's repo. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from minipach.datum import Datum, Match
from minipach.errors import UserError
from minipach.glob import GlobError, compile_glob
from minipach.snapshot import reserved_in_pipeline
from minipach.spec import Combination, Input, PfsInput

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_NUMBER = re.compile(r"[1-9][0-9]*")
_VIEWS = ("stem", "name", "dir", "ext")  # of {INPUT.stem} and so on
_ROOT = "root"  # what the datum "/" is called in a path


@dataclass(frozen=True, slots=True)
class _Field:
    """A placeholder, without its braces."""

    text: str


_Part = tuple[_Field | str, ...]  # a template's piece between two slashes


class _TemplateError(ValueError):
    """The template itself is wrong; the text is `problem; way out`."""


def _pfs_inputs(node: Input) -> Iterator[PfsInput]:
    """The pfs inputs in an input, depth first."""
    if isinstance(node, Combination):
        for member in node.members:
            yield from _pfs_inputs(member)
    else:
        yield node


def out_path(template: str, datum: Datum) -> str:
    """The folder for a datum's output: "" for the repo's root, else like `a/b`.

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
            values = [_value(piece.text, datum) if isinstance(piece, _Field) else piece for piece in part]
            text = "".join(values)
            if text or not _may_vanish(part):
                found += text.split("/")
        problem = _path_problem(found)
        if problem:
            raise _TemplateError(f"{problem}; choose another template")
    except _TemplateError as error:
        raise UserError(f'datum "{datum.name}": out "{template}": {error}') from None
    return "/".join(found)


def check_out_template(template: str, input: Input) -> str | None:
    """What is wrong with a template for this input, as `problem; way out`, or None."""
    try:
        parts = _parse(template)
        for part in parts:
            for piece in part:
                if isinstance(piece, _Field):
                    _check_field(piece.text, input)
        if parts and not any(isinstance(piece, _Field) for piece in parts[0]):
            first = "".join(str(piece) for piece in parts[0])
            problem = _path_problem([first])
            if problem:
                raise _TemplateError(f"{problem}; choose another folder")
    except _TemplateError as error:
        return str(error)
    return None


@lru_cache(maxsize=64)
def _parse(template: str) -> tuple[_Part, ...]:
    """The parts between the slashes; one slash at either end and parts `.` mean nothing."""
    parts: list[list[_Field | str]] = [[]]
    for token in _TOKEN.finditer(template):
        text = token.group()
        if text in ("{", "}"):
            where = token.start() + 1
            raise _TemplateError(f"a single {text} at column {where}; write {text * 2} for the brace itself")
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
        raise _TemplateError("nothing between two slashes; write one slash")
    if [".."] in parts:
        raise _TemplateError('".." leads out of the repo; write a path below its root')
    return tuple(tuple(part) for part in parts if part != ["."])


def _may_vanish(part: _Part) -> bool:
    """A `{INPUT.dir}` that stands alone: the folder of a file at the root is no part of a path."""
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


def _value(field: str, datum: Datum) -> str:
    if field == "name":
        return _safe_name(datum)
    if field == "key":
        if datum.key is None:
            raise _TemplateError("{key}: this datum has no join or group key; use {name}")
        return datum.key
    if _NUMBER.fullmatch(field):
        number = int(field)
        names = [m.input for m in datum.matches if len(m.captures) >= number]
        if not names:
            raise _TemplateError(f"{{{field}}}: none of its inputs has {number} captures; use {{name}}")
        return _of_input(min(names), field, field, datum)
    name, view = _split(field, {m.input for m in datum.matches})
    return _of_input(name, view, field, datum)


def _split(field: str, known: set[str]) -> tuple[str, str]:
    """The input's name and the view of it that is asked for ("": the path)."""
    if field in known:
        return field, ""
    name, _, view = field.rpartition(".")
    return (name, view) if name else (field, "")


def _of_input(name: str, view: str, field: str, datum: Datum) -> str:
    """The value that all matches of an input agree on."""
    values = {_view(match, view) for match in datum.matches if match.input == name}
    if not values:
        raise _TemplateError(f'{{{field}}}: this datum has nothing of the input "{name}"; use {{name}}')
    if len(values) > 1:
        raise _TemplateError(f"{{{field}}} has {len(values)} values in this datum; use {{key}} or {{name}}")
    value = values.pop()
    if value is None:
        views = ", ".join(_VIEWS)
        raise _TemplateError(f'{{{field}}}: no such part of the input "{name}"; use {views} or a capture')
    return value


def _view(match: Match, view: str) -> str | None:
    path = match.path.strip("/") or _ROOT
    folder, _, last = path.rpartition("/")
    stem = _stem(last)
    views = {"": path, "name": last, "dir": folder, "stem": stem, "ext": last[len(stem) :]}
    if view.isdecimal():
        number = int(view)
        return match.captures[number - 1] if 0 < number <= len(match.captures) else None
    return views.get(view)


def _stem(name: str) -> str:
    """A file's name without all its suffixes: `a` of `a.nii.gz`, `.profile` of `.profile`."""
    dots = len(name) - len(name.lstrip("."))
    end = name.find(".", dots)
    return name if end < 0 or dots == len(name) else name[:end]


def _safe_name(datum: Datum) -> str:
    """The datum's name, with a matched root called `root`: `/~a` can't be a path."""
    if "/" not in [match.path for match in datum.matches]:
        return datum.name
    return "~".join(_ROOT if part == "/" else part for part in datum.name.split("~"))


def _check_field(field: str, input: Input) -> None:
    inputs = list(_pfs_inputs(input))
    if field == "name":
        return
    if field == "key":
        if not _has_key(input):
            raise _TemplateError("{key} needs a join or a group as the input; use {name}")
        return
    if _NUMBER.fullmatch(field):
        if not any(_captures(node) >= int(field) for node in inputs):
            raise _TemplateError(f"{{{field}}}: no glob here has {field} captures; put ( ) around a part")
        return
    name, view = _split(field, {node.name for node in inputs})
    named = [node for node in inputs if node.name == name]
    if not named:
        known = ", ".join(dict.fromkeys(f"{{{node.name}}}" for node in inputs))
        example = f"{{{inputs[0].name}.stem}}"
        raise _TemplateError(f"{{{field}}} is unknown; use {{name}}, {{key}}, {{1}}, {known} or {example}")
    if _NUMBER.fullmatch(view):
        if not any(_captures(node) >= int(view) for node in named):
            raise _TemplateError(f"{{{field}}}: that glob has fewer captures; put ( ) around a part of it")
    elif view and view not in _VIEWS:
        views = ", ".join(_VIEWS)
        raise _TemplateError(f"{{{field}}}: no such part of an input; use {views} or a capture's number")


def _has_key(node: Input) -> bool:
    if not isinstance(node, Combination):
        return False
    return node.kind in ("join", "group") or (node.kind == "union" and all(map(_has_key, node.members)))


def _captures(node: PfsInput) -> int:
    try:
        return compile_glob(node.glob).groups
    except GlobError:  # reported where the glob is; one mistake, one message
        return 1000
