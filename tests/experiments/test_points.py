"""What the values of `-S` stand for."""

from __future__ import annotations

import pytest

from minipach.experiments.points import Point, flat, nested, parse_points, shown
from minipach.support.errors import UserError


@pytest.mark.parametrize(
    ("words", "points"),
    [
        (["e.a=1,2"], [{"a": "1"}, {"a": "2"}]),
        (["e.a=1.50, 1.50"], [{"a": "1.50"}]),
        (["e.a=range(3)"], [{"a": "0"}, {"a": "1"}, {"a": "2"}]),
        (["e.a=range(0, 0.3, 0.1)"], [{"a": "0"}, {"a": "0.1"}, {"a": "0.2"}]),
        (["e.a=range(2,0,-1)"], [{"a": "2"}, {"a": "1"}]),
        (['e.a="x,y",z'], [{"a": "x,y"}, {"a": "z"}]),
        (["e.a=$(id)"], [{"a": "$(id)"}]),
        (["e.a=1,2", "e.b.c=3"], [{"a": "1", "b.c": "3"}, {"a": "2", "b.c": "3"}]),
        (["e.a=1", "e.a=2"], [{"a": "1"}, {"a": "2"}]),
        (["e.a=[1,2]"], [{"a": ("1", "2")}]),
        (["e.a=[1, 2] , [3],[]"], [{"a": ("1", "2")}, {"a": ("3",)}, {"a": ()}]),
        (['e.a=["x,]",y z],1'], [{"a": ("x,]", "y z")}, {"a": "1"}]),
        (['e.a="[1,2]"'], [{"a": "[1,2]"}]),
        (['e.a=x"y,'], [{"a": 'x"y'}, {"a": ""}]),
        (['e.a="say ""hi"""'], [{"a": 'say "hi"'}]),
    ],
)
def test_values_are_combined(words: list[str], points: list[Point]) -> None:
    assert parse_points(words) == (("e",), points)


@pytest.mark.parametrize("text", ["1", "x y", '"[1,2]"', "[1, 2]", "[]", '["a,b", "", "]", "say ""hi"""]'])
def test_a_value_is_shown_as_it_is_given(text: str) -> None:
    (point,) = parse_points([f"e.a={text}"])[1]
    assert shown(point["a"]) == text


def test_lists_of_params_yml_are_values_too() -> None:
    assert flat({"a": [1, "x", True], "b": {"c": 2.5}, "d": [[1]]}) == {"a": ("1", "x", "true"), "b.c": "2.5"}
    assert nested({"a": ("1", "x")}) == {"a": ["1", "x"]}


@pytest.mark.parametrize(
    "words",
    [
        [], ["a"], ["a=1"], [".a=1"], ["e.=1"], ["e.a"], ["e.a="], ["e.a b=1"], ["e.a=range()"],
        ["e.a=range(x)"], ["e.a=range(1,2,0)"], ["e.a=range(1e9)"], ["e.a=range(1e99999999)"], ["e.a=range(nan)"],
        ["e.a=range(5,1)"], ["e.a=range(200)", "e.b=range(200)"], ["e.a=1\n2"], ['e.a="x'], ["e.a=x\0y"],
        ["e.__class__()=1"], ["e.a=[1,2"], ["e.a=[1]2"], ["e.a=[[1]]"], ['e.a="x"y'], ["e.a=[1\n2]"], ["e.a=\udcff"],
    ],
)  # fmt: skip
def test_what_is_no_value_is_one_problem(words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        parse_points(words)
    assert len(caught.value.problems) == 1


def test_a_step_of_0_is_named() -> None:
    with pytest.raises(UserError, match="step 0"):
        parse_points(["e.a=range(1,2,0)"])


def test_chains_are_nested() -> None:
    assert nested({"a.b": "1", "a.c": "2", "d": "3"}) == {"a": {"b": "1", "c": "2"}, "d": "3"}
    for clash in ({"a": "1", "a.b": "2"}, {"a.b": "1", "a": "2"}):
        with pytest.raises(UserError):
            nested(clash)
