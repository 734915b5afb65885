"""The Gantt chart: tries as bars that can be pointed at, and how many ran at once."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from minipach.console.gantt import Bar, as_svg, concurrency, critical_path, staged

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


def test_phases_are_around_the_command() -> None:
    one = Bar("a", "a", "ok", 3, 5, "try 1", queued=0, staged=2, kept=6)
    assert one.phases() == [("queued", 0, 2), ("staging", 2, 3), ("running", 3, 5), ("publishing", 5, 6)]
    root = ET.fromstring(as_svg([one], ["a"], lambda _: "/", published=8))
    shown = {rect.attrib["class"] for rect in root.iter(f"{SVG}rect")}
    assert shown == {"queued", "staging", "ok critical", "publishing"}
    assert bar("a", 3, 5).phases() == [("running", 3, 5)], "what is not known is not drawn"


def test_datums_of_a_set_are_staged_one_after_the_other() -> None:
    spans = [("s", 0.0, 1.0, 4.0), ("s", 0.0, 4.5, 6.0), ("t", 0.0, 2.0, 3.0)]
    assert staged(spans) == [0.0, 4.0, 0.0]


def test_the_critical_path_leads_to_the_end() -> None:
    slow, after, aside = bar("slow", 0, 10), bar("after", 10.1, 12), bar("aside", 0, 3)
    assert critical_path([aside, slow, after]) == [slow, after]
    assert critical_path([bar("a", 0, 1), bar("b", 60, 61)]) == [bar("b", 60, 61)], "a pause ends it"
    assert critical_path([]) == []
    same = [bar("a", 5, 5), bar("b", 5, 5)]
    assert len(critical_path(same)) == 1
