"""`minipach.templates.parameters`: a part of JSON Schema, and values that are checked against it."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipach.support.errors import UserError
from minipach.templates.parameters import checked_values, schema_problems, value_of_text


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ([], ()),
        ({"$ref": "https://example.org/x"}, ("$ref",)),
        ({"type": "array"}, ("type",)),
        ({"additionalProperties": True}, ("additionalProperties",)),
        ({"properties": []}, ("properties",)),
        ({"required": ["x"]}, ("required",)),
        (of(x={}), ("properties", "x", "type")),
        (of(x={"type": "object"}), ("properties", "x", "type")),
        (of(x={"type": "string", "pattern": "(a+)+$"}), ("properties", "x", "pattern")),
        (of(x={"type": "array"}), ("properties", "x", "items")),
        (of(x={"type": "array", "items": {"type": "array"}}), ("properties", "x", "items")),
        (of(x={"type": "array", "items": {"type": "y"}}), ("properties", "x", "items", "type")),
        (of(x={"type": "integer", "default": "1"}), ("properties", "x", "default")),
        (of(x={"type": "integer", "minimum": "1"}), ("properties", "x", "minimum")),
        (of(x={"type": "string", "enum": []}), ("properties", "x", "enum")),
        (of(x={"type": "string", "minLength": -1}), ("properties", "x", "minLength")),
        (of(**{"a b": {"type": "string"}}), ("properties", "a b")),
    ],
)
def test_a_schema_that_is_refused(schema: Any, place: tuple[str, ...]) -> None:
    assert place in [loc for loc, _, _ in schema_problems(schema)]


SCHEMA = of(
    name={"type": "string", "minLength": 1, "maxLength": 5},
    kind={"type": "string", "enum": ["a", "b"], "default": "a"},
    count={"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
    rate={"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 2},
    flag={"type": "boolean", "default": False},
    image={"type": ["string", "null"]},
    words={"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 1, "maxItems": 2},
)


def test_the_schema_of_these_tests_is_sound() -> None:
    assert list(schema_problems(SCHEMA)) == []


def test_values_and_defaults() -> None:
    assert checked_values(SCHEMA, {"name": "x", "image": None}, "t") == {
        "name": "x",
        "kind": "a",
        "count": 1,
        "rate": None,
        "flag": False,
        "image": None,
        "words": None,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("name", value) for value in ("", "123456", 1, None, "a\x1b", "a\nb")],
        *[("count", value) for value in (0, 10, True, 1.5)],
        *[("rate", value) for value in (0, 2, float("nan"))],
        *[("words", value) for value in ([], ["abcd"], ["a", "b", "c"])],
        ("kind", "c"),
        ("flag", 1),
    ],
)
def test_values_that_do_not_fit(name: str, value: Any) -> None:
    with pytest.raises(UserError) as caught:
        checked_values(SCHEMA, {name: value}, "t")
    assert [problem.code for problem in caught.value.problems] == ["template.bad-value"]
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_and_missing_names_are_reported_together() -> None:
    with pytest.raises(UserError) as caught:
        checked_values({**SCHEMA, "required": ["rate"]}, {"cuont": 1}, "t")
    assert [problem.code for problem in caught.value.problems] == ["template.no-parameter", "template.no-value"]
    assert "count" in caught.value.problems[0].fix


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("name", "1", "1"),
        ("count", "7", 7),
        ("count", "x", "x"),
        ("rate", "1e-3", 0.001),
        ("rate", "1", 1),
        ("flag", "true", True),
        ("flag", "yes", "yes"),
        ("image", "null", None),
        ("image", "", None),
        ("words", "a, b", ["a", "b"]),
        ("words", "", []),
    ],
)
def test_the_value_of_a_text(name: str, text: str, value: Any) -> None:
    found = value_of_text(text, SCHEMA["properties"][name])
    assert (found, type(found)) == (value, type(value))


_VALUES = st.none() | st.booleans() | st.integers(-5, 15) | st.sampled_from([0.5, 2.5]) | st.text("abc", max_size=7)


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(sorted(SCHEMA["properties"])), value=_VALUES | st.lists(st.text("ab", max_size=4), max_size=3)
)
def test_it_agrees_with_jsonschema(name: str, value: Any) -> None:
    try:
        checked_values(SCHEMA, {name: value}, "t")
        fits = True
    except UserError:
        fits = False
    assert fits == jsonschema.Draft202012Validator(SCHEMA).is_valid({name: value})
