"""How far a job is: the ledger, the sets that were noted, what the engine has, and nothing counted twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.model.job_entries import Attempt, DatumResult
from minipach.model.work_set import Outcome
from minipach.records.job_database import Ledger
from minipach.records.job_logs import note_set
from minipach.views.progress import JobProgress, Sheet


class Job:
    """A job of eight datums that is to be looked at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "logs"
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.key = self.ledger.start_job("j1", "edges")
        self.ledger.note_asked(self.key, 8)
        self.sheet = Sheet(self.folder, self.key)

    def took_in(self, name: str) -> None:
        attempt = Attempt(name, "id", DatumResult(0, "ok"), 1, "h", "l", started=100.0)
        self.ledger.add_attempt(self.key, "edges", attempt)

    def look(self, *outcomes: Outcome, running: str = "") -> JobProgress:
        (row,) = self.ledger.jobs()
        self.sheet.read(self.ledger)
        return self.sheet.progress(row, running.split(), outcomes)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    made = Job(tmp_path)
    yield made
    made.ledger.close()


def outcome(set_id: str, kind: str = "ok", **more: object) -> Outcome:
    data = {"kind": kind, "exit": 0, "message": "", "seconds": 1.0, "tries": 1, "log": "", "host": "h"}
    return Outcome(set_id, **{**data, **more})  # type: ignore[arg-type]


def test_what_has_come_counts_once_whoever_tells_of_it(job: Job) -> None:
    assert job.look() == JobProgress(8, 0, 0, 0)
    note_set(job.folder, "0.log", ["a", "b"], ident="s1", holds=["a", "b"], tries=3)
    note_set(job.folder, "1.log", ["c", "d"], ident="s2", holds=["c", "d"], tries=3)
    assert job.sheet.open_sets() == {}
    now = job.look(running="s1 s2")
    assert (now.done, now.running, now.behind, now.waiting) == (0, 2, 2, 6), "each set runs one after the other"
    assert job.sheet.open_sets() == {"s1": "a and 1 more", "s2": "c and 1 more"}
    now = job.look(outcome("s1", started=90.0), running="s2")
    assert (now.done, now.running, now.waiting, now.since) == (2, 1, 5, 90.0)
    job.took_in("a"), job.took_in("b")
    assert job.look(outcome("s1"), running="s2") == now
    assert job.sheet.open_sets() == {"s2": "c and 1 more"}


def test_a_datum_that_is_tried_again_by_itself_is_not_done(job: Job) -> None:
    note_set(job.folder, "0.log", ["a", "b"], ident="s1", holds=["a", "b"], tries=2)
    bad = outcome("s1", datums=(DatumResult(0, "ok"), DatumResult(1, "failed", 3, "exit 3")))
    assert (job.look(bad).done, job.look(bad).failed, job.look(bad).waiting) == (1, 0, 7)
    note_set(job.folder, "1.log", ["b"], ident="s2", holds=["b"], tries=2)
    assert job.look(bad, running="s2").running == 1
    now = job.look(bad, outcome("s2", "failed"))
    assert (now.done, now.failed, now.waiting) == (1, 1, 6)


def test_a_chunk_is_told_of_in_parts(job: Job) -> None:
    note_set(job.folder, "0-a.log", [], ident="s1", holds=list("abcd"), tries=3)
    note_set(job.folder, "0-a-1.log", ["a"])
    note_set(job.folder, "0-a-2.log", ["b", "c", "d"])
    (job.folder / "0-a-2.log").write_text("datum: begins 1\nso it says\ndatum: begins 3\n")
    now = job.look(outcome("s1", datums=(DatumResult(0, "ok"),)), running="s1")
    assert (now.done, now.ran, now.running, now.behind, now.waiting) == (1, 2, 1, 0, 4)


def test_how_far_a_set_is_its_log_tells(job: Job) -> None:
    names = list("abcdefgh")
    note_set(job.folder, "0.log", names, ident="s1", holds=names, tries=3)
    log = job.folder / "0.log"
    for text, ran, running, behind in [
        ("set up\n", 0, 1, 7),
        ("datum: begins 3\nso it says\n", 2, 1, 5),
        (" datum: begins 7\n", 2, 1, 5),
        ("datum: begins 8\n", 7, 1, 0),
        ("datum: begins 0\nand now it is kept\n", 8, 0, 0),
    ]:
        with log.open("a") as file:
            file.write(text)
        now = job.look(running="s1")
        assert (now.ran, now.running, now.behind, now.waiting) == (ran, running, behind, behind)


def test_what_a_set_of_one_prints_is_no_mark(job: Job) -> None:
    note_set(job.folder, "0.log", ["a"], ident="s1", holds=["a"], tries=3)
    (job.folder / "0.log").write_text("datum: begins 7\n")
    assert (job.look(running="s1").ran, job.look(running="s1").running) == (0, 1)


def test_outcomes_of_other_jobs_and_half_a_line_do_not_count(job: Job) -> None:
    note_set(job.folder, "0.log", ["a"], ident="s1", holds=["a"], tries=3)
    with (job.folder / "sets.jsonl").open("a") as file:
        file.write('{"log": "1.log", "da')
    assert job.look(outcome("other"), running="another") == JobProgress(8, 0, 0, 0)
