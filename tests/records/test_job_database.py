"""The ledger: jobs and attempts; a broken file costs its history and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from minipach.model.job_entries import Attempt, DatumResult, FailedJob, JobRow, Raised, Repeated, Took, Try
from minipach.records.job_database import Ledger

COUNTS = {"ran": 2, "reused": 1, "current": 0, "removed": 0, "recovered": 0, "failed": 1}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger in a folder that doesn't exist yet."""
    made = Ledger(tmp_path / "state" / "ledger.sqlite")
    yield made
    made.close()


def attempt(
    ledger: Ledger,
    job: int,
    datum: str,
    *,
    pipeline: str = "edges",
    kind: Literal["ok", "failed", "lost"] = "ok",
    code: int = 0,
    forced: bool = False,
    log: str = "",
) -> None:
    result = DatumResult(0, kind, code, "m", took=Took(0.0, 0.0, 1.5, 0.5))
    ledger.add_attempt(job, pipeline, Attempt(datum, "id", result, 1, "h", log or f"{job}.log"), forced=forced)


def last_job(ledger: Ledger, pipeline: str) -> JobRow | None:
    """The last job of a pipeline."""
    return next(iter(ledger.jobs(pipeline, 1)), None)


def test_an_empty_ledger_knows_nothing(ledger: Ledger) -> None:
    assert last_job(ledger, "edges") is None
    assert ledger.last_attempts("edges") == {}


def test_a_job_runs_until_it_has_ended(ledger: Ledger) -> None:
    key = ledger.start_job("j1", "edges")
    job = last_job(ledger, "edges")
    assert job is not None
    assert (job.id, job.state, job.ended, job.commit) == ("j1", "running", None, "")
    ledger.end_job(key, "ok", COUNTS, "abc")
    job = last_job(ledger, "edges")
    assert job is not None
    assert (job.state, job.commit) == ("ok", "abc")
    assert job.ended is not None
    assert job.ended >= job.started


def test_the_last_job_of_each_pipeline_counts(ledger: Ledger) -> None:
    for job, pipeline in (("j1", "edges"), ("j2", "montage"), ("j1", "edges"), ("j3", "edges")):
        ledger.start_job(job, pipeline)
    last = [last_job(ledger, p) for p in ("edges", "montage")]
    assert [job.id for job in last if job] == ["j3", "j2"]


def test_the_last_attempt_of_each_datum_counts(ledger: Ledger) -> None:
    first, second = ledger.start_job("j1", "edges"), ledger.start_job("j2", "edges")
    attempt(ledger, first, "a", kind="failed", code=3)
    attempt(ledger, first, "b")
    attempt(ledger, second, "a")
    attempt(ledger, second, "a", pipeline="montage", kind="failed")
    found = ledger.last_attempts("edges")
    assert {name: (a.kind, a.result.exit, a.pass_key, a.log) for name, a in found.items()} == {
        "a": ("ok", 0, second, "2.log"),
        "b": ("ok", 0, first, "1.log"),
    }
    assert found["a"].took.seconds == 1.5


def test_a_try_that_is_told_twice_is_noted_once(ledger: Ledger) -> None:
    job = ledger.start_job("j1", "edges")
    failed, lost = (
        Try("failed", 3, "m", 10.0, 11.5, 1.5, 0.5, 4096, "h", "1.log"),
        Try("lost", 1, "its worker was lost"),
    )
    for one in (failed, lost, failed, lost):
        ledger.add_try(job, "edges", "a", one)
    attempt(ledger, job, "a")
    assert ledger.tries(job) == {"a": [failed, lost]}
    assert ledger.tries_of(job, "a") == [failed, lost]
    assert ledger.tries(job + 1) == {} == ledger.tries(job - 1)
    last = ledger.last_attempts("edges")["a"]
    assert (last.pass_key, last.last_try.kind, last.last_try.seconds) == (job, "ok", 1.5)


@pytest.mark.parametrize("state", ["interrupted", "error", None, "failed", "published"])
def test_memory_that_a_cut_short_job_raised_is_known_to_the_next_one(ledger: Ledger, state: str | None) -> None:
    first = ledger.start_job("j1", "edges")
    ledger.add_try(first, "edges", "a", Try("failed", 137, "killed", 10.0, log="1.log"), wants_memory=True)
    ledger.add_try(first, "edges", "a", Try("lost", 1, "its worker died", 11.0, log="2.log"))
    ledger.add_try(first, "edges", "a", Try("failed", 137, "killed", 12.0, log="3.log"), wants_memory=True)
    ledger.add_try(first, "edges", "b", Try("failed", 1, "m", 10.0, log="4.log"))
    assert ledger.raised(first, "j1", "edges") == {"a": Raised(failed=2, raised=2)}
    if state is not None:  # else it was killed
        ledger.end_job(first, state, COUNTS, "")
    second = ledger.start_job("j1", "edges")
    expected = {} if state in ("failed", "published") else {"a": Raised(failed=2, raised=2)}
    assert ledger.raised(second, "j1", "edges") == expected
    other = ledger.start_job("j2", "edges")
    assert ledger.raised(other, "j2", "edges") == {}, "other content"


