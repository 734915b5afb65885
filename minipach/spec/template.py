"""Template values: `{{ params.lr }}`, `{{ datum.1 }}`, `{{ job.id }}` in the texts of a spec. Names alone. Pure.

An expression in double braces is looked up, never evaluated. With a blank after `{{` it must be a known name. Without
one it is a value only if it begins like one (`{{params.lr}}`): other programs have double braces, too. Templates of
whole pipelines are in the package `templates`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minipach.model.pipeline import JOB_ID, Input
from minipach.spec.placeholder import TemplateError, check_field, pfs_inputs
from minipach.spec.yaml_reader import Null, Number
from minipach.support.text import suggest

Kind = Literal["word", "text", "variable", "out"]
"""The place of a text: a word of a command, a line of stdin, the value of a variable, or `minipach.out`."""

ROOTS = ("params", "pipeline", "datum", "job", "execution_date")
_EXPRESSION = re.compile(r"\{\{([^{}]*)\}\}")
_NAME = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*", re.ASCII)
_MOST = 64  # names in a chain


@dataclass(frozen=True, slots=True)
class Scope:
    """The values that templates of one pipeline may name. params: nested mappings and lists of YAML's values."""

    pipeline: str
    path: str
    params: Mapping[str, Any]
    inputs: Input | None = None


def has_templates(text: str) -> bool:
    """Return whether a text may have a template value: a spec without `{{` is read as it always was."""
    return "{{" in text


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of two mappings; those of the second count first, also in nested mappings."""
    found = dict(under)
    for name, value in over.items():
        below = found.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        found[name] = merged(below, value) if both and isinstance(below, Mapping) else value
    return found


def names_datum(text: object) -> bool:
    """Return whether a text names a value that differs between datums."""
    names = [name for _, name, _ in _found(text)] if isinstance(text, str) else []
    return any(name.startswith("datum.") or name == "execution_date" for name in names)


def parameters_in(text: str) -> frozenset[str]:
    """Return the parameters that the templates in a text name, as chains (`deep.lr`)."""
    return frozenset(name.removeprefix("params.") for _, name, _ in _found(text) if name.startswith("params."))


def is_used(chain: str, named: Collection[str]) -> bool:
    """Return whether templates that name these chains use a parameter."""
    return any(one == chain or one.startswith(f"{chain}.") or chain.startswith(f"{one}.") for one in named)


def rendered(text: str, kind: Kind, scope: Scope) -> str:
    """Return a text with its template values. Of what has a value for each datum, the placeholder stays: `{1}`.

    Raises:
        TemplateError: A name is unknown. The position is that of `problems`.
    """
    pieces: list[str] = []
    end = 0
    for start, name, stop in _found(text):
        pieces += [text[end:start], _value(name, kind, scope, text[:start])]
        end = stop
    return "".join([*pieces, text[end:]])


def problems(text: str, kind: Kind, scope: Scope) -> Iterator[tuple[int, str, str]]:
    """Yield what is wrong with a text: the character, the message, the fix."""
    for start, name, _ in _found(text):
        try:
            _value(name, kind, scope, text[:start])
        except TemplateError as error:
            yield start, error.message, error.fix
    if kind == "variable" and names_datum(text) and set("{}") & set(_EXPRESSION.sub("", text)):
        yield 0, "braces beside a value of the datum", "set two variables"


def _found(text: str) -> Iterator[tuple[int, str, int]]:
    for hit in _EXPRESSION.finditer(text):
        inside = hit[1]
        name = inside.strip()
        root = re.split(r"[^\w-]", name, maxsplit=1)[0]
        if inside[:1].isspace() or (root in ROOTS and (name == "execution_date" or "." in name)):
            yield hit.start(), name, hit.end()


def _value(name: str, kind: Kind, scope: Scope, before: str) -> str:
    if not _NAME.fullmatch(name) or name.count(".") > _MOST:
        message = f"{{{{ {name[:60]} }}}} is not a name; a template only looks up names"
        raise TemplateError(message, "write a name such as params.lr; for the braces themselves, leave out the blank")
    root, _, rest = name.partition(".")
    if root == "params":
        return _plain(_parameter(rest, scope.params), name, kind)
    if root == "pipeline" and rest in ("name", "path"):
        return _plain(scope.pipeline if rest == "name" else scope.path, name, kind)
    if name == "job.id":
        if kind == "out":
            raise TemplateError("{{ job.id }}: the place of results cannot depend on the job", "use {name}")
        return JOB_ID
    if root == "datum" and rest:
        return _of_datum(rest, kind, scope, before)
    if name == "execution_date":
        clock = next((pfs.name for pfs in pfs_inputs(scope.inputs) if pfs.clock), None) if scope.inputs else None
        if clock is None:
            raise TemplateError("{{ execution_date }} needs a `cron` input or `minipach.schedule`", "add one")
        return _of_datum(f"{clock}.name", kind, scope, before)
    known = ("params.NAME", "pipeline.name", "pipeline.path", "datum.name", "datum.1", "execution_date", "job.id")
    raise TemplateError(f"{{{{ {name} }}}} is unknown", suggest(name, known))


def _of_datum(field: str, kind: Kind, scope: Scope, before: str) -> str:
    if kind == "text":
        raise TemplateError(
            f"{{{{ {field} }}}}: a name of a file in `stdin` could become code of a shell",
            "set a variable, as in env: {X: '{{ datum.1 }}'}, and write \"$X\"",
        )
    if kind == "word" and before.endswith("$"):
        raise TemplateError("a `$` before a template value", "leave it out")
    if scope.inputs is not None:
        check_field(field, scope.inputs)
    return f"{{{field}}}"


def _parameter(chain: str, params: Any) -> Any:
    at = params
    done: list[str] = []
    for part in chain.split("."):
        if isinstance(at, Mapping) and part in at:
            at = at[part]
        elif isinstance(at, Sequence) and not isinstance(at, str) and part.isdecimal() and int(part) < len(at):
            at = at[int(part)]
        else:
            known = [".".join(["params", *done, str(key)]) for key in at] if isinstance(at, Mapping) else []
            fix = suggest(f"params.{chain}", known) or "set it in params.yml, or in `minipach: {params: ...}`"
            raise TemplateError(f"no parameter {chain!r}", fix)
        done.append(part)
    return at


def _plain(value: Any, name: str, kind: Kind) -> str:
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, Number):
        text = value.text
    elif isinstance(value, str | int | float):
        text = str(value)
    elif value is None or isinstance(value, Null):
        raise TemplateError(f"{name} has no value", "give it one")
    else:
        first = "0" if isinstance(value, Sequence) else "x"
        raise TemplateError(f"{name} is not a single value", f"name one of its values, as in {name}.{first}")
    if "\0" in text:
        raise TemplateError(f"{name} contains a zero byte", "leave it out")
    if kind != "text" and ("{" in text or "}" in text):
        raise TemplateError(f"the value of {name} has braces", "put them into a file of the pipeline")
    if kind == "out" and "/" in text:
        raise TemplateError(f"the value of {name} has a slash", "use a value without one")
    return text
