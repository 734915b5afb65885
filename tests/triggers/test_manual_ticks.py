"""Ticks as people meet them: added by each pass, held back by policy, skipped, run by hand, filled in."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import time_machine

from minipach.model.clock import tick_name
from minipach.project.project import Project
from minipach.publish.tick_commits import commit_asked
from minipach.records.tick_repo import read_ticks
from minipach.scheduling.add_ticks import add_due_ticks, next_due
from minipach.spec.cron_line import parse_moment
from tests.fixtures.projects import Study

START = "2020-01-01"
DAY = 86400
FIRST = parse_moment(START)
TICK = "input: {cron: {name: tick, spec: '@daily', start: 2020-01-01%s}}\n"
WRITE = "transform: {cmd: [sh, -c, 'cat $tick >/pfs/out/$(basename $tick)']}\n"
DAILY = TICK % "" + WRITE


def ticks_of(study: Study, repo: str = "report_tick") -> list[str]:
    return [name for name in study.git(repo, "ls-tree", "--name-only", "HEAD").split() if not name.startswith(".")]


def days(*numbers: int) -> list[str]:
    return [tick_name(FIRST + (number - 1) * DAY) for number in numbers]


@pytest.fixture
def report(tmp_path: Path) -> Study:
    """A project with a pipeline that has a daily clock from the start of 2020, and no schedule yet."""
    study = Study.create(tmp_path / "study")
    study.pipeline("report", DAILY)
    return study


def add(study: Study, now: int) -> int:
    return add_due_ticks(Project(study.root), now).ticks


def test_ticks_are_files_in_a_repo_of_the_project(report: Study) -> None:
    assert add(report, FIRST + 2 * DAY) == 3
    assert ticks_of(report) == days(1, 2, 3)
    assert report.read(f"report_tick/{days(2)[0]}") == f"{days(2)[0]}\n".encode()
    assert "report_tick" in Project(report.root).repos
    assert report.git("report_tick", "status", "--porcelain") == ""
    assert add(report, FIRST + 2 * DAY) == 0
    assert add(report, FIRST - DAY) == 0, "a clock that was put back makes no doubles"
    assert add(report, FIRST + 3 * DAY + 5) == 1
    assert next_due(Project(report.root), FIRST + 3 * DAY + 5) == FIRST + 4 * DAY
    assert next_due(Project(report.root), FIRST + 5 * DAY) == FIRST + 5 * DAY, "a tick is due now"


def test_two_machines_make_the_same_commits(report: Study, tmp_path: Path) -> None:
    other = report.duplicate(tmp_path / "other")
    for now in (FIRST, FIRST + 4 * DAY):
        add(report, now)
    add(other, FIRST + 4 * DAY)
    assert report.git("report_tick", "rev-parse", "HEAD") == other.git("report_tick", "rev-parse", "HEAD")
    # one was away for some ticks, while the other skipped one: the merge has all of that
    assert report.minipach("cron", "skip", "report", days(3)[0], "--reason", "broken  sensor\n").code == 0
    add(other, FIRST + 5 * DAY)
    other.git("report_tick", "pull", "-q", "--no-rebase", "--no-edit", str(report.root / "report_tick"), "HEAD")
    assert ticks_of(other) == days(1, 2, 4, 5, 6)
    assert add(other, FIRST + 5 * DAY) == 0
    rows = other.minipach("cron", "list", "report", "--json", "-n", "99999").json["clocks"][0]["ticks"]
    assert [row["reason"] for row in rows if row["state"] == "skipped"] == ["broken sensor"]


def test_the_newest_tick_alone_stays(report: Study) -> None:
    report.pipeline("report", TICK % ", overwrite: true" + WRITE)
    for now in (FIRST, FIRST + 3 * DAY, FIRST + DAY):
        add(report, now)
    assert ticks_of(report) == days(4)


def test_a_clock_without_a_start_begins_with_its_repo(report: Study) -> None:
    report.pipeline("report", DAILY.replace(", start: 2020-01-01", ""))
    assert next_due(Project(report.root), FIRST + 5) == 0, "the clock is to begin"
    assert add(report, FIRST + 5) == 0
    assert read_ticks(Project(report.root), "report_tick").began == FIRST + 5
    assert add(report, FIRST + 2 * DAY) == 2
    assert ticks_of(report) == days(2, 3)


def test_another_line_keeps_what_is_there(report: Study) -> None:
    add(report, FIRST + DAY)
    report.pipeline("report", DAILY.replace("@daily", "0 12 * * *"))
    assert add(report, FIRST + DAY) == 1
    assert ticks_of(report) == [days(1)[0], "2020-01-01T12:00:00Z", days(2)[0]]


def test_what_people_do_to_the_repo(report: Study) -> None:
    add(report, FIRST)
    repo = report.root / "report_tick"
    # a file in the way
    (repo / days(2)[0]).write_text("mine")
    added = add_due_ticks(Project(report.root), FIRST + DAY)
    assert [p.code for p in added.problems] == ["repo.uncommitted-changes"] and "stash" in added.problems[0].fix
    assert (repo / days(2)[0]).read_text() == "mine"
    (repo / days(2)[0]).unlink()
    # a tick that was removed, in a commit, is missing
    report.git("report_tick", "rm", "-q", days(1)[0])
    report.git("report_tick", "commit", "-qm", "remove")
    assert add(report, FIRST) == 1
    # other changes stay as they are
    (repo / "notes").write_text("mine")
    assert add(report, FIRST + DAY) == 1
    assert (repo / "notes").read_text() == "mine"
    # a detached HEAD
    report.git("report_tick", "checkout", "-q", "--detach")
    added = add_due_ticks(Project(report.root), FIRST + 2 * DAY)
    assert [p.code for p in added.problems] == ["branch.off"] and "switch" in added.problems[0].fix
    report.git("report_tick", "checkout", "-q", "-")
    # the folder is gone
    repo.rename(report.root / "away")
    assert [p.code for p in add_due_ticks(Project(report.root), FIRST + 2 * DAY).problems] == ["repo.not-installed"]


def test_other_data_is_no_repo_of_ticks(report: Study) -> None:
    report.put("images/a", "a")
    report.pipeline("report", TICK % ", repo: images" + WRITE)
    (problem,) = add_due_ticks(Project(report.root), FIRST).problems
    assert (problem.code, problem.location) == ("cron.repo-taken", "images")
    assert ticks_of(report, "images") == ["a"]
    report.copier("edges")
    report.pipeline("report", TICK % ", repo: edges" + WRITE)
    done = report.minipach("check", "report")
    assert done.code == 2 and done.reports("cron.repo-taken", "report/spec.yml:1:15", "edges")


def test_two_clocks_have_two_repos(report: Study) -> None:
    report.pipeline("report", TICK % ", repo: ticks" + WRITE)
    report.pipeline("other", TICK % ", repo: ticks" + WRITE)
    assert report.minipach("check").code == 0
    report.pipeline("other", TICK % ", repo: ticks, overwrite: true" + WRITE)
    done = report.minipach("check")
    assert done.code == 2 and done.reports("cron.repo-taken", "report/spec.yml:1:15", "other", "ticks")
    report.pipeline("other", TICK % ", repo: other/ticks" + WRITE)
    assert report.minipach("check").reports("cron.repo-taken", "other/spec.yml:1:15", "other/ticks")


def test_very_many_ticks_are_one_commit(report: Study) -> None:
    report.pipeline("report", DAILY.replace("@daily", "0 * * * *"))
    assert add(report, FIRST + 9 * DAY) == 217
    assert report.git("report_tick", "rev-list", "--count", "HEAD") == "2"


def test_a_line_of_seconds_is_one_line(report: Study) -> None:
    report.pipeline("report", DAILY.replace("@daily", "* * * * * *"))
    (problem,) = add_due_ticks(Project(report.root), FIRST + DAY).problems
    assert problem.code == "cron.too-many-ticks" and problem.location == "report/spec.yml:1:15"


def test_the_system_clock_is_the_present(report: Study) -> None:
    with time_machine.travel(FIRST + DAY, tick=False):
        assert add_due_ticks(Project(report.root)).ticks == 2
        assert next_due(Project(report.root)) == FIRST + 2 * DAY
    with time_machine.travel(FIRST + 9 * DAY, tick=False):
        assert add_due_ticks(Project(report.root)).ticks == 8
    with time_machine.travel(FIRST + 2 * DAY, tick=False):
        assert add_due_ticks(Project(report.root)).ticks == 0
    with time_machine.travel(2**31 + 5, tick=False):
        due = next_due(Project(report.root))
        assert due is not None and 2**31 - DAY < due <= int(time.time())


POLICY = """\
minipach:
  schedule: {end: 2020-01-05, %s}
