"""YAML (and so JSON) text as plain data, with the line and column of every key and value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from minipach.support.errors import Problem

Loc = tuple[str | int, ...]
"""The way from the top to a value: keys as written, and positions in lists (from 0)."""

MAX_CHARACTERS = 262_144
MAX_VALUES = 50_000
MAX_DEPTH = 40

_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = {_TAG + "str", _TAG + "timestamp", _TAG + "value"}
_NUMBER_TAGS = {_TAG + "int", _TAG + "float"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_ANCHOR_OR_TAG = re.compile(r"(?:[&!]\S*[ ]+)+")
_JSONNET = re.compile(
    r"(?:\s|//[^\n]*\n|/\*.*?\*/|#[^\n]*\n)*(function\s*\(|local\s+\w+\s*=|import\s*['\"])", re.DOTALL
)
_FROM_JSONNET = Problem(
    "spec.is-jsonnet",
    "",
    "a jsonnet template, no spec",
    "evaluate it with your values, as in: jsonnet --tla-str x=1 FILE > spec.json",
)
_NAMED = re.compile(r"[\"']?pipeline[\"']?\s*:\s*\{?\s*[\"']?name[\"']?\s*:\s*[\"']?([A-Za-z0-9][A-Za-z0-9_-]*)")
_COMMENT = re.compile(r"(?:^|[\s,{}\[\]])(//|/\*)")
_QUOTED_OR_COMMENT = re.compile(r"""\"(?:[^\"\\]|\\.)*\"|'[^']*'|(?:^|(?<=\s))#.*""")
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_JSON_STRING_OR_TAB = re.compile(r'"(?:[^"\\]|\\.)*"|\t', re.DOTALL)

_REASONS = (  # the words of PyYAML, the meaning for the author of the line, the fix
    ("mapping values are not allowed", "a colon that can't be here", "check the indentation, or add quotes"),
    ("could not find expected ':'", "a key without a colon and a space after it", "write `key: value`"),
    ("'\\t' that cannot start", "a tab", "indent with spaces"),
    ("that cannot start any token", "a character that can't start plain text", "put the text in quotes"),
    ("found unexpected end of stream", "the file ends inside quotes", "close them"),
    ("while scanning an alias", "plain text can't start with a star", "put it in quotes"),
    ("while scanning an anchor", "plain text can't start with an ampersand", "put it in quotes"),
    ("while scanning a tag", "plain text can't start with an exclamation mark", "put it in quotes"),
    (
        "while parsing a flow",
        "a bracket, brace or comma is missing or too many",
        "close what is open, or add quotes",
    ),
    (
        "while parsing a block",
        "the indentation doesn't fit, or text needs quotes",
        "align it with the lines above",
    ),
    (
        "unknown escape character",
        "a backslash that means nothing in double quotes",
        "double it, or use single quotes",
    ),
)


