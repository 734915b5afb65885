"""`minipach.templates.render`: values replace scalars, comments stay, and no value becomes YAML."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from minipach.support.errors import UserError
from minipach.templates.render import filled


def test_comments_and_layout_stay() -> None:
    text = "# head\na: <<x>> # why\nb:\n  - one\n  - <<y>>\nc: {d: <<x>>, e: [1, <<y>>]}\n"
    assert filled(text, {"x": 1.5, "y": "two"}, "t") == (
        "# head\na: 1.5 # why\nb:\n  - one\n  - two\nc: {d: 1.5, e: [1, two]}\n"
    )


def test_a_mark_in_other_text_becomes_text() -> None:
    text = 'a: "x=<<x>>, y=<<y>>"\nb: <<x>>Gi\n'
    assert yaml.safe_load(filled(text, {"x": 2, "y": True}, "t")) == {"a": "x=2, y=true", "b": "2Gi"}


def test_a_value_that_is_missing_takes_its_lines_and_comments() -> None:
    text = "a: 1\n# why\n# so\nb: <<x>> # here\nc:\n  d: <<x>>\n  # more\n  e:\n    f: <<x>>\n\ng: 2\n"
    assert filled(text, {"x": None}, "t") == "a: 1\n\ng: 2\n"


def test_lists_become_items() -> None:
    text = "a: [x, <<w>>]\nb:\n  - x\n  - <<w>>\n  - y\nc: [<<w>>, z]\n"
    assert yaml.safe_load(filled(text, {"w": ["1", "p q"]}, "t")) == {
        "a": ["x", "1", "p q"],
        "b": ["x", "1", "p q", "y"],
        "c": ["1", "p q", "z"],
    }
    assert yaml.safe_load(filled("a: [x, <<w>>]\nb:\n  - x\n  - <<w>>\n", {"w": []}, "t")) == {"a": ["x"], "b": ["x"]}


def test_blocks_of_text() -> None:
    text = "a: |\n  one <<x>>\n  two\nb: 1\n"
    assert yaml.safe_load(filled(text, {"x": "X"}, "t")) == {"a": "one X\ntwo\n", "b": 1}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: <<z>>\n", "t:1:4"),
        ("a: {b: <<none>>, c: 1}\n", "t:1:8"),
        ("a:\n  <<x>>: 1\n", "t:2:3"),
        ("a: &b <<x>>\nc: *b\n", "t:1:4"),
        ("a: [<<none>>]\n", "t:1:5"),
        ("a: [<<x>>\n", "t:1:4"),
        ("a: !!python/object/apply:os.system [<<x>>]\n", "t:1:4"),
    ],
)
def test_a_spec_that_cannot_be_filled(text: str, where: str) -> None:
    with pytest.raises(UserError) as caught:
        filled(text, {"x": 1, "none": None}, "t")
    assert caught.value.problems[0].location.startswith(where)


_VALUES = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20) | st.booleans() | st.integers()
_VALUES |= st.sampled_from(
    ["", "null", "- x", "a: b", "#", "'", '"', "{}", "[", "*x", "&x", "!!x", "~", "1e3", "<<x>>"]
)


@settings(max_examples=80, deadline=None)
@given(value=_VALUES)
def test_no_value_becomes_anything_else(value: Any) -> None:
    text = 'a: <<x>>\nb: {c: <<x>>, d: "<<x>>"}\ne:\n  - <<x>> # why\nf: [1, <<x>>]\n'
    wanted = {"a": value, "b": {"c": value, "d": value}, "e": [value], "f": [1, value]}
    assert yaml.safe_load(filled(text, {"x": value}, "t")) == wanted
