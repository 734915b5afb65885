"""Rows of the job database, which anything can have written: what is kept can be shown."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from minipach.model.job_entries import Attempt, JobRow, Try
from minipach.records.job_history import attempt_json, job_json, try_json
from minipach.records.job_rows import COUNTS, RUN_KINDS, AttemptRow, as_attempts, as_jobs, as_tries, plain_rows

ATTEMPT: dict[str, Any] = {
    "job": 1,
    "datum": "a.txt",
    "datum_id": "id",
    "kind": "ok",
    "exit": 0,
    "message": "m",
    "tries": 2,
    "seconds": 1.5,
    "cpu": 0.5,
    "memory": 7,
    "bytes_in": 8,
    "bytes_out": 9,
    "host": "h",
    "log": "l",
    "ended": 100.0,
    "started": 90.0,
    "began": 91.0,
    "finished": 99.0,
    "disk": 10,
    "forced": 1,
    "outside": "o",
}
VALUES = some.one_of(
    some.none(),
    some.integers(-(2**63), 2**63 - 1),
    some.floats(allow_nan=False),
    some.text(max_size=5),
    some.binary(max_size=5),
)


def attempts(**values: Any) -> list[Attempt]:
    """The attempts of one row."""
    return as_attempts([tuple({**ATTEMPT, **values}.values())])


def test_an_attempt_has_all_columns() -> None:
    assert list(ATTEMPT) == [field.name for field in fields(AttemptRow)]
    (attempt,) = attempts()
    assert (attempt.datum, attempt.kind, attempt.tries, attempt.host, attempt.log) == ("a.txt", "ok", 2, "h", "l")
    assert (attempt.started, attempt.ended, attempt.forced, attempt.outside) == (90.0, 100.0, True, "o")
    assert (attempt.took.began, attempt.took.ended, attempt.took.memory, attempt.took.disk) == (91.0, 99.0, 7, 10)
    assert (attempt.result.bytes_in, attempt.result.bytes_out) == (8, 9)


def test_columns_that_older_versions_did_not_have_are_empty() -> None:
    names = ("job", "memory", "bytes_in", "bytes_out", "started", "began", "finished", "disk", "forced", "outside")
    (attempt,) = attempts(**dict.fromkeys(names))
    assert (attempt.started, attempt.took.began, attempt.forced, attempt.outside) == (None, 0.0, False, "")


def test_a_kind_of_a_later_version_counts_as_failed() -> None:
    assert [attempt.kind for attempt in attempts(kind="evaporated")] == ["failed"]


def test_a_value_of_another_kind_leaves_its_row_out_and_no_other() -> None:
    good = tuple(ATTEMPT.values())
    for name, value in (
        ("datum", None),
        ("datum", b"a"),
        ("exit", "0"),
        ("tries", 2**63 - 1),
        ("seconds", float("inf")),
        ("ended", -1.0),
        ("ended", 1e18),
        ("started", 1e18),
        ("began", 1e18),
        ("finished", -5.0),
        ("memory", 1.5),
    ):
        bad = tuple({**ATTEMPT, name: value}.values())
        assert len(as_attempts([good, bad, good])) == 2, (name, value)


@given(some.dictionaries(some.sampled_from(list(ATTEMPT)), VALUES))
def test_each_attempt_that_is_kept_can_be_shown(values: dict[str, Any]) -> None:
    for attempt in attempts(**values):
        json.dumps(attempt_json(attempt, [attempt.last_try]), allow_nan=False)


JOB = (1, "id", "edges", "ok", 10.0, 20.0, "c", 3, "hook", *range(len(COUNTS)))


@given(some.dictionaries(some.integers(0, len(JOB) - 1), VALUES))
def test_each_job_that_is_kept_can_be_shown(values: dict[int, Any]) -> None:
    row = tuple(values.get(number, value) for number, value in enumerate(JOB))
    for job in as_jobs([row]):
        json.dumps(job_json(job), allow_nan=False)


def test_a_job() -> None:
    counts = dict(zip(COUNTS, range(len(COUNTS)), strict=True))
    assert as_jobs([JOB]) == [JobRow(1, "id", "edges", "ok", 10.0, 20.0, "c", counts, 3, "hook")]
    running = (*JOB[:5], None, *JOB[6:9], *(None,) * len(COUNTS))
    assert [job.counts for job in as_jobs([running])] == [dict.fromkeys(COUNTS, 0)]


TRY = ("failed", 1, "m", 10.0, 20.0, 1.0, 0.5, 7, "h", "l")


@given(some.dictionaries(some.integers(0, len(TRY) - 1), VALUES))
def test_each_try_that_is_kept_can_be_shown(values: dict[int, Any]) -> None:
    assert as_tries([TRY]) == [Try(*TRY)]
    for one in as_tries([tuple(values.get(number, value) for number, value in enumerate(TRY))]):
        json.dumps(try_json(1, one), allow_nan=False)


RUN = ("a", "ok", 1, "h", 20.0, 10.0, None, 19.0, 0.5, 7)


@given(some.dictionaries(some.integers(0, len(RUN) - 1), VALUES))
def test_a_row_of_a_chart_is_left_out_alone(values: dict[int, Any]) -> None:
    odd = tuple(values.get(number, value) for number, value in enumerate(RUN))
    found = plain_rows([RUN, odd, RUN], RUN_KINDS)
    assert found in ([RUN, RUN], [RUN, odd, RUN])
    assert found == [RUN, *plain_rows([odd], RUN_KINDS), RUN]
    assert plain_rows([], RUN_KINDS) == []