@dataclass(frozen=True, order=True)
class Mark:
    """A place in the text; both count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True)
class Number:
    """A number as it is written, so that ``1.10`` can stay text."""

    text: str


@dataclass(frozen=True)
class Null:
    """A key or list item without a value: reported when it is read, and skipped by what comes after."""


@dataclass(frozen=True)
class Position:
    """The position of a value; `key` is that of its key (for list items and the top: the value's own)."""

    key: Mark
    value: Mark
    raw: str = ""

    def inside(self, offset: int) -> Mark:
        """Return the mark of character `offset` (from 0) of a scalar's value; its start if it spans lines."""
        starts = _character_starts(self.raw)
        if "\n" in self.raw or not 0 <= offset < len(starts):
            return self.value
        return Mark(self.value.line, self.value.column + starts[offset])


@dataclass
class Document:
    """The data, the places, and what is wrong so far, with marks instead of locations."""

    data: object = None
    places: dict[Loc, Position] = field(default_factory=dict)
    problems: list[tuple[Mark, Problem]] = field(default_factory=list)
    reported: set[Loc] = field(default_factory=set)

    def resolve(self, loc: Loc) -> Loc:
        """Return `loc` with its keys as written (`join_on` may stand there as `joinOn`), as far as it exists."""
        found: Loc = ()
        for part in loc:
            names = (part, camel(part)) if isinstance(part, str) else (part,)
            step = next((name for name in names if (*found, name) in self.places), None)
            if step is None:
                break
            found = (*found, step)
        return found

    def add(
        self, loc: Loc, code: str, message: str, fix: str = "", *, key: bool = False, offset: int | None = None
    ) -> None:
        """Report a problem at a value, at its key, or at a character of it."""
        found = self.resolve(loc)
        self.reported.add(found)
        place = self.places[found]
        mark = place.key if key else place.value if offset is None else place.inside(offset)
        self.problems.append((mark, Problem(code, "", message, fix)))

    def written(self, loc: Loc) -> str:
        """Return the text of a scalar as it stands in the file."""
        return self.places[self.resolve(loc)].raw


def camel(name: str) -> str:
    """Return `join_on` as `joinOn`."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def snake(name: str) -> str:
    """Return `joinOn` as `join_on`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: "_" + found[1].lower(), name)


def show(text: str, limit: int = 60) -> str:
    """Return `text` in double quotes for a message: one line, nothing a terminal would obey, not too long."""
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    quoted = json.dumps(cut, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in quoted)


def read_yaml(text: str) -> Document:
    """Read one YAML or JSON document.

    No object is ever constructed and aliases are expanded up to a limit, so a hostile file costs no more
    than a message. When `Document.problems` is not empty, `Document.data` is what could be understood.
    """
    document = Document(places={(): Position(Mark(1, 1), Mark(1, 1))})
    if len(text) > MAX_CHARACTERS:
        document.add(
            (), "spec.too-large", f"more than {MAX_CHARACTERS:,} characters", "move data and scripts into files"
        )
        return document
    if jsonnet := _JSONNET.match(text):
        document.problems.append((_mark_at(text, jsonnet.start(1)), _FROM_JSONNET))
        return document
    text = _without_json_tabs(text)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        document.problems.append(_syntax_problem(error, text))
        return document
    except RecursionError:
        document.add((), "spec.too-deep", "nested too deep", f"use at most {MAX_DEPTH} levels")
        return document
    if node is None or node.tag == _TAG + "null":
        document.add((), "spec.empty", "the spec is empty", "write at least `input:` and `transform:`")
        return document
    walk = _Walk(text, document)
    try:
        document.data = walk.value(node, (), None, ())
    except _TooMuch as stop:
        document.problems.append((stop.mark, stop.problem))
        document.data = None
    return document


class _TooMuch(Exception):
    def __init__(self, mark: Mark, message: str, fix: str) -> None:
        super().__init__(message)
        self.mark = mark
        self.problem = Problem("spec.too-large", "", message, fix)


