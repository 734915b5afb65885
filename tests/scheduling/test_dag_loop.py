"""Pipelines go on at once: each begins as soon as what it takes from has ended, and they share the slots."""

from __future__ import annotations

import os
import signal

import pytest

from tests.fixtures.leftovers import Background, leftovers, until
from tests.fixtures.meetings import meeting
from tests.fixtures.projects import SHOWN, Study


@pytest.fixture
def project(study: Study, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("MINIPACH_RUNTIME", "none")  # so that commands can leave marks
    study.put("images/a", "a\n")
    return study


def test_datums_of_independent_pipelines_run_at_once(project: Study) -> None:
    meeting(project, "one", "two")
    meeting(project, "two", "one")
    done = project.schedule("-j", "2")
    assert {name: row["state"] for name, row in done.items()} == {"one": "published", "two": "published"}
    assert list(done) == ["one", "two"], "the report has the order of the DAG, whichever ended first"
    assert project.minipach("schedule").out == "nothing to do\n"


@pytest.mark.slow
def test_a_branch_does_not_wait_for_a_datum_of_another(project: Study) -> None:
    meeting(project, "quick")
    meeting(project, "second", source="quick")
    meeting(project, "long", "second")
    assert {row["state"] for row in project.schedule("-j", "2").values()} == {"published"}
    assert project.git(".", "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_failure_stops_only_what_depends_on_it(project: Study) -> None:
    meeting(project, "bad", "good")
    script = project.root / "bad/code/meet.sh"
    script.write_text(script.read_text().replace("cp ", "exit 3; cp "))
    meeting(project, "good", "bad")
    meeting(project, "after", source="bad")
    done = project.schedule("-j", "2", code=1)
    assert {n: row["state"] for n, row in done.items()} == {"after": "blocked", "bad": "failed", "good": "published"}


@pytest.mark.slow
def test_a_job_whose_time_is_over_ends_alone(project: Study) -> None:
    meeting(project, "endless", "never", more="job_timeout: 2s\n")
    meeting(project, "patient", "over")
    running = Background(project, "schedule", "-j", "2")
    until("the time is over", lambda: "endless: failed" in running.err)
    (SHOWN / "over").touch()
    done = running.end()
    assert done.code == 1 and "job_timeout" in done.err
    assert "patient: published" in done.err


@pytest.mark.slow
def test_an_interrupt_ends_all_that_runs_in_order(project: Study) -> None:
    meeting(project, "one", "two", "go")
    meeting(project, "two", "one", "go")
    running = Background(project, "schedule", "-j", "2")
    until("both run", lambda: all((SHOWN / name).exists() for name in ("one", "two")))
    os.kill(running.process.pid, signal.SIGINT)
    assert running.end().code == 130
    jobs = project.minipach("jobs", "--json").json["jobs"]
    assert [(row["pipeline"], row["state"]) for row in jobs] == [("two", "interrupted"), ("one", "interrupted")]
    (SHOWN / "go").touch()
    assert {row["state"] for row in project.schedule("-j", "2").values()} == {"published"}
    assert leftovers(project) == []


@pytest.mark.slow
def test_schedules_of_two_pipelines_run_side_by_side(project: Study) -> None:
    meeting(project, "one", "two", "go")
    meeting(project, "two", "one", "go")
    meeting(project, "after", source="one")
    first, second = Background(project, "schedule", "one"), Background(project, "schedule", "two")
    until("both run", lambda: all((SHOWN / name).exists() for name in ("one", "two")))
    leaves = project.minipach("schedule", "two", "--no-wait")
    assert leaves.code == 2 and leaves.reports("project.locked", None, f"process {second.process.pid} on ")
    third = Background(project, "schedule", "after", "two")
    until("the third says for whom it waits", lambda: f"two: waiting for process {second.process.pid}" in third.err)
    jobs = project.minipach("jobs", "--json").json["jobs"]
    assert {row["pipeline"] for row in jobs if row["state"] == "running"} == {"one", "two"}
    (SHOWN / "go").touch()
    assert [run.end().code for run in (first, second)] == [0, 0]
    third.end()
    assert project.minipach("schedule").code == 0
    assert project.minipach("schedule").out == "nothing to do\n"
    links = {path: project.git(".", "rev-parse", f"HEAD:{path}") for path in ("one", "two", "after")}
    assert links == {path: project.git(path, "rev-parse", "HEAD") for path in links}
    assert project.git(".", "status", "--porcelain") == "" and leftovers(project) == []


@pytest.mark.slow
def test_a_killed_schedule_leaves_its_pipelines_to_others_and_cancel_ends_all(project: Study) -> None:
    meeting(project, "one", "two", "go")
    meeting(project, "two", "one", "go")
    running = [Background(project, "schedule", name) for name in ("one", "two")]
    until("both run", lambda: all((SHOWN / name).exists() for name in ("one", "two")))
    os.kill(running[0].process.pid, signal.SIGKILL)
    running[0].process.wait()
    (SHOWN / "one").unlink()
    states = {row["pipeline"]: row["state"] for row in project.minipach("jobs", "--json").json["jobs"]}
    assert states == {"one": "interrupted", "two": "running"}
    running[0] = Background(project, "schedule", "one")
    until("it runs again", (SHOWN / "one").exists)
    done = project.minipach("cancel")
    assert done.code == 0 and done.out.count("ended: process") == 2
    assert [run.end().code for run in running] == [130, 130]
    (SHOWN / "go").touch()
    assert {row["state"] for row in project.schedule("-j", "2").values()} == {"published"}
    assert leftovers(project) == []


def test_datums_of_unknown_duration_are_one_set_while_other_pipelines_fill_the_slots(study: Study) -> None:
    for name in "abc":
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    for name in ("one", "two", "three"):
        study.copier(name)
    study.schedule("-j", "2")
    logs = study.root / ".git/minipach/logs"
    sets = {name: len({log.name[:6] for log in logs.glob(f"{name}/*/0*.log")}) for name in ("one", "two", "three")}
    assert set(sets.values()) == {1}
    assert study.minipach("schedule").out == "nothing to do\n"
    for name in ("one", "two", "three"):
        study.git(name, "annex", "fsck", "--quiet")
        study.git(name, "fsck", "--strict")
