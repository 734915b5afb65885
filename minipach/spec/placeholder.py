"""Placeholders: `{name}`, `{key}`, `{1}`, `{images.stem}` in `minipach.out` and in a command's words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from minipach.model.datum import Datum, Match
from minipach.model.pipeline import Combination, Input, PfsInput, Transform
from minipach.spec.glob import GlobError, compile_glob
from minipach.support.errors import Problem, UserError

_NUMBER = re.compile(r"[1-9][0-9]*")
_VIEWS = ("stem", "name", "dir", "ext")  # of {INPUT.stem} and so on
_ROOT = "root"  # what the datum "/" is called in a path
_BRACES = re.compile(r"\{([^{}]+)\}")
_WORD = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)?")
_PLAIN = re.compile(r"[^\s'\"$;|&\\()<>`*?\[\]!#]*")  # an argument, no program for a shell, awk or regular expression
_OUT = "out"


class TemplateError(ValueError):
    """A wrong template: the problem, and the fix."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


def pfs_inputs(node: Input) -> Iterator[PfsInput]:
    """Yield the pfs inputs in an input, depth first."""
    if isinstance(node, Combination):
        for member in node.members:
            yield from pfs_inputs(member)
    else:
        yield node


def used_fields(transform: Transform, input: Input) -> tuple[str, ...]:
    """Return the placeholders in `cmd` and `err_cmd` that have a value of each datum, without braces, sorted.

    `{INPUT}` and `{out}` are not among them: they are paths below /pfs, which the launcher knows.
    """
    found = {
        field
        for word in (*transform.cmd, *transform.err_cmd)
        for field, _ in _candidates(word)
        if not _is_path(field, input) and _is_known(field, input)
    }
    return tuple(sorted(found))


def values(fields: Sequence[str], datum: Datum) -> tuple[tuple[str, str], ...]:
    """Return each placeholder with its value for a datum. UserError names the datum where one has none."""
    try:
        return tuple((field, value_of(field, datum)) for field in fields)
    except TemplateError as error:
        raise UserError(Problem("datum.bad-placeholder", f'datum "{datum.name}"', f"cmd: {error}", error.fix)) from None


def fill(text: str, datum: Datum) -> str:
    """Return the value of a variable for a datum. UserError if a placeholder has no value there."""
    try:
        return _BRACES.sub(lambda hit: value_of(hit[1], datum), text)
    except TemplateError as error:
        raise UserError(Problem("datum.bad-placeholder", f'datum "{datum.name}"', f"env: {error}", error.fix)) from None


def check_word(word: str, input: Input) -> Iterator[tuple[int, str, str]]:
    """Yield the problems of the placeholders in a word of a command: the character, the message, the fix.

    In a plain argument each `{word}`, `{word.word}` or `{number}` must be known. A word with blanks, quotes or other
    signs of a program (a script after `-c`, awk, a regular expression) may have braces of its own: there only a capture
    that a known input does not have is an error. `${x}` and `{{x}}` are never placeholders.
    """
    plain = _PLAIN.fullmatch(word) is not None
    names = {node.name for node in pfs_inputs(input)}
    for field, at in _candidates(word):
        if not _WORD.fullmatch(field) or _is_path(field, input):
            continue
        try:
            check_field(field, input)
        except TemplateError as error:
            name, _, view = field.rpartition(".")
            if name in names and (plain or view in _VIEWS or _NUMBER.fullmatch(view)):
                yield at, error.message, error.fix
            elif plain and not (_NUMBER.fullmatch(field) and at and word[at - 1].isalnum()):
                yield at, error.message, f"{error.fix}; for the braces themselves, put the command into a script"


def of_datum(word: str, input: Input) -> Iterator[tuple[str, int]]:
    """Yield the placeholders in a word of a command whose value differs from datum to datum, and where they are."""
    for field, at in _candidates(word):
        if field != _OUT and (_is_path(field, input) or _is_known(field, input)):
            yield field, at


def _candidates(word: str) -> Iterator[tuple[str, int]]:
    """Yield what stands in braces in a word of a command and can be a placeholder, and where."""
    for found in _BRACES.finditer(word):
        start, end = found.span()
        before, after = word[:start], word[end : end + 1]
        if before.endswith("$") or (before.endswith("{") and after == "}"):
            continue  # a variable of the shell, or a placeholder of a template
        if _NUMBER.fullmatch(found[1]) and re.search(r"[])]$|\\.$", before):
            continue  # how often, in a regular expression
        yield found[1], start


