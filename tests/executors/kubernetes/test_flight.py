"""The flight of a set: which of its batches count, and the tries that were lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minipach.executors.kubernetes.batch import Batch
from minipach.executors.kubernetes.flight import Flight
from minipach.records.job_logs import lost_log
from tests.fixtures.work_sets import a_set

WORK = a_set(2)


def batch(name: str, *sets: str) -> Batch:
    return Batch(name, tuple((one,) for one in (*sets, WORK.id)))


def flight(*runs: Batch, **more: object) -> Flight:
    made = Flight(WORK, {0, 1}, list(runs))
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_a_set_that_was_never_submitted_is_over() -> None:
    assert flight().state({})[0] == "over"
    assert flight().in_vain == 0 and flight().lost_tries() == ()


def test_the_last_batch_decides() -> None:
    first, last = batch("one"), batch("two", "x")
    jobs: dict[str, dict[str, Any]] = {"one": {"status": {}}, "two": {"status": {"failedIndexes": "1"}}}
    assert flight(first, last).state(jobs) == ("over", "its index failed")
    jobs["two"] = {"status": {"failedIndexes": "0", "completedIndexes": "2-5"}}
    assert flight(first, last).state(jobs) == ("alive", "")
    assert flight(first).state({"two": {"status": {}}}) == ("over", "the Job is gone")


def test_batches_in_vain_are_counted_since_the_last_report() -> None:
    assert flight(batch("one"), batch("two"), counted=1).in_vain == 1
    assert flight(batch("one"), counted=1).in_vain == 0


def test_each_earlier_batch_is_a_lost_try_with_its_reason_and_log(tmp_path: Path) -> None:
    work = a_set(1, log=str(tmp_path / "0.log"))
    runs = [Batch(name, ((work.id,),)) for name in ("one", "two", "three")]
    kept = Path(lost_log(work.log, 2))
    kept.write_text("the end\n")
    found = Flight(work, {0}, runs, ends={"two": "pod p; Evicted"}).lost_tries()
    assert [(one.kind, one.log) for one in found] == [("lost", ""), ("lost", str(kept))]
    assert "one" in found[0].message and found[1].message.endswith("(pod p; Evicted)")
    assert Flight(a_set(1, chunk=True), {0}, runs).lost_tries() == (), "its worker reports its own tries"