def test_forced_runs_are_known_until_a_job_after_them_came_to_an_end(ledger: Ledger) -> None:
    def forced() -> list[str]:
        return [used.datum for used in ledger.forced_runs("edges")]

    killed, other = ledger.start_job("j1", "edges"), ledger.start_job("j2", "montage")
    attempt(ledger, killed, "a", forced=True)
    attempt(ledger, killed, "b")
    attempt(ledger, other, "c", pipeline="montage", forced=True)
    left = ledger.start_job("j3", "edges")
    attempt(ledger, left, "d", forced=True)
    attempt(ledger, left, "e", kind="failed", forced=True)
    ledger.leave_job(left)
    assert forced() == ["a", "d"]
    ledger.close_jobs("edges", "superseded")
    newest = ledger.start_job("j4", "edges")
    assert forced() == ["a", "d"]
    ledger.end_job(newest, "published", COUNTS, "abc")
    assert forced() == []


def test_pages_of_a_job_begin_with_what_failed(ledger: Ledger) -> None:
    key = ledger.start_job("j1", "edges")
    for name in "abcde":
        attempt(ledger, key, name, kind="failed" if name in "bd" else "lost" if name == "e" else "ok")
    pages = [[one.datum for one in ledger.some_attempts(key, first, 2)] for first in (0, 2, 4)]
    assert pages == [["b", "d"], ["e", "a"], ["c"]]


def test_a_file_of_an_earlier_version_gets_the_columns_that_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    now = Ledger(path)
    attempt(now, now.start_job("j1", "edges"), "a")
    now.close()
    old = sqlite3.connect(path)
    for column in ("forced", "memory", "outside"):
        old.execute(f"ALTER TABLE attempt DROP COLUMN {column}")
    old.commit()
    old.close()
    ledger = Ledger(path)
    [used] = ledger.attempts(1)
    assert (used.datum, used.took.memory, used.forced, used.outside) == ("a", None, False, "")
    ledger.close()


def test_each_job_in_which_a_datum_failed_is_there_with_its_limits(ledger: Ledger) -> None:
    def failed(job: int, datum: str, outside: str, kind: Literal["failed", "lost"] = "failed") -> None:
        result = DatumResult(0, kind, 1, f"message {job}")
        ledger.add_attempt(job, "edges", Attempt(datum, f"id of {datum}", result, 1, "h", "l", outside=outside))

    for job, outside in ((1, "time=60"), (2, ""), (2, "time=90"), (3, "")):
        failed(job, "a", outside)
    failed(1, "once", "")
    failed(2, "once", "", "lost")
    failed(1, "mended", "")
    failed(2, "mended", "")
    ledger.add_attempt(3, "edges", Attempt("mended", "id of mended", DatumResult(0, "ok"), 1, "h", "l"))
    ends = (
        FailedJob("a", "message 1", "time=60"),
        FailedJob("a", "message 2", "time=90"),
        FailedJob("a", "message 3", ""),
    )
    assert ledger.repeated_failures("edges", 2) == {"id of a": Repeated(ends)}
    assert ledger.repeated_failures("edges", 2, but=3) == {"id of a": Repeated(ends[:2])}
    assert ledger.repeated_failures("edges", 4) == {}
    assert [one.outside for one in ledger.attempts(2)] == ["", "time=90", "", ""]


def test_logs_are_where_the_project_was_moved_to(tmp_path: Path) -> None:
    there, here = tmp_path / "it's there", tmp_path / "here"
    before = Ledger(there / "ledger.sqlite")
    job = before.start_job("j1", "edges")
    attempt(before, job, "a", log=str(there / "logs/edges/1/a.log"))
    attempt(before, job, "b", log="/elsewhere/b.log")
    before.close()
    there.rename(here)
    ledger = Ledger(here / "ledger.sqlite")
    assert [used.log for used in ledger.attempts(job)] == [str(here / "logs/edges/1/a.log"), "/elsewhere/b.log"]
    ledger.close()


def test_any_text_is_kept(ledger: Ledger) -> None:
    name = "new\nline ' \" ; DROP TABLE job; ü"
    key = ledger.start_job(name, name)
    attempt(ledger, key, name, pipeline=name)
    assert ledger.last_attempts(name)[name].pass_key == key
    assert [row.key for row in ledger.jobs_called(name)] == [key]


