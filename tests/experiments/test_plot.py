"""Charts of an experiment."""

from __future__ import annotations

from xml.etree import ElementTree

from minipach.experiments.metrics import MetricRow
from minipach.experiments.plot import charted, svg, text

EVIL = "<script>\x1b[2J&'\""
ROWS = [
    MetricRow(1, {"lr": "0.1"}, 1, 1, {"loss": 4.0, "name": "x"}),
    MetricRow(2, {"lr": EVIL}, 1, 1, {"loss": -4.0, "name": "y"}),
    MetricRow(3, {"lr": "0.3"}, 0, 1, {}),
]


def test_bars_have_the_length_of_their_values() -> None:
    lines = text(ROWS)
    assert charted(ROWS) == ["loss"]
    assert lines[0] == "loss"
    assert lines[1].endswith(" " * 20 + "#" * 20 + " 4"), "from 0 in the middle to the right"
    assert lines[2].endswith("  " + "#" * 20 + " -4"), "from 0 in the middle to the left"
    assert lines[3].endswith("  -")
    assert not any("\x1b" in line for line in lines)


def test_an_svg_is_well_formed_whatever_the_names_are() -> None:
    root = ElementTree.fromstring(svg(ROWS, EVIL.replace("\x1b", "")))
    _, *bars = root.iter("{http://www.w3.org/2000/svg}rect")
    assert [(bar.attrib["x"], bar.attrib["width"]) for bar in bars] == [("360", "160"), ("200", "160"), ("200", "1")]
    assert not list(root.iter("script"))


def test_all_values_zero_is_no_error() -> None:
    rows = [MetricRow(1, {"a": "1"}, 1, 1, {"loss": 0.0})]
    assert text(rows) == ["loss", "  1: a=1  0"]
    ElementTree.fromstring(svg(rows, "x"))
