"""Parameters of a template: their JSON Schema (a part of it, without patterns and references), and values for them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minipach.support.errors import Problem, UserError
from minipach.support.text import printable, suggest

_SCALARS = ("string", "integer", "number", "boolean", "null")
_TEXTS = ("title", "description", "format")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_LENGTHS = ("minLength", "maxLength", "minItems", "maxItems")
_OF_PROPERTY = frozenset({"type", "default", "enum", "examples", "items", *_TEXTS, *_NUMBERS, *_LENGTHS})
_OF_OBJECT = frozenset({"type", "properties", "required", "additionalProperties", "$schema", "title", "description"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}")
_MAX_TEXT = 10_000  # characters of one value
_MAX_ITEMS = 1000

Schema = Mapping[str, Any]


def schema_problems(schema: object) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Yield what is wrong with the schema of a template's parameters: the place in it, the message, the fix."""
    if not isinstance(schema, Mapping):
        yield (), "no schema: no mapping", "write `type: object` and `properties:`"
        return
    for key in schema:
        if key not in _OF_OBJECT:
            yield (key,), f'unknown keyword "{printable(str(key))[:40]}"', f"use {', '.join(sorted(_OF_OBJECT))}"
    if schema.get("type", "object") != "object":
        yield ("type",), "parameters are an object", "write `type: object`"
    if schema.get("additionalProperties", False) is not False:
        yield ("additionalProperties",), "every parameter has a name", "write `additionalProperties: false`"
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        yield ("properties",), "no mapping", "write a name and a schema for each parameter"
        return
    for name, one in properties.items():
        loc = ("properties", str(name))
        if not _NAME.fullmatch(str(name)):
            yield loc, f'"{printable(str(name))[:40]}" cannot name a parameter', "use letters, digits and _"
        yield from ((loc + at, message, fix) for at, message, fix in _property_problems(one))
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) and name in properties for name in required):
        yield ("required",), "names something that is no parameter", "name keys of `properties`"


def checked_values(schema: Schema, given: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the values of all parameters: those that are given, else the defaults. An optional one may be None.

    Args:
        schema: A schema without problems.
        given: Values as JSON has them.
        source: The template's name, for messages.

    Raises:
        UserError: A name is unknown, a value does not fit, or a required one is missing.
    """
    properties: Mapping[str, Schema] = schema.get("properties", {})
    problems = [
        Problem(
            "template.no-parameter",
            "--set",
            f'the template {source} has no parameter "{printable(name)[:60]}"',
            suggest(name, properties) or f"see minipach templates show {source}",
        )
        for name in given
        if name not in properties
    ]
    values: dict[str, Any] = {}
    for name, one in properties.items():
        if name in given:
            values[name] = given[name]
        elif name in schema.get("required", ()):
            fix = f"add --set {name}={_example(one)}"
            problems.append(Problem("template.no-value", "--set", f"{source} needs a value of {name}", fix))
            continue
        else:
            values[name] = one.get("default")
        wrong = "" if name not in given and values[name] is None else _mismatch(values[name], one)
        if wrong:
            problems.append(Problem("template.bad-value", f"--set {name}", wrong, f"write {name}={_example(one)}"))
    if problems:
        raise UserError(problems)
    return values


def value_of_text(text: str, schema: Schema) -> Any:
    """Return the value that a text of the command line means for a parameter; the text itself if it means none."""
    kinds = _kinds(schema)
    if "null" in kinds and text in ("", "null"):
        return None
    if "boolean" in kinds and text in ("true", "false"):
        return text == "true"
    if "integer" in kinds and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    if "number" in kinds and re.fullmatch(
        r"[+-]?([0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?", text
    ):
        return float(text) if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) else int(text)
    if "array" in kinds:
        items = schema.get("items", {"type": "string"})
        return [value_of_text(word.strip(), items) for word in text.split(",")] if text else []
    return text


def _property_problems(one: object) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    if not isinstance(one, Mapping):
        yield (), "no schema: no mapping", "write at least `type`"
        return
    for key, value in one.items():
        if key not in _OF_PROPERTY:
            yield (key,), f'unknown keyword "{printable(str(key))[:40]}"', f"use {', '.join(sorted(_OF_PROPERTY))}"
        elif key in _TEXTS and not isinstance(value, str):
            yield (key,), "no text", "put it in quotes"
        elif key in _NUMBERS and not _is_number(value):
            yield (key,), "no number", "write a number"
        elif key in _LENGTHS and not (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
            yield (key,), "no number of characters or items", "write a number"
        elif key in ("enum", "examples") and not (isinstance(value, list) and value):
            yield (key,), "no list of values", "write a list"
    allowed = (*_SCALARS, "array")
    if "type" not in one or not _kinds(one) or not all(kind in allowed for kind in _kinds(one)):
        yield ("type",), "no type, or an unknown one", f"use {', '.join(allowed)}"
        return
    if "array" in _kinds(one):
        items = one.get("items")
        if not isinstance(items, Mapping) or "array" in _kinds(items):
            yield ("items",), "the items of a list are single values", "write `items: {type: string}`"
        else:
            yield from ((("items", *at), message, fix) for at, message, fix in _property_problems(items))
            return
    if one.get("default") is not None and (wrong := _mismatch(one["default"], one)):
        yield ("default",), wrong, "write a default that the schema allows"


def _kinds(schema: Schema) -> tuple[str, ...]:
    kinds = schema.get("type")
    return tuple(map(str, kinds)) if isinstance(kinds, list) else (str(kinds),) if kinds else ()


def _mismatch(value: Any, schema: Schema) -> str:
    """Return what is wrong with a value, or ""."""
    kinds = _kinds(schema)
    if not any(_is(value, kind) for kind in kinds):
        return f"{_shown(value)} is no {' or '.join(kinds)}"
    if "enum" in schema and not any(type(value) is type(one) and value == one for one in schema["enum"]):
        return f"{_shown(value)} is none of {', '.join(map(_shown, schema['enum'][:10]))}"
    if isinstance(value, str):
        if not all(c.isprintable() for c in value):
            return "a character that cannot be printed"
        return _length(
            len(value), schema, "minLength", min(schema.get("maxLength", _MAX_TEXT), _MAX_TEXT), "characters"
        )
    if isinstance(value, list):
        wrong = _length(len(value), schema, "minItems", min(schema.get("maxItems", _MAX_ITEMS), _MAX_ITEMS), "items")
        return wrong or next(filter(None, (_mismatch(one, schema["items"]) for one in value)), "")
    if _is_number(value):
        if not math.isfinite(value):
            return "no finite number"
        if value < schema.get("minimum", -math.inf) or value <= schema.get("exclusiveMinimum", -math.inf):
            return f"{value} is too small"
        if value > schema.get("maximum", math.inf) or value >= schema.get("exclusiveMaximum", math.inf):
            return f"{value} is too large"
    return ""


def _length(number: int, schema: Schema, least: str, most: int, noun: str) -> str:
    if number < schema.get(least, 0):
        return f"fewer than {schema[least]} {noun}"
    return f"more than {most} {noun}" if number > most else ""


def _is(value: Any, kind: str) -> bool:
    if kind == "null":
        return value is None
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return _is_number(value)
    return isinstance(value, list if kind == "array" else str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return printable(text if len(text) <= 60 else f"{text[:57]}...")


def _example(schema: Schema) -> str:
    examples: Sequence[Any] = schema.get("examples") or schema.get("enum") or ()
    if examples:
        return str(examples[0])
    return {"integer": "1", "number": "1.5", "boolean": "true", "array": "a,b"}.get(
        (_kinds(schema) or ("",))[0], "TEXT"
    )
