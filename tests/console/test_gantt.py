"""The Gantt chart: tries as bars that can be pointed at, and how many ran at once."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

from minipach.console.gantt import Bar, as_columns, as_svg, concurrency, critical_path, lanes, rows_of, staged

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


def test_columns_have_all_bars_by_row_and_time() -> None:
    late = Bar("b", "b", "failed", 12.5, 14, "try 2", queued=10, staged=12, kept=20, number=2)
    bars = [bar("b", 10, 12), bar("a", 11, 11), late]
    found = as_columns(bars, rows_of(bars), 21, [late])
    assert found["bars"] == 3 and found["rows"] == ["b", "a"] and found["begin"] == 10 and found["span"] == 11_000
    assert [found["rows"][n] for n in found["row"]] == ["b", "b", "a"]
    assert [found["kinds"][n] for n in found["kind"]] == ["ok", "failed", "ok"]
    assert found["start"] == [0, 2500, 1000] and found["end"] == [2000, 4000, 1000]
    assert found["queued"] == [None, 0, None] and found["kept"] == [None, 10_000, None]
    assert found["number"] == [1, 2, 1] and found["critical"] == [1] and found["published"] == 11_000
    assert found["most_at_once"] == 1 and len(found["curve"][0]) == len(found["curve"][1])
    assert as_columns([], [], None, []) == {"bars": 0}


def test_tries_of_a_worker_that_ran_at_once_are_in_rows_of_their_own() -> None:
    bars = [Bar("host", str(n), "ok", n, n + 2.5, "try 1", queued=-9) for n in range(5)] + [bar("other", 0, 9)]
    found = lanes(bars)
    assert {b.queued for b in found} == {None}, "what waited for any worker would hide what ran before"
    assert rows_of(found, by_name=True) == ["host", "host (2)", "host (3)", "other"]
    assert sorted(b.datum for b in found) == sorted(b.datum for b in bars)
    for row in rows_of(found):
        spans = sorted((b.start, b.end) for b in found if b.row == row)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert rows_of([bar(f"n{n}", 0, 1) for n in (10, 9)], by_name=True) == ["n9", "n10"]
