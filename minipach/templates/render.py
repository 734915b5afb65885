"""The pipeline that a template makes with given values. Values replace scalars of the spec's YAML, never its text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from minipach.model.repo_layout import SPEC, TEMPLATE_RECORD
from minipach.spec.yaml_reader import read_yaml
from minipach.support.errors import Problem, UserError, each_once
from minipach.support.text import printable, suggest
from minipach.templates.draft import Draft, DraftFile
from minipach.templates.parameters import checked_values
from minipach.templates.template import Template, plain_data

_MARK = re.compile(r"<<([A-Za-z][A-Za-z0-9_.-]*)>>")
_WIDTH = 10**6  # characters: no value is folded


@dataclass(frozen=True, slots=True)
class InputValue:
    """A repo that a user names for an input of a template, and a glob in it."""

    repo: str
    glob: str


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: str


def rendered(
    template: Template, pipeline: str, values: Mapping[str, Any], inputs: Mapping[str, InputValue]
) -> tuple[str, dict[str, Any]]:
    """Return the text of the spec, and the values of all parameters.

    Args:
        template: The template.
        pipeline: The name of the new pipeline.
        values: Values of parameters, as JSON has them.
        inputs: The repo and glob of each input, by the input's name.

    Raises:
        UserError: A value does not fit, or the template's spec has an error.
    """
    found = checked_values(template.parameters, values, template.name)
    names: dict[str, Any] = {"pipeline": pipeline, **found}
    for name, one in inputs.items():
        names[f"{name}.repo"] = one.repo
        names[f"{name}.glob"] = one.glob if one.glob.startswith("/") else f"/{one.glob}"
    return filled(template.spec, names, f"{template.name}/{SPEC}"), found


def filled(text: str, names: Mapping[str, Any], where: str) -> str:
    """Return the text of a spec with values for its marks `<<NAME>>`. Comments and layout stay.

    A scalar that is one mark becomes the value itself; without a value (None) its line is left out. A list in a list
    becomes items of that. In other text a mark becomes the text of the value.

    Raises:
        UserError: The text is no YAML, or names something unknown.
    """
    document = read_yaml(text)
    wrong = [(mark, problem) for mark, problem in document.problems if problem.code != "spec.no-value"]
    if wrong:
        raise UserError(each_once(p.within(f"{where}:{mark.line}:{mark.column}") for mark, p in wrong))
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if getattr(event, "anchor", None):
            raise _bad(where, event.start_mark, "an anchor", "write the value again")
    edits = _Filling(text, names, where).edits(node, flow=False)
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def as_draft(
    template: Template,
    pipeline: str,
    values: Mapping[str, Any],
    inputs: Mapping[str, InputValue],
    more: Mapping[str, Any],
) -> Draft:
    """Return the draft of a pipeline from a template, with the record that an update needs. more: for the record."""
    text, found = rendered(template, pipeline, values, inputs)
    document = read_yaml(text)
    files = tuple(DraftFile(path, file.content, file.executable) for path, file in sorted(template.code.items()))
    head = f"# made by minipach new, from the template {template.name} {template.version}\n"
    draft = Draft(plain_data(document.data), files=files, origin=template.name, text=head + text)
    given = {name: value for name, value in found.items() if name in values}
    record = {
        "schema": 1,
        "template": template.name,
        "version": template.version,
        "digest": template.digest,
        "values": given,
        "inputs": {name: f"{one.repo}:{one.glob}" for name, one in inputs.items()},
        **more,
        "files": {SPEC: draft.text, **{file.path: file.content.decode("utf-8", "surrogateescape") for file in files}},
    }
    content = (json.dumps(record, indent=1, ensure_ascii=True) + "\n").encode()
    return Draft(draft.spec, files=(*files, DraftFile(TEMPLATE_RECORD, content)), origin=template.name, text=draft.text)


@dataclass(frozen=True, slots=True)
class _Filling:
    """The text of a spec, the values of its marks, and what it is called in messages."""

    text: str
    names: Mapping[str, Any]
    where: str

    def edits(self, node: yaml.Node | None, *, flow: bool) -> Iterator[_Edit]:
        """Yield the changes of the text. flow: whether brackets or braces are around the node."""
        flow = flow or bool(getattr(node, "flow_style", False))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if _MARK.search(str(key.value)):
                    raise self._bad(key, "a mark in a key", "put it into a value")
                if self._vanishes(value):
                    yield self._without_lines(key, value, flow=flow)
                else:
                    yield from self.edits(value, flow=flow)
        elif isinstance(node, yaml.SequenceNode):
            before: yaml.Node | None = None
            for item in node.value:
                mark = _MARK.fullmatch(item.value) if isinstance(item, yaml.ScalarNode) else None
                if mark and isinstance(self.names.get(mark[1]), list):
                    yield self._items(item, before, self.names[mark[1]], flow=flow)
                elif self._vanishes(item):
                    yield self._items(item, before, [], flow=flow)
                else:
                    yield from self.edits(item, flow=flow)
                before = item
        elif isinstance(node, yaml.ScalarNode) and _MARK.search(node.value):
            yield self._replaced(node)

    def _replaced(self, node: yaml.ScalarNode) -> _Edit:
        for name in _MARK.findall(node.value):
            if name not in self.names:
                raise self._bad(node, f'unknown name "{name}"', suggest(name, self.names))
        whole = _MARK.fullmatch(node.value)
        value = self.names[whole[1]] if whole else _MARK.sub(lambda hit: _text(self.names[hit[1]]), node.value)
        line_end = "\n" if node.style in ("|", ">") else ""
        return _Edit(node.start_mark.index, node.end_mark.index, _scalar(value) + line_end)

    def _vanishes(self, node: yaml.Node) -> bool:
        """Return whether a value is left out: a mark without a value, or a mapping of nothing but such."""
        if isinstance(node, yaml.ScalarNode):
            mark = _MARK.fullmatch(node.value)
            return bool(mark and mark[1] in self.names and self.names[mark[1]] is None)
        if isinstance(node, yaml.MappingNode):
            return bool(node.value) and all(self._vanishes(value) for _, value in node.value)
        return False

    def _without_lines(self, first: yaml.Node, value: yaml.Node, *, flow: bool) -> _Edit:
        """Return the edit that leaves out the lines of a value, and the comment lines above them."""
        text, at, last = self.text, first.start_mark.index, _last(value).end_mark.index
        start = text.rfind("\n", 0, at) + 1
        end = text.find("\n", last)
        end = len(text) if end < 0 else end + 1
        alone = re.fullmatch(r" *(- +)?" if first is value else r" *", text[start:at])
        if flow or not alone or not re.fullmatch(r" *(#.*)?\n?", text[last:end]):
            message = "a value that may be missing, beside others"
            raise self._bad(value, message, "write it on a line of its own")
        while start and text[(above := text.rfind("\n", 0, start - 1) + 1) : start].lstrip().startswith("#"):
            start = above
        return _Edit(start, end, "")

    def _items(self, item: yaml.Node, before: yaml.Node | None, values: list[Any], *, flow: bool) -> _Edit:
        """Return the edit that puts the items of a list in the place of one item."""
        start, end = item.start_mark.index, item.end_mark.index
        if not values and not flow:
            return self._without_lines(item, item, flow=flow)
        if not values:
            if before is None:
                raise self._bad(item, "a list that may be empty, in first place", "put it behind another item")
            return _Edit(_last(before).end_mark.index, end, "")
        glue = ", " if flow else "\n" + " " * (item.start_mark.column - 2) + "- "
        return _Edit(start, end, glue.join(map(_scalar, values)))

    def _bad(self, node: yaml.Node, message: str, fix: str) -> UserError:
        return _bad(self.where, node.start_mark, message, fix)


def _last(node: yaml.Node) -> yaml.Node:
    """Return the last scalar of a node: a block ends only where the next one begins."""
    if getattr(node, "flow_style", False) or isinstance(node, yaml.ScalarNode) or not node.value:
        return node
    below = node.value[-1]
    return _last(below[1] if isinstance(below, tuple) else below)


def _scalar(value: Any) -> str:
    """Return a value as YAML that is right in any place, on one line."""
    if isinstance(value, str) and not all(c.isprintable() for c in value):  # PyYAML folds some line breaks
        return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value) + '"'
    dumped = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=_WIDTH)
    return str(dumped).strip()[1:-1]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return "" if value is None else str(value)


def _bad(where: str, mark: Any, message: str, fix: str) -> UserError:
    return UserError(Problem("template.bad", f"{where}:{mark.line + 1}:{mark.column + 1}", printable(message), fix))
