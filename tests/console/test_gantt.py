"""The Gantt chart: tries as bars that can be pointed at, and how many ran at once."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from minipach.console.gantt import Bar, as_svg, concurrency

SVG = "{http://www.w3.org/2000/svg}"


def bar(row: str, start: float, end: float, kind: str = "ok") -> Bar:
    return Bar(row, row, kind, start, end, "try 1")


def test_short_tries_can_be_pointed_at() -> None:
    root = ET.fromstring(as_svg([bar("a", 0, 1000), bar("b", 5, 5)], ["a", "b"], lambda b: f"/{b.datum}"))
    wide = [float(rect.attrib["width"]) for rect in root.iter(f"{SVG}rect")]
    assert min(wide) >= 6 and [a.attrib["href"] for a in root.iter(f"{SVG}a")] == ["/a", "/b"]


def test_concurrency_counts_all_tries_though_some_rows_are_shown() -> None:
    bars = [bar("a", 0, 10), bar("b", 5, 15), bar("c", 10, 20)]
    assert concurrency(bars)[0] == 2
    assert "at most 2 at once" in as_svg(bars, ["a"], lambda _: "/")


def test_hostile_names_are_text() -> None:
    ET.fromstring(as_svg([bar('<script>"&\x00', 0, 1, "<odd>")], ['<script>"&\x00'], lambda b: '"><script>'))
