"""All that runs as one stream, and what failed in the last jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.model.job_entries import Try
from minipach.project.project import find_project
from minipach.records.job_database import Ledger
from minipach.records.job_logs import note_set
from minipach.views.logs import part_of_try, stream_all
from tests.fixtures.projects import Study
from tests.fixtures.refusals import refused

COUNTS = {"ran": 1, "reused": 0, "current": 0, "removed": 0, "recovered": 0, "failed": 0}


def printed(study: Study, pipeline: str, key: int, datum: str, text: str) -> Path:
    """The log of a set of one datum in a job."""
    folder = study.root / ".git/minipach/logs" / pipeline / str(key)
    note_set(folder, "0.log", [datum])
    (folder / "0.log").write_text(text)
    return folder / "0.log"


def test_jobs_of_all_pipelines_are_followed_until_nothing_is_on_its_way(study: Study) -> None:
    project = find_project(study.root)
    ledger = Ledger(project.state_dir / "ledger.sqlite")
    before = ledger.start_job("0" * 32, "edges")
    printed(study, "edges", before, "old", "of an earlier job\n")
    ledger.end_job(before, "published", COUNTS, "")
    with refused("log.nothing-runs"):
        next(stream_all(project, print))

    edges = ledger.start_job("1" * 32, "edges")
    ledger.leave_job(edges)
    log = printed(study, "edges", edges, "a", "one\n")
    lines = stream_all(project, print)
    assert next(lines) == ("edges", "a", "one")
    with log.open("a") as file:
        file.write("two\nand no end")
    short = ledger.start_job("2" * 32, "montage")  # begins and ends between two looks
    printed(study, "montage", short, "/", "three\n")
    for key in (short, edges):
        ledger.end_job(key, "published", COUNTS, "")
    ledger.close()
    assert list(lines) == [("edges", "a", "two"), ("edges", "a", "and no end"), ("montage", "/", "three")]


@pytest.mark.slow
def test_what_failed_in_the_last_jobs_is_shown_without_asking_for_more(study: Study) -> None:
    assert study.minipach("logs").out.startswith("nothing failed in the last jobs; minipach logs PIPELINE [DATUM]")
    for name, text in (("good", "1"), ("bad", "bad")):
        study.put(f"images/{name}", text, save=False)
    study.save("images")
    study.copier(more="datum_tries: 1\n")
    (study.root / "edges/code/copy.sh").write_text(
        'echo "saw $MINIPACH_DATUM"\ngrep -q bad "$images" && exit 3\ntrue\n'
    )
    job = study.schedule(code=1)["edges"]["job"]
    failed = study.minipach("logs")
    head, saw = failed.out.splitlines()[:2]
    assert (failed.code, head, saw) == (0, "== edges: bad: failed, the command exited with 3", "saw bad")
    assert "saw good" not in failed.out
    # a job that has only just begun takes nothing away from what is to be seen
    ledger = Ledger(study.root / ".git/minipach/ledger.sqlite")
    ledger.leave_job(ledger.start_job("1" * 32, "edges"))
    assert study.minipach("logs").out == failed.out
    ledger.close_jobs("edges", "cancelled")
    ledger.close()
    assert "== good: ok" in study.minipach("logs", "--job", job).out, "a job says of which pipeline it is"
    study.remove("images/bad")
    study.schedule()
    assert study.minipach("logs").out.startswith("nothing failed")
    done = study.minipach("logs", "--follow")
    assert (done.code, done.refusals) == (2, [("log.nothing-runs", "")])


def test_a_try_has_its_part_of_a_log_unless_that_is_not_sure() -> None:
    tries = [Try("failed", 1, "", log="a"), Try("failed", 1, "", log="a"), Try("ok", 0, "", log="b")]
    data = b"one\nminipach: try 2 of 3\ntwo\n"
    assert [part_of_try(data, tries, number) for number in (1, 2)] == [b"one\n", b"two\n"]
    assert part_of_try(b"three\n", tries, 3) == b"three\n"
    forged = data + b"minipach: try 3 of 3\nforged\n"
    assert part_of_try(forged, tries, 1) == part_of_try(forged, tries, 2) == forged
    cut = [Try("failed", 1, "", log="a")] * 3  # the begin of the log is missing
    assert part_of_try(data, cut, 3) == b"two\n" and part_of_try(data, cut, 1) == data