class _Walk:
    """Composed nodes to data; every alias is followed, so what is counted is what comes out."""

    def __init__(self, text: str, document: Document) -> None:
        self._text = text
        self._document = document
        self._seen = 0

    def value(self, node: yaml.Node, loc: Loc, key: Mark | None, parents: tuple[int, ...]) -> object:
        mark = _mark(node.start_mark)
        self._seen += 1
        if self._seen > MAX_VALUES:
            raise _TooMuch(mark, f"more than {MAX_VALUES:,} values once aliases are expanded", "write fewer")
        if id(node) in parents:
            raise _TooMuch(mark, "an alias inside the very value it stands for", "remove it")
        if len(parents) >= MAX_DEPTH:
            raise _TooMuch(mark, "nested too deep", f"use at most {MAX_DEPTH} levels")
        parents = (*parents, id(node))
        if isinstance(node, yaml.MappingNode):
            self._document.places[loc] = Position(key or mark, mark)
            self._check_tag(node, loc, {_TAG + "map"})
            return self._mapping(node, loc, parents)
        if isinstance(node, yaml.SequenceNode):
            self._document.places[loc] = Position(key or mark, mark)
            self._check_tag(node, loc, {_TAG + "seq"})
            return [self.value(item, (*loc, n), None, parents) for n, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode):
            raise TypeError(node)  # there is no fourth kind
        raw = self._text[node.start_mark.index : node.end_mark.index]
        if node.tag in _TEXT_TAGS and node.style not in ("|", ">") and (before := _ANCHOR_OR_TAG.match(raw)):
            raw = raw[before.end() :]
            mark = Mark(mark.line, mark.column + before.end())
        self._document.places[loc] = Position(key or mark, mark, raw)
        return self._scalar(node, loc)

    def _mapping(self, node: yaml.MappingNode, loc: Loc, parents: tuple[int, ...]) -> dict[str, object]:
        data: dict[str, object] = {}
        merges: list[yaml.Node] = []
        for key_node, value_node in node.value:
            mark = _mark(key_node.start_mark)
            if key_node.tag == _TAG + "merge":
                merges.append(value_node)
            elif not isinstance(key_node, yaml.ScalarNode):
                self._document.problems.append(
                    (mark, _not_yaml("a key that is a list or a mapping", "put it in quotes"))
                )
            elif key_node.value in data:
                first = self._document.places[(*loc, key_node.value)].key
                self._document.problems.append((mark, _twice(show(key_node.value), first.line)))
            else:
                data[key_node.value] = self.value(value_node, (*loc, key_node.value), mark, parents)
        for merged in merges:  # `<<`: what is written out wins, then what comes first
            for name, value_node in self._merged(merged, parents):
                if name not in data:
                    data[name] = self.value(value_node, (*loc, name), None, parents)
        return data

    def _merged(self, node: yaml.Node, parents: tuple[int, ...]) -> Iterator[tuple[str, yaml.Node]]:
        mark = _mark(node.start_mark)
        if id(node) in parents or len(parents) >= MAX_DEPTH:
            raise _TooMuch(mark, "an alias inside the very value it stands for", "remove it")
        parents = (*parents, id(node))
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from self._merged(item, parents)
        elif isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                self._seen += 1
                if self._seen > MAX_VALUES:
                    raise _TooMuch(mark, f"more than {MAX_VALUES:,} values once aliases are expanded", "write fewer")
                if key_node.tag == _TAG + "merge":
                    yield from self._merged(value_node, parents)
                elif isinstance(key_node, yaml.ScalarNode):
                    yield key_node.value, value_node
        else:
            self._document.problems.append(
                (mark, _not_yaml("`<<` takes a mapping", "name an anchor, as in `<<: *base`"))
            )

    def _scalar(self, node: yaml.ScalarNode, loc: Loc) -> object:
        tag, text = node.tag, str(node.value)
        if _SURROGATE.search(text):  # JSON writes characters beyond U+FFFF as two escapes
            try:
                text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
            except UnicodeDecodeError:
                self._document.add(
                    loc, "spec.bad-text", "half of a character (a lone surrogate)", "write the character itself"
                )
                return Null()
        if tag in _TEXT_TAGS:
            return text
        if tag in _NUMBER_TAGS and node.style is None:
            return Number(text)
        if tag == _TAG + "bool" and text.lower() in yaml.SafeLoader.bool_values:
            return yaml.SafeLoader.bool_values[text.lower()]
        if tag == _TAG + "null":
            self._document.add(loc, "spec.no-value", "no value", "give one, or remove the line")
            return Null()
        self._check_tag(node, loc, set())
        return Null()

    def _check_tag(self, node: yaml.Node, loc: Loc, allowed: set[str]) -> None:
        if node.tag not in allowed:
            tag = str(node.tag).replace(_TAG, "!!")
            self._document.add(
                loc, "spec.yaml-tag", f"the tag {show(tag)} means nothing here", "remove it, or add quotes"
            )


