"""The tries of a job as columns: when each waited and ran, its row, and what the end of the job waited for."""

from __future__ import annotations

from itertools import pairwise

from minipach.console.timeline import (
    Timeline,
    as_columns,
    by_datum,
    by_worker,
    concurrency,
    critical_path,
    timeline_of,
)
from minipach.records.job_rows import EarlierTry, Run
from tests.fixtures.timelines import tries


def test_concurrency_counts_what_runs_at_once() -> None:
    assert concurrency(tries(("a", 0, 10), ("b", 5, 15), ("c", 10, 20))) == (
        2,
        [(0, 0), (0, 1), (5, 1), (5, 2), (10, 2), (10, 1), (10, 1), (10, 2), (15, 2), (15, 1), (20, 1), (20, 0)],
    )
    many = concurrency(tries(*[(f"d{n}", n, n + 3.5) for n in range(5000)]))
    assert many[0] == 4 and len(many[1]) <= 1001


def run(datum: str, start: float, end: float, **more: object) -> Run:
    """What became of a datum: its set began at 0.5 and ended at 20, on host `h`."""
    found = {"kind": "ok", "tries": 1, "host": "h", "ended": 20.0, "began": 0.5} | more
    kind, count, host, ended, began = (found[name] for name in ("kind", "tries", "host", "ended", "began"))
    return datum, kind, count, host, ended, began, start, end, 2.0, 7  # type: ignore[return-value]


def test_datums_of_a_set_are_staged_one_after_the_other() -> None:
    found = timeline_of([(-5.0, [run("a", 1, 4), run("b", 4.5, 6), run("c", 2, 3, host="other")], [])])
    assert list(zip(found.datum, found.staged, found.queued, strict=True)) == [
        ("a", 0.5, -5.0),
        ("c", 0.5, -5.0),
        ("b", 4.0, -5.0),
    ]
    assert set(found.kept) == {20.0} and found.cpu == 6 and found.memory == 7


def test_earlier_tries_come_first_and_only_the_first_was_queued() -> None:
    before: list[EarlierTry] = [("a", "failed", 1.0, 2.0, "h", 1.0, 9), ("a", "lost", None, None, "h", 0.5, None)]
    found = timeline_of([(0.0, [run("a", 3, 5, tries=3), run("b", 0, 0, tries=0)], before)])
    assert [(*one,) for one in zip(found.number, found.kind, found.queued, found.kept, strict=True)] == [
        (1, "failed", 0.0, None),
        (3, "ok", None, 20.0),
    ]
    assert found.cpu == 3.5 and found.memory == 9, "a try without times has cost something, too"
    assert not len(timeline_of([])) and critical_path(timeline_of([])) == []


def test_the_critical_path_leads_to_the_end() -> None:
    found = tries(("aside", 0, 3), ("slow", 0, 10), ("after", 10.1, 12))
    assert [found.datum[at] for at in critical_path(found)] == ["slow", "after"]
    assert critical_path(tries(("a", 0, 1), ("b", 60, 61))) == [1], "a pause ends it"
    assert len(critical_path(tries(("a", 5, 5), ("b", 5, 5)))) == 1


def test_columns_have_all_tries_by_row_and_time() -> None:
    found = Timeline(
        *(("b", "a", "b"), ("h", "h", "h"), ("ok", "ok", "failed"), (1, 1, 2), (10, 11, 12.5), (12, 11, 14)),
        *((None, None, 10), (None, None, 12), (None, None, 20)),
    )
    columns = as_columns(found, by_datum(found), 21, [2])
    assert columns["bars"] == 3 and columns["datums"] == ["b", "a"] and columns["begin"] == 10
    assert columns["rows"] is None and columns["row"] is None, "rows that are datums are sent once"
    assert [columns["datums"][n] for n in columns["datum"]] == ["b", "b", "a"]
    assert [columns["kinds"][n] for n in columns["kind"]] == ["ok", "failed", "ok"]
    assert columns["start"] == [0, 2500, 1000] and columns["end"] == [2000, 4000, 1000]
    assert columns["queued"] == [None, 0, None] and columns["kept"] == [None, 10_000, None]
    assert columns["number"] == [1, 2, 1] and columns["critical"] == [1] and columns["published"] == 11_000
    assert columns["most_at_once"] == 1 and len(columns["curve"][0]) == len(columns["curve"][1])
    assert columns["span"] == 11_000
    assert as_columns(found, by_worker(found), 21, [])["rows"] == ["h", "h (2)"]
    assert as_columns(timeline_of([]), by_datum(timeline_of([])), None, []) == {"bars": 0}


def test_tries_of_a_worker_that_ran_at_once_are_in_rows_of_their_own() -> None:
    found = tries(*[(str(n), n, n + 2.5) for n in range(5)], host="host")
    rows = by_worker(found)
    assert rows.names == ["host", "host (2)", "host (3)"]
    for row in range(3):
        spans = [(found.start[at], found.end[at]) for at in range(5) if rows.of[at] == row]
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    names = by_worker(timeline_of([(0.0, [run("a", 1, 2, host="n10"), run("b", 1, 2, host="n9")], [])])).names
    assert names == ["n9", "n10"]
    assert set(timeline_of([(0.0, [run("a", 1, 2)], [])]).for_workers().queued) == {None}
