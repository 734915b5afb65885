"""Datums as rows: their states, and how they are selected and sorted."""

from __future__ import annotations

from minipach.model.job_entries import Attempt, DatumResult, Took
from minipach.model.states import ResultState
from minipach.planning.plan import Plan, PlannedDatum
from minipach.views.datum_table import STATES, DatumTable, by_reason, table_of


def used(datum: str, datum_id: str, state: ResultState, seconds: float = 1.0, memory: int | None = None) -> Attempt:
    took = Took(1.0, 2.0, seconds, 0.5, memory)
    return Attempt(datum, datum_id, DatumResult(0, state, 3, f"{datum} broke", took=took), 1, "h", "")


def table() -> DatumTable:
    steps = (
        PlannedDatum("a", "1", "current", ""),
        PlannedDatum("b", "2", "run", "new content"),
        PlannedDatum("c", "3", "run", "new content"),
        PlannedDatum("d", "4", "skip", "failed in 2 jobs"),
        PlannedDatum("e", "5", "run", "new content"),
        PlannedDatum("f", "6", "run", "new content"),
    )
    last = {
        "a": used("a", "1", "ok", 3.0, memory=10),
        "b": used("b", "2", "failed", 2.0),
        "c": used("c", "of earlier content", "failed"),
        "d": used("d", "4", "failed", 1.0),
        "e": used("e", "5", "recovered"),
        "f": used("f", "6", "lost"),
    }
    return table_of(Plan("edges", steps), last)


def test_states() -> None:
    states = {row.name: row.state for row in table().rows}
    assert states == {"a": "current", "b": "failed", "c": "to run", "d": "skipped", "e": "recovered", "f": "lost"}
    assert set(states.values()) <= set(STATES)


def test_attempts_with_other_content_say_nothing() -> None:
    row = table().row("c")
    assert row is not None and (row.seconds, row.exit, row.reason) == (None, None, "new content")


def test_unknown_numbers_come_last_in_both_directions() -> None:
    for reverse in (False, True):
        names = [row.name for row in table().select(sort="seconds", reverse=reverse)]
        assert names[-1] == "c" and (names[0] == "a") is reverse
    assert next(row.name for row in table().select(sort="memory")) == "a"


def test_rows_are_selected_by_state_and_by_text() -> None:
    assert [row.name for row in table().select(state="failed")] == ["b"]
    assert [row.name for row in table().select(text="2 jobs")] == ["d"]


def test_equal_failures_are_grouped_without_their_own_names() -> None:
    steps = tuple(PlannedDatum(name, name, "run", "new content") for name in ("x.txt", "y.txt"))
    rows = table_of(Plan("edges", steps), {n: used(n, n, "failed") for n in ("x.txt", "y.txt")}).rows
    assert by_reason(rows) == {("failed", "* broke"): ["x.txt", "y.txt"]}
