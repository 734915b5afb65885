"""Failures that are alike: the datum's own name, and only that, is left out of a message."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.model.failures import without_name


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        ("inputs images:/d/a.png changed", "d/a.png", "inputs images:/* changed"),
        ("no file a in data", "a", "no file * in data"),
        ("a_b: aa a", "a", "*_b: aa *"),
        ("exited with 1, at 1", "1", "exited with 1, at *"),
        ("exit code 1", "d/1.txt", "exit code 1"),
        ("", "a", ""),
    ],
)
def test_the_name_of_a_datum_is_left_out(text: str, name: str, wanted: str) -> None:
    assert without_name(text, name) == wanted


@given(st.lists(st.sampled_from(["a", "a1", "1", "_", " ", "/", "é", "exited with ", "exit code "])).map("".join))
def test_it_is_left_out_as_a_word(text: str) -> None:
    pattern = r"(?<![^\W_])(?<!exited with )(?<!exit code )a1(?![^\W_])"
    assert without_name(text, "a1") == re.sub(pattern, "*", text)
