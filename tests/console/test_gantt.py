"""The Gantt chart: tries as bars that can be pointed at, and how many ran at once."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from minipach.console.gantt import Bar, as_svg
from minipach.console.timeline import Timeline, by_datum
from tests.fixtures.timelines import tries

SVG = "{http://www.w3.org/2000/svg}"


def test_short_tries_can_be_pointed_at() -> None:
    found = tries(("a", 0, 1000), ("b", 5, 5))
    root = ET.fromstring(as_svg(found, by_datum(found), [0, 1], lambda b: f"/{b.datum}"))
    wide = [float(rect.attrib["width"]) for rect in root.iter(f"{SVG}rect")]
    assert min(wide) >= 6 and [a.attrib["href"] for a in root.iter(f"{SVG}a")] == ["/a", "/b"]


def test_concurrency_counts_all_tries_though_some_rows_are_shown() -> None:
    found = tries(("a", 0, 10), ("b", 5, 15), ("c", 10, 20))
    text = as_svg(found, by_datum(found), [0], lambda _: "/")
    assert "at most 2 at once" in text and text.count("<a ") == 1


def test_hostile_names_are_text() -> None:
    found = tries(('<script>"&\x00', 0, 1))
    ET.fromstring(as_svg(found, by_datum(found), [0], lambda b: '"><script>'))


def test_phases_are_around_the_command() -> None:
    one = Bar("a", "ok", 3, 5, queued=0, staged=2, kept=6)
    assert one.phases() == [("queued", 0, 2), ("staging", 2, 3), ("running", 3, 5), ("publishing", 5, 6)]
    found = Timeline(("a",), ("h",), ("ok",), (1,), (3,), (5,), (0,), (2,), (6,))
    root = ET.fromstring(as_svg(found, by_datum(found), [0], lambda _: "/", published=8, critical=[0]))
    shown = {rect.attrib["class"] for rect in root.iter(f"{SVG}rect")}
    assert shown == {"queued", "staging", "ok critical", "publishing"}
    assert Bar("a", "ok", 3, 5).phases() == [("running", 3, 5)], "what is not known is not drawn"


def test_lanes_by_worker_begin_when_those_by_datum_do() -> None:
    found = Timeline(("a",), ("h",), ("ok",), (1,), (3,), (5,), (1,), (2,), (6,))
    assert found.for_workers().queued == (None,)
    assert found.for_workers().extent(7) == found.extent(7) == (1, 7)
    assert Timeline((), (), (), (), (), (), (), (), ()).for_workers().began is None


def test_times_of_long_jobs_have_hours() -> None:
    found = tries(("a", 0, 7200))
    assert ">2 h 00 min<" in as_svg(found, by_datum(found), [0], lambda _: "/")