"""


@pytest.mark.slow
def test_a_failed_tick_blocks_those_after_it_until_it_is_skipped(report: Study) -> None:
    test = '[ "$(basename $tick)" != 2020-01-02T00:00:00Z ] && cat $tick >/pfs/out/$(basename $tick)'
    command = f"transform: {{cmd: [sh, -c, '{test}']}}\ndatum_tries: 1\n"
    report.pipeline("report", TICK % "" + command + POLICY % "depends_on_past: true")
    rows = report.schedule(code=1)
    assert rows["report"]["state"] == "failed"
    assert ticks_of(report) == days(1, 2)
    assert (
        "2020-01-03T00:00:00Z waits for 2020-01-02T00:00:00Z, which failed, and 2 more" in report.minipach("plan").err
    )
    (clock,) = report.minipach("cron", "list", "--json").json["clocks"]
    assert [row["state"] for row in clock["ticks"]] == ["done", "failed", "blocked", "blocked", "blocked"]
    assert report.minipach("cron", "skip", "report", "2020-01-02", "--reason", "no data").code == 0
    rows = report.schedule()
    assert (rows["report"]["state"], rows["report"]["counts"]["ran"]) == ("published", 3)
    assert set(report.outputs("report")) == set(days(1, 3, 4, 5))
    assert report.schedule()["report"]["state"] == "current"


@pytest.mark.slow
def test_manual_and_scheduled_runs_are_told_apart(report: Study) -> None:
    report.pipeline("report", DAILY + POLICY % "max_active_runs: 2, expired_limit: 1s")
    assert report.schedule()["report"]["state"] == "current"
    assert report.minipach("cron", "run", "report", "2020-01-01T00:00:00Z", "2020-01-01T07:30:00Z").code == 0
    dry = report.minipach("cron", "backfill", "report", "--dry-run", "--json").json
    assert (dry["add"], dry["again"], dry["skipped"]) == (days(2, 3, 4, 5), [], [])
    assert report.minipach("cron", "backfill", "report", "--backwards").code == 0
    (clock,) = report.minipach("cron", "list", "--json").json["clocks"]
    causes = {row["tick"]: (row["cause"], row["state"]) for row in clock["ticks"]}
    assert causes == {
        days(1)[0]: ("manual", "done"),
        **dict.fromkeys(days(2, 3, 4, 5), ("backfill", "done")),
        "2020-01-01T07:30:00Z": ("manual", "done"),
    }
    jobs = report.minipach("jobs", "report", "--json").json["jobs"]
    assert [job["cause"] for job in jobs] == ["backfill", "backfill", "manual"]
    nothing = report.minipach("cron", "backfill", "report", "--from", "2020-01-02", "--to", "2020-01-03")
    assert (nothing.code, nothing.out) == (0, "nothing to do\n")
    # what is there runs again, when asked for
    done = report.minipach(
        "cron", "backfill", "report", "--from", "2020-01-02", "--to", "2020-01-03", "--reprocess", "all"
    )
    assert done.code == 0, done.err
    assert report.minipach("jobs", "report", "--json").json["jobs"][0]["counts"]["ran"] == 2
    # together with what is missing it is one job, so that no two have one id
    assert report.minipach("cron", "backfill", "report", "--from", "2019-12-31", "--reprocess", "all").code == 0
    jobs = report.minipach("jobs", "report", "--json").json["jobs"]
    assert jobs[0]["counts"]["ran"] == 7 and jobs[0]["id"] != jobs[1]["id"]


@pytest.mark.slow
def test_a_tick_with_the_same_tree_starts_nothing_downstream(report: Study) -> None:
    """The pipeline runs for each tick; its output does not change, and so downstream is current."""
    report.pipeline("report", TICK % ", overwrite: true" + "transform: {cmd: [sh, -c, 'echo same >/pfs/out/a']}\n")
    report.copier("after", repo="report")
    assert report.schedule()["after"]["counts"]["ran"] == 1
    before = report.git("report_tick", "rev-parse", "HEAD")
    assert report.minipach("cron", "run", "report").code == 0
    assert report.git("report_tick", "rev-parse", "HEAD") != before
    rows = {job["pipeline"]: 0 for job in report.minipach("jobs", "--json").json["jobs"]}
    for job in report.minipach("jobs", "--json").json["jobs"]:
        rows[job["pipeline"]] += job["counts"]["ran"]
    assert rows == {"report": 2, "after": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "edges"], "no such pipeline"),
        (
            ["skip", "report", "2020-01-01T00:00:01Z"],
            "no tick is due at this time. Fix: name the next one, 2020-01-02T",
        ),
        (["skip", "report", "tomorrow"], '"tomorrow" is no time'),
        (["run", "report", "--input", "tock"], "no clock is called"),
        (["backfill", "report", "--from", "1960-01-01"], "before 1970"),
        (["backfill", "report", "--reprocess", "some"], "none of none, failed, all"),
        (["backfill", "report", "--from", "2020-01-02", "--to", "2020-01-01"], "--from"),
        (["skip", "plain", "2020-01-01"], "the pipeline has no clock"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(report: Study, arguments: list[str], message: str) -> None:
    report.copier("plain")
    done = report.minipach("cron", *arguments)
    assert done.code == 2 and message in done.err and "Traceback" not in done.err
    assert not (report.root / "report_tick").exists()


def test_passes_and_triggers_speak_of_clocks(report: Study) -> None:
    shown = report.minipach("triggers", "--json").json["triggers"]
    (clock,) = (row for row in shown if row["kind"] == "cron")
    assert (clock["name"], clock["state"]) == ("report", "due")
    plan = report.minipach("plan", "--json")
    assert plan.code == 0 and plan.json["clocks"][0]["repo"] == "report_tick"
    assert "report: due: " in plan.err


def test_a_tick_says_which_command_added_it(report: Study) -> None:
    add(report, FIRST)
    for tick, backfilled in ((FIRST + DAY, False), (FIRST + 2 * DAY, True)):
        ticks = read_ticks(Project(report.root), "report_tick")
        commit_asked(Project(report.root), "report_tick", ticks, [tick], due=[tick], backfilled=backfilled)
    found = read_ticks(Project(report.root), "report_tick")
    assert [found.cause(FIRST + day * DAY) for day in range(3)] == ["scheduled", "manual", "backfill"]
    assert found.manual == frozenset(), "both count as ticks of the clock"


def test_a_paused_clock_says_so(report: Study) -> None:
    report.git(".", "config", "minipach.paused", "report")
    resume = "minipach resume report"
    (clock,) = report.minipach("cron", "list", "--json", "-n", "1").json["clocks"]
    assert clock["paused"] == resume
    assert f"paused; {resume}" in report.minipach("cron", "list", "-n", "1").out
    for command in ("plan", "status"):
        done = report.minipach(command, "--json")
        assert done.json["paused"] == {"report": resume}
        assert "report: paused" in done.err and "minipach schedule report adds them" in done.err
        assert "the next schedule" not in done.err
    (trigger,) = (t for t in report.minipach("triggers", "--json").json["triggers"] if t["kind"] == "cron")
    assert (trigger["state"], trigger["why"]) == ("paused", resume)
    report.git(".", "config", "--unset", "minipach.paused")
    assert "paused" not in report.minipach("status", "--json").json