def _mark_at(text: str, index: int) -> Mark:
    lines = text[:index].split("\n")
    return Mark(len(lines), len(lines[-1]) + 1)


def _mark(mark: yaml.Mark) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


def _without_json_tabs(text: str) -> str:
    # JSON may be indented with tabs, YAML may not; a space for a tab keeps every column. YAML takes a trailing comma.
    if "\t" not in text or not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return text
    try:
        json.loads(_TRAILING_COMMA.sub(lambda found: found[1] or "", text))
    except (ValueError, RecursionError):
        return text
    return _JSON_STRING_OR_TAB.sub(lambda found: " " if found[0] == "\t" else found[0], text)


def comment_in_json(text: str) -> tuple[Mark, Problem] | None:
    """Return the problem of the first comment as JavaScript has it (`//`, `/*`) in text that looks like JSON."""
    if _JSONNET.match(text) or not text.lstrip("\ufeff \t\r\n").startswith(("{", "[", "//", "/*")):
        return None
    for number, line in enumerate(text.split("\n"), 1):
        bare = _QUOTED_OR_COMMENT.sub(lambda found: "_" * len(found[0]), line)
        if comment := _COMMENT.search(bare):
            return Mark(number, comment.start(1) + 1), _not_yaml("a comment", "write # instead, or remove it")
    return None


def _not_yaml(message: str, fix: str = "") -> Problem:
    return Problem("spec.not-yaml", "", message, fix)


def _twice(key: str, line: int) -> Problem:
    return Problem("spec.duplicate-key", "", f"{key} is there twice, first in line {line}", "keep one")


def _syntax_problem(error: yaml.YAMLError, text: str) -> tuple[Mark, Problem]:
    if isinstance(error, yaml.reader.ReaderError):
        lines = text[: error.position].split("\n")
        mark = Mark(len(lines), len(lines[-1]) + 1)
        return mark, _not_yaml("a control character", "remove it, or write it as an escape in double quotes")
    if not isinstance(error, yaml.MarkedYAMLError):
        return Mark(1, 1), _not_yaml("not YAML", "check the file")
    place = error.problem_mark or error.context_mark
    mark = _mark(place) if place else Mark(1, 1)
    said = f"{error.context or ''} {error.problem or ''}".strip()
    if "another document" in said or "<document start>" in said:
        found = _NAMED.search(text, place.index if place else 0)
        name = found[1] if found else "NAME"
        return mark, _not_yaml("a second document starts here", f"move it into a folder of its own: {name}/spec.yml")
    if isinstance(error, yaml.composer.ComposerError):  # an undefined alias, a doubled anchor: its words are plain
        fix = "define the anchor once, before it is used, or put the text in quotes"
        return mark, _not_yaml(f"not YAML: {said}", fix)
    if ("end of stream" in said or "stream end" in said) and error.context_mark:  # where it was opened
        mark = _mark(error.context_mark)
    for part, reason, fix in _REASONS:
        if part in said:
            return mark, _not_yaml(f"not YAML: {reason}", fix)
    return mark, _not_yaml(f"not YAML: {said}", "check this line and the one above")


def _character_starts(raw: str) -> list[int]:
    """Return for each character of a one-line scalar's value its offset in the text as written."""
    if raw[:1] not in ("'", '"'):
        return list(range(len(raw)))
    starts, at, end = [], 1, len(raw) - 1
    lengths: Mapping[str, int] = {"x": 4, "u": 6, "U": 10}
    while at < end:
        starts.append(at)
        if raw[0] == '"' and raw[at] == "\\":
            at += lengths.get(raw[at + 1], 2)
        else:
            at += 2 if raw.startswith("''", at) and raw[0] == "'" else 1
    return starts


__all__ = ["Document", "Loc", "Mark", "Null", "Number", "Position", "camel", "read_yaml", "show", "snake"]
