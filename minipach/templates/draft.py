"""A draft: the spec and files of a pipeline that does not exist yet, with its guesses and what it leaves out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from minipach.spec.validate import check_inputs, check_secrets, check_shared_code, validate
from minipach.spec.yaml_reader import Document, Loc, Mark, read_yaml
from minipach.support.errors import Problem, UserError, each_once
from minipach.templates.rendered_spec import RenderedFrom

_WIDTH = 10_000  # characters: no value is folded
_ESSENTIAL: tuple[Loc, ...] = ((), ("input",), ("transform",), ("transform", "cmd"))
_STRUCTURE = frozenset({"pfs", "cross", "union", "join", "group", "cron", "repo", "glob"})


@dataclass(frozen=True, slots=True)
class DraftFile:
    """A file of a draft: its path in the pipeline's folder, its content, and whether it is executable."""

    path: str
    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A pipeline to be.

    Args:
        spec: The spec as plain data: mappings, lists, text, numbers and booleans.
        guesses: For a top-level key of the spec, the sentences that say what is a guess.
        files: The files beside the spec.
        left_out: What the source says and the pipeline does not, a sentence each.
        origin: The source in the words of the user, or "".
        text: The text of the spec where it exists as such; "" is written from `spec`.
        rendering: The template and the arguments of a jsonnet spec, for the first line of the spec.
    """

    spec: Mapping[str, Any]
    guesses: Mapping[str, Sequence[str]] = field(default_factory=dict)
    files: tuple[DraftFile, ...] = ()
    left_out: tuple[str, ...] = ()
    origin: str = ""
    text: str = ""
    rendering: RenderedFrom | None = None

    def sentences(self) -> list[str]:
        """Return all guesses, in the order of the spec."""
        return [sentence for key in self.spec for sentence in self.guesses.get(key, ())]


def to_yaml(draft: Draft) -> str:
    """Return the text of the `spec.yml`, with a comment above each key that has a guess."""
    if draft.text:
        return draft.text
    pieces = []
    if draft.origin and draft.rendering is None:
        pieces.append(f"# made by minipach new, from {_one_line(draft.origin)}\n")
    for key, value in draft.spec.items():
        pieces += [f"# guess: {_one_line(sentence)}\n" for sentence in draft.guesses.get(key, ())]
        flow = None if isinstance(value, dict | list) else False  # a leaf in braces, but not the whole spec
        pieces.append(
            yaml.safe_dump({key: value}, sort_keys=False, default_flow_style=flow, allow_unicode=True, width=_WIDTH)
        )
    body = "".join(pieces)
    return draft.rendering.line(body) + body if draft.rendering else body


def without_refused(draft: Draft, folder: str) -> Draft:
    """Return the draft without the fields of its spec that minipach refuses; `left_out` gives the reason of each.

    Raises:
        UserError: What is refused is the input or the command, without which there is no pipeline.
    """
    while True:
        document = _checked(draft)
        if not document.problems:
            return draft
        locs = {
            loc: problem for mark, problem in document.problems if (loc := _at(document, mark, problem)) is not None
        }
        droppable = {loc: problem for loc, problem in locs.items() if _droppable(loc)}
        if not droppable or len(droppable) < len(locs):
            problems = (replace(p, location=f"{draft.origin or folder}: {_dotted(loc)}") for loc, p in locs.items())
            raise UserError(each_once(problems))
        reasons = tuple(f"{_dotted(loc)}: {problem}" for loc, problem in sorted(droppable.items(), key=str))
        spec = json.loads(json.dumps(draft.spec))
        for loc in sorted(droppable, key=lambda loc: (len(loc), str(loc)), reverse=True):
            _remove(spec, loc)
        draft = replace(draft, spec=spec, left_out=(*draft.left_out, *reasons))


def _checked(draft: Draft) -> Document:
    document = read_yaml(to_yaml(draft))
    if document.data is not None:
        validate(document)
        check_inputs(document, Document(places=document.places))
        check_secrets(document, Document(places=document.places))
        check_shared_code(document)
    return document


def _at(document: Document, mark: Mark, problem: Problem) -> Loc | None:
    """Return the deepest reported place that begins at a mark, or the last one before it in its line."""
    found = [
        loc
        for loc in document.reported
        if (place := document.places[loc])
        and (mark in (place.key, place.value) or (place.value.line == mark.line and place.value <= mark))
    ]
    return max(found, key=lambda loc: (document.places[loc].value, len(loc)), default=())


def _droppable(loc: Loc) -> bool:
    return loc not in _ESSENTIAL and loc[-1] not in _STRUCTURE and not isinstance(loc[-1], int)


def _remove(spec: Any, loc: Loc) -> None:
    for part in loc[:-1]:
        spec = spec.get(part) if isinstance(spec, dict) else spec[int(part)] if isinstance(spec, list) else None
    if isinstance(spec, dict):
        spec.pop(loc[-1], None)


def _dotted(loc: Loc) -> str:
    return ".".join(map(str, loc)) or "spec"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
