"""Which pipeline takes from which: the order, and the circles. Letters take from the letters after their colon."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from minipach.project.dependencies import circles, in_order, reached, turned


def graph(*rows: str) -> dict[str, set[str]]:
    return {path: set(ups) for path, ups in (row.split(":") for row in rows)}


def test_each_comes_after_what_it_takes_from() -> None:
    assert in_order(graph("a:c", "b:", "c:b")) == ("b", "c", "a")


def test_a_circle_keeps_the_others_in_order() -> None:
    order = in_order(graph("d:ca", "a:", "b:ca", "c:b", "e:e"))
    assert sorted(order) == list("abcde")
    assert order.index("a") < order.index("b")
    assert max(order.index("b"), order.index("c")) < order.index("d")


def test_every_circle_is_shown_from_its_first_by_name() -> None:
    assert circles(graph("a:b", "b:", "c:ab")) == []
    assert circles(graph("c:b", "b:a", "a:c")) == [("a", "c", "b")]
    assert circles(graph("a:a", "b:c", "c:b")) == [("a",), ("b", "c")]
    assert circles(graph("a:bc", "b:a", "c:b")) == [("a", "b"), ("a", "c", "b")]


def test_up_and_down() -> None:
    found = graph("a:", "b:a", "c:b", "d:a", "e:e")
    assert reached(found, ["c"]) == {"a", "b", "c"}
    assert reached(turned(found), ["b"]) == {"b", "c"}
    assert reached(found, ["e"]) == {"e"}


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef"))))
def test_each_input_that_is_part_of_a_circle_is_in_one_that_is_told(some: dict[str, set[str]]) -> None:
    found = {path: some.get(path, set()) for path in "abcdef"}
    told = {(a, b) for circle in circles(found) for a, b in pairwise([*circle, circle[0]])}
    assert all(b in found[a] for a, b in told)
    assert told == {(a, b) for a in found for b in found[a] if a in reached(found, [b])}
    order = in_order(found)
    assert sorted(order) == list("abcdef")
    assert all(order.index(b) < order.index(a) for a in found for b in found[a] if (a, b) not in told)