def _is_path(field: str, input: Input) -> bool:
    return field == _OUT or any(node.name == field for node in pfs_inputs(input))


def _is_known(field: str, input: Input) -> bool:
    try:
        check_field(field, input)
    except TemplateError:
        return False
    return True


def value_of(field: str, datum: Datum) -> str:
    """Return the value of a placeholder for a datum. TemplateError if it has none."""
    if field == "name":
        return _safe_name(datum)
    if field == "key":
        if datum.key is None:
            raise TemplateError("{key}: this datum has no join or group key", "use {name}")
        return datum.key
    if _NUMBER.fullmatch(field):
        number = int(field)
        names = [m.input for m in datum.matches if len(m.captures) >= number]
        if not names:
            raise TemplateError(f"{{{field}}}: none of its inputs has {number} captures", "use {name}")
        return _of_input(min(names), field, field, datum)
    name, view = _split(field, {m.input for m in datum.matches})
    return _of_input(name, view, field, datum)


def _split(field: str, known: set[str]) -> tuple[str, str]:
    """Return the input's name and the view of it that is asked for ("": the path)."""
    if field in known:
        return field, ""
    name, _, view = field.rpartition(".")
    return (name, view) if name else (field, "")


def _of_input(name: str, view: str, field: str, datum: Datum) -> str:
    """Return the value that all matches of an input agree on."""
    values = {_view(match, view) for match in datum.matches if match.input == name}
    if not values:
        raise TemplateError(f'{{{field}}}: this datum has nothing of the input "{name}"', "use {name}")
    if len(values) > 1:
        raise TemplateError(f"{{{field}}} has {len(values)} values in this datum", "use {key} or {name}")
    value = values.pop()
    if value is None:
        views = ", ".join(_VIEWS)
        raise TemplateError(f'{{{field}}}: no such part of the input "{name}"', f"use {views} or a capture")
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
    """Return a file's name without all its suffixes: `a` of `a.nii.gz`, `.profile` of `.profile`."""
    dots = len(name) - len(name.lstrip("."))
    end = name.find(".", dots)
    return name if end < 0 or dots == len(name) else name[:end]


def _safe_name(datum: Datum) -> str:
    """Return the datum's name, with a matched root called `root`: `/~a` can't be a path."""
    if "/" not in [match.path for match in datum.matches]:
        return datum.name
    return "~".join(_ROOT if part == "/" else part for part in datum.name.split("~"))


def check_field(field: str, input: Input) -> None:
    """Raise TemplateError if no datum of an input has a value of a placeholder."""
    inputs = list(pfs_inputs(input))
    if field == "name":
        return
    if field == "key":
        if not _has_key(input):
            raise TemplateError("{key} needs a join or a group as the input", "use {name}")
        return
    if _NUMBER.fullmatch(field):
        if not any(_captures(node) >= int(field) for node in inputs):
            raise TemplateError(f"{{{field}}}: no glob here has {field} captures", "put ( ) around a part")
        return
    name, view = _split(field, {node.name for node in inputs})
    named = [node for node in inputs if node.name == name]
    if not named:
        known = ", ".join(dict.fromkeys(f"{{{node.name}}}" for node in inputs))
        example = f"{{{inputs[0].name}.stem}}"
        raise TemplateError(f"{{{field}}} is unknown", f"use {{name}}, {{key}}, {{1}}, {known} or {example}")
    if _NUMBER.fullmatch(view):
        if not any(_captures(node) >= int(view) for node in named):
            raise TemplateError(f"{{{field}}}: that glob has fewer captures", "put ( ) around a part of it")
    elif view and view not in _VIEWS:
        views = ", ".join(_VIEWS)
        raise TemplateError(f"{{{field}}}: no such part of an input", f"use {views} or a capture's number")


def _has_key(node: Input) -> bool:
    if not isinstance(node, Combination):
        return False
    return node.kind in ("join", "group") or (node.kind == "union" and all(map(_has_key, node.members)))


def _captures(node: PfsInput) -> int:
    try:
        return compile_glob(node.glob).groups
    except GlobError:  # reported where the glob is; one mistake, one message
        return 1000