def test_what_was_written_is_there_next_time(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    one = Ledger(path)
    one.start_job("j1", "edges")
    two = Ledger(path)  # at the same time, too
    assert last_job(two, "edges") is not None
    one.close()
    two.close()


def test_a_broken_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is no database, but it is long enough to be taken for one" * 50)
    ledger = Ledger(path)
    ledger.start_job("j1", "edges")
    assert last_job(ledger, "edges") is not None
    ledger.close()
    [aside] = tmp_path.glob("ledger.broken-*")
    assert aside.read_bytes().startswith(b"this is no database")


def test_a_file_that_cannot_be_reached_is_not_taken_for_broken(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.mkdir()
    with pytest.raises(sqlite3.OperationalError):
        Ledger(path)
    assert [p.name for p in tmp_path.iterdir()] == ["ledger.sqlite"]


def test_what_did_not_end_well_last_time_and_how_often(ledger: Ledger) -> None:
    for datum, kinds in (("a", ("failed", "failed", "lost")), ("b", ("failed", "ok")), ("c", ("ok", "failed"))):
        for kind in kinds:
            attempt(ledger, 1, datum, kind=kind)  # type: ignore[arg-type]
    attempt(ledger, 1, "d", kind="failed", pipeline="montage")
    found = ledger.failures("edges")
    assert {name: (f.kind, f.times) for name, f in found.items()} == {"a": ("lost", 1), "c": ("failed", 1)}
    assert (found["a"].datum_id, found["a"].message) == ("id", "m")


def test_what_is_noted_together_is_there_as_a_whole_or_not_at_all(ledger: Ledger) -> None:
    job = ledger.start_job("j", "edges")
    with ledger.together():
        attempt(ledger, job, "a")
        attempt(ledger, job, "b")
    with pytest.raises(RuntimeError), ledger.together():
        attempt(ledger, job, "c")
        raise RuntimeError
    attempt(ledger, job, "d")
    assert sorted(ledger.last_attempts("edges")) == ["a", "b", "d"]


def test_failures_count_no_lost_attempt(ledger: Ledger) -> None:
    for job, kind in enumerate(("lost", "failed", "lost", "failed")):
        attempt(ledger, ledger.start_job(f"j{job}", "edges"), "a", kind="lost" if kind == "lost" else "failed")
    assert {name: (f.kind, f.times) for name, f in ledger.failures("edges").items()} == {"a": ("failed", 2)}
    attempt(ledger, ledger.start_job("j9", "edges"), "a", kind="lost")
    assert [(f.kind, f.times) for f in ledger.failures("edges").values()] == [("lost", 3)]


def test_rows_of_another_program_are_left_out_of_a_chart(tmp_path: Path) -> None:
    """Columns are looked at as a whole; one odd value costs the row that has it, and no other."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    key = ledger.start_job("j", "edges")
    for name in ("a", "b", "c", "d", "e"):
        before = (Try("failed", 1, "no", 1.0, 2.0, 1.0),)
        result = DatumResult(0, "ok", took=Took(3.0, 4.0, 1.0, 1.0, 3 * 10**12))
        ledger.add_attempt(key, "edges", Attempt(name, name, result, 2, "host", "", 1.0, 5.0, before=before))
    assert len(ledger.runs(key)) == len(ledger.earlier_tries(key)) == 5 and ledger.noted(key)[::2] == (5, 5)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("UPDATE attempt SET began = 'now' WHERE datum = 'b'")
        db.execute("UPDATE attempt SET ended = 9e999 WHERE datum = 'c'")
        db.execute("UPDATE attempt SET memory = -1 WHERE datum = 'd'")
        db.execute("UPDATE try SET host = x'00' WHERE datum = 'e'")
    assert [run[0] for run in ledger.runs(key)] == ["a", "e"]
    assert [one[0] for one in ledger.earlier_tries(key)] == ["a", "b", "c", "d"]
    ledger.close()


def test_a_datum_that_succeeded_later_in_its_job_did_not_fail(ledger: Ledger) -> None:
    key = ledger.start_job("j", "edges")
    for name, state in (("a", "failed"), ("b", "failed"), ("a", "ok"), ("c", "ok"), ("c", "lost")):
        ledger.add_attempt(key, "edges", Attempt(name, name, DatumResult(0, state), 1, "host", "", 1.0, 2.0))  # type: ignore[arg-type]
    assert [attempt.datum for attempt in ledger.last_failed(key)] == ["b", "c"]
    assert ledger.datums_of(key) == {"a", "b", "c"}


def test_what_failed_in_a_job_is_found_in_linear_time(ledger: Ledger) -> None:
    def steps(count: int) -> int:
        """Return how many thousands of steps SQLite takes for so many datums that failed."""
        key = ledger.start_job("j", "edges")
        with ledger.together():
            for n in range(count):
                end = Attempt(f"d{n}", f"d{n}", DatumResult(0, "failed"), 1, "host", "", 1.0, 2.0)
                ledger.add_attempt(key, "edges", end)
        taken: list[None] = []
        ledger._database.set_progress_handler(lambda: taken.append(None), 1000)
        assert len(ledger.last_failed(key)) == count
        ledger._database.set_progress_handler(None, 0)
        return len(taken)

    assert steps(2000) < 6 * steps(500)
