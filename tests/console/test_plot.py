"""The plot of an experiment: points at their values, scales for numbers, categories for other values."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from minipach.console.plot import Point, as_svg

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<script>\x00\x1b[2J&'\""


def circles(text: str) -> list[tuple[float, float]]:
    return [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in ET.fromstring(text).iter(f"{SVG}circle")]


def test_numbers_are_at_their_places() -> None:
    (x1, y1), (x2, y2), (x3, y3) = circles(as_svg([Point("1", 0, ""), Point("2", 5, ""), Point("5", 10, "")], "x", "y"))
    assert x2 - x1 == pytest.approx((x3 - x1) / 4, abs=0.2) and y2 == pytest.approx((y1 + y3) / 2, abs=0.2)
    assert y1 > y3, "larger values are higher"


def test_other_values_are_categories_in_their_order() -> None:
    text = as_svg([Point("adam", 1, ""), Point("sgd", 2, ""), Point("adam", 3, "")], "solver", "loss")
    (a, _), (b, _), (c, _) = circles(text)
    assert a == c < b and ">adam<" in text and ">sgd<" in text


@pytest.mark.parametrize("values", [["1"], ["1", "1"], ["nan", "1"], ["inf"], ["1e308", "-1e308"], [""]])
def test_odd_values_are_drawn(values: list[str]) -> None:
    found = circles(as_svg([Point(value, 1.0, "") for value in values], "x", "y"))
    assert len(found) == len(values) and all(0 <= x <= 700 and 0 <= y <= 300 for x, y in found)


def test_hostile_names_are_text() -> None:
    text = as_svg([Point(EVIL, 1.0, EVIL), Point("a", 2.0, EVIL)], EVIL, EVIL)
    root = ET.fromstring(text)
    assert not list(root.iter(f"{SVG}script")) and "<script" not in text


def test_without_points_there_is_no_plot() -> None:
    assert as_svg([], "x", "y") == ""


def test_equal_values_have_a_scale_of_their_size() -> None:
    text = as_svg([Point("1", 0.04, ""), Point("2", 0.04, "")], "limit", "share")
    scale = [float(one) for one in re.findall(r'text-anchor="end">([^<]+)<', text)]
    assert min(scale) > 0 and max(scale) < 0.1 and ">share<" in text
