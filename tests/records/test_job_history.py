"""`jobs`, `job`, `logs`, `usage`, `retry`, `cancel`, `wait`: what ran, what runs, and how it went."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minipach.cli.schedule import on_its_way
from minipach.execution.resource_usage import memory_below
from minipach.model.job_entries import Attempt, DatumResult, Took
from minipach.project.lock import holder
from minipach.project.project import find_project
from minipach.records.job_database import Ledger
from minipach.records.job_history import read_job
from minipach.records.job_logs import note_set
from minipach.records.log_stream import follow
from minipach.scheduling.schedule_report import PipelineReport, ScheduleReport
from minipach.views.usage import histogram, summarize, usage_of
from tests.fixtures.leftovers import Background, hold, leftovers, unpublished, until
from tests.fixtures.projects import SHOWN, Study
from tests.fixtures.refusals import refused
from tests.fixtures.stories import duplicate

PICKY = """
echo "this is $MINIPACH_DATUM"
grep -q bad "$images" && exit 7
cat "$images" "$images" >"$PFS/out/$MINIPACH_DATUM"
"""


@pytest.fixture(scope="module")
def study_of_three(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two datums succeeded, one failed. Only to look at."""
    study = Study.create(tmp_path_factory.mktemp("three") / "study")
    for name, text in (("a.txt", "12345"), ("b.txt", "123"), ("c.txt", "bad")):
        study.put(f"images/{name}", text, save=False)
    study.save("images")
    study.copier(more="datum_tries: 2\n")
    (study.root / "edges/code/copy.sh").write_text(PICKY)
    study.schedule("-j", "1", code=1)
    return study


def last_job(study: Study) -> dict[str, Any]:
    """The last job, as `minipach job --json` tells it."""
    row = study.minipach("jobs", "--json").json["jobs"][0]
    found: dict[str, Any] = study.minipach("job", row["id"], "--json").json
    return found


# --- jobs ------------------------------------------------------------------------------------------------------


def test_a_job_is_listed(study_of_three: Study) -> None:
    data = study_of_three.minipach("jobs", "--json").json
    assert data["schema"] == 1
    (row,) = data["jobs"]
    assert (row["pipeline"], row["state"]) == ("edges", "failed")
    assert row["counts"] == {"ran": 2, "reused": 0, "current": 0, "removed": 0, "recovered": 0, "failed": 1}
    assert row["commit"] == study_of_three.git("edges", "rev-parse", "HEAD")
    assert row["started"] <= row["ended"] and row["seconds"] > 0
    titles, line = study_of_three.minipach("jobs", "edges").out.splitlines()
    assert titles.split() == ["JOB", "PIPELINE", "STATE", "CAUSE", "STARTED", "TIME", "DATUMS"]
    assert line.startswith(row["id"][:12]) and line.endswith("2 computed, 1 failed")
    assert study_of_three.minipach("jobs", "-n", "1", "edges").out.count("\n") == 2


def test_a_job_tells_what_happened_to_each_datum(study_of_three: Study) -> None:
    job = last_job(study_of_three)
    rows = {row["datum"]: row for row in job["attempts"]}
    shown = {n: (r["kind"], r["exit"], r["tries"], r["bytes_in"], r["bytes_out"]) for n, r in rows.items()}
    assert shown == {"a.txt": ("ok", 0, 1, 5, 10), "b.txt": ("ok", 0, 1, 3, 6), "c.txt": ("failed", 7, 2, 3, None)}
    for row in rows.values():
        assert row["seconds"] > 0 and row["cpu"] > 0 and row["host"], row
        assert job["started"] <= row["started"] <= row["ended"] <= job["ended"], (job, row)
        assert row["memory"] is None or row["memory"] > 0, row
    ids = {d["name"]: d["id"] for d in study_of_three.minipach("datums", "edges", "--json").json["datums"]}
    assert {name: row["id"] for name, row in rows.items()} == ids
    text = study_of_three.minipach("job", job["id"][:6]).out
    assert "c.txt: failed, the command exited with 7\n" in text
    assert re.search(r"^c.txt +failed +2 ", text, re.MULTILINE), text
    assert job["commit"][:8] in text and f"\nhost: {rows['c.txt']['host']}\n" in text
    assert rows["c.txt"]["log"].partition("#")[0] in text


def test_the_plan_says_what_failed_last_time(study_of_three: Study) -> None:
    reasons = {d["name"]: d["reason"] for d in study_of_three.plan()["edges"]["datums"]}
    assert reasons == {
        "a.txt": "computed before",
        "b.txt": "computed before",
        "c.txt": "failed last time: the command exited with 7",
    }
    story = study_of_three.minipach("plan", "edges", "--why", "c.txt").out
    assert "  run: failed last time: the command exited with 7\n" in story


def test_each_try_of_a_datum_is_on_record(study_of_three: Study) -> None:
    rows = {row["datum"]: row for row in last_job(study_of_three)["attempts"]}
    (only,) = rows["a.txt"]["tried"]
    same = ("kind", "exit", "message", "seconds", "cpu", "memory", "host", "log")
    assert {key: only[key] for key in same} == {key: rows["a.txt"][key] for key in same}
    tries = rows["c.txt"]["tried"]
    assert [(t["number"], t["kind"], t["exit"]) for t in tries] == [(1, "failed", 7), (2, "failed", 7)]
    assert tries[0]["started"] <= tries[0]["ended"] <= tries[1]["started"] <= tries[1]["ended"]  # to a hundredth
    (failed,) = study_of_three.minipach("datums", "edges", "--state", "failed", "--json").json["datums"]
    assert failed["attempt"]["tried"] == tries
    text = study_of_three.minipach("job", last_job(study_of_three)["id"]).out
    assert "  try 1: failed, the command exited with 7 at " in text and "  try 3" not in text

    for number in "12":
        shown = study_of_three.minipach("logs", "edges", "c.txt", "--try", number).out
        assert shown.count("this is c.txt") == 1 and "minipach: try" not in shown
    none = study_of_three.minipach("logs", "edges", "c.txt", "--try", "3")
    assert (none.code, none.refusals) == (2, [("log.no-such-try", "edges")])
    none = study_of_three.minipach("logs", "edges", "d.txt", "--try", "1")
    assert none.reports("datum.no-attempt", "edges", '"d.txt"')
    several = study_of_three.minipach("logs", "edges:*", "--try", "1")
    assert (several.code, several.refusals) == (2, [("option.needs-datum", "edges")])


def test_logs_of_datums_that_a_glob_matches(study_of_three: Study) -> None:
    both = study_of_three.minipach("logs", "edges", "[ab].*").out
    assert both == "== a.txt: ok\nthis is a.txt\n== b.txt: ok\nthis is b.txt\n"
    assert study_of_three.minipach("logs", "edges:[ab].*").out == both
    assert study_of_three.minipach("logs", "edges:a.txt").out == "this is a.txt\n"
    begun = study_of_three.minipach("logs", "edges", "a")
    assert (begun.code, begun.out) == (2, "") and begun.err.endswith('use "a*"\n')


def test_the_last_job_of_a_pipeline(study_of_three: Study) -> None:
    newest = study_of_three.minipach("jobs", "--json").json["jobs"][0]["id"]
    assert study_of_three.minipach("job", "edges", "--json").json["id"] == newest
    assert study_of_three.minipach("logs", "edges", "a.txt", "--job", "edges").out == "this is a.txt\n"
    with refused("job.unknown", None, '"edges"'):
        read_job(find_project(study_of_three.root), "edges", "another")


def test_an_unknown_job_is_told(study_of_three: Study) -> None:
    for name in ("zzz", "\udcff"):
        done = study_of_three.minipach("job", name)
        assert (done.code, done.refusals) == (2, [("job.unknown", "")])
    begins = study_of_three.minipach("jobs", "--json").json["jobs"][0]["id"][:8]
    typed = begins[:5] + ("1" if begins[5] == "0" else "0") + begins[6:]
    mistyped = study_of_three.minipach("job", typed)
    assert (mistyped.code, mistyped.refusals, mistyped.problems[0].fix) == (2, [("job.unknown", "")], f'use "{begins}"')


def test_datums_by_state(study_of_three: Study) -> None:
    assert study_of_three.minipach("datums", "edges", "--state", "failed").out == "c.txt\n"
    assert study_of_three.minipach("datums", "edges", "--state", "missing").out == "a.txt\nb.txt\nc.txt\n"
    assert study_of_three.minipach("datums", "edges", "--state", "current").out == ""
    rows = study_of_three.minipach("datums", "edges", "--state", "missing", "--json").json["datums"]
    assert [row["state"] for row in rows] == ["missing", "missing", "failed"]
    assert "state" not in study_of_three.minipach("datums", "edges", "--json").json["datums"][0]


def test_logs_of_a_job(study_of_three: Study) -> None:
    job = last_job(study_of_three)["id"]
    assert study_of_three.minipach("logs", "edges", "a.txt", "--job", job[:8]).out == "this is a.txt\n"
    text = study_of_three.minipach("logs", "edges", "--job", job).out
    assert [line for line in text.splitlines() if line.startswith("==")] == [
        "== a.txt: ok",
        "== b.txt: ok",
        "== c.txt: failed, the command exited with 7",
    ]
    unknown = study_of_three.minipach("logs", "edges", "d.txt", "--job", job)
    assert unknown.code == 2 and unknown.reports("datum.no-attempt", "edges", '"d.txt"')
    idle = study_of_three.minipach("logs", "edges", "--follow")
    assert (idle.code, idle.refusals) == (2, [("log.no-job-runs", "edges")])


# --- retry -----------------------------------------------------------------------------------------------------


def test_retry_runs_what_failed_and_nothing_else(study_of_three: Study, tmp_path: Path) -> None:
    study = duplicate(study_of_three, tmp_path / "study")
    study.put("images/d.txt", "new\n", save=False)
    study.put("images/c.txt", "mended\n")
    done = study.minipach("retry", "edges", "--json")
    (report,) = done.json["pipelines"]
    assert report["counts"]["ran"] == 1
    assert report["state"] == "partial"  # d.txt was not asked for
    assert "edges: not requested, and still to run: 1 datum\n" in done.err
    assert [row["datum"] for row in last_job(study)["attempts"]] == ["c.txt"]
    assert study.minipach("retry").out == "nothing failed last time\n"
    study.schedule()
    assert sorted(study.outputs("edges")) == ["a.txt", "b.txt", "c.txt", "d.txt"]
    assert study.minipach("datums", "edges", "--state", "missing").out == ""
    assert study.minipach("datums", "edges", "--state", "current").out.count("\n") == 4


# --- what runs now ---------------------------------------------------------------------------------------------


def running(tmp_path: Path) -> tuple[Study, Path, Background]:
    """A schedule whose first datums wait."""
    study = unpublished(tmp_path / "study")
    study.pipeline("edges", (study.root / "edges/spec.yml").read_text(), copy=SAYS)
    study.schedule()
    gate = hold(study)
    for n in range(2):
        study.put(f"images/{n}.txt", f"new {n}\n", save=False)
    study.save("images")
    return study, gate, Background(study, "schedule", "-j", "2").waiting()


SAYS = f"""echo "begins $MINIPACH_DATUM"
while [ -e {SHOWN}/hold ]; do sleep 0.1; done
cp "$images" "$PFS/out/"
echo done
"""


@pytest.mark.slow
def test_follow_wait_and_cancel(tmp_path: Path) -> None:
    study, gate, schedule = running(tmp_path)
    follower = Background(study, "logs", "edges", "--follow")
    until("the first lines come", lambda: follower.out.count("begins") == 2)
    assert sorted(follower.out.splitlines()) == ["0.txt | begins 0.txt", "1.txt | begins 1.txt"]
    everything = Background(study, "logs", "--follow")
    until("all that runs is followed", lambda: everything.out.count("\n") == 2)
    assert sorted(everything.out.splitlines()) == ["edges: 0.txt | begins 0.txt", "edges: 1.txt | begins 1.txt"]
    late = study.minipach("wait", "--timeout", "0")
    assert late.code == 3 and "still running after 0 seconds" in late.err
    [row] = [p for p in study.minipach("status", "--json").json["pipelines"] if p["name"] == "edges"]
    assert row["state"] == "running"
    job = study.minipach("jobs", "--json").json["jobs"][0]["id"]
    assert row["details"][0] == f"job {job[:12]} is running; minipach top"
    assert study.minipach("jobs", "--json").json["jobs"][0]["state"] == "running"

    cancelled = study.minipach("cancel")
    assert cancelled.code == 0, cancelled.err
    assert cancelled.out.startswith(f"ended: process {schedule.process.pid} on ")
    done = schedule.end()
    assert (done.code, done.err.splitlines()[-1]) == (130, "interrupted; the same command continues from here")
    assert (follower.end().code, everything.end().code) == (0, 0)
    assert study.minipach("jobs", "--json").json["jobs"][0]["state"] == "interrupted"
    assert study.minipach("cancel").out == "nothing runs\n"
    waited = study.minipach("wait")
    assert waited.code == 1, "who goes on after it would do so without a result"
    assert re.fullmatch(r"edges: interrupted; minipach job [0-9a-f]{12} shows more\n", waited.err)

    gate.unlink()
    study.schedule()
    assert study.read("edges/1.txt") == b"new 1\n"
    assert study.minipach("wait").code == 0
    assert leftovers(study) == []


@pytest.mark.soak
def test_a_stream_holds_every_line_to_the_end_and_wait_ends_with_the_schedule(tmp_path: Path) -> None:
    study, gate, schedule = running(tmp_path)
    follower = Background(study, "logs", "edges", "--follow")
    one = Background(study, "logs", "edges", "1.txt", "--follow")
    until("the first lines come", lambda: "begins 1.txt" in one.out and "begins 0.txt" in follower.out)
    waiter = Background(study, "wait")
    until("it waits", lambda: "waiting for process" in waiter.err)
    gate.unlink()
    assert schedule.end().code == 0
    assert waiter.end().code == 0
    lines = [f"{n}.txt | {what}" for n in range(2) for what in (f"begins {n}.txt", "done")]
    assert sorted(follower.end().out.splitlines()) == sorted(lines)
    assert one.end().out.splitlines() == ["1.txt | begins 1.txt", "1.txt | done"]


@pytest.mark.slow
def test_a_killed_schedule_reads_interrupted_and_there_is_nothing_to_cancel(tmp_path: Path) -> None:
    study, gate, schedule = running(tmp_path)
    os.kill(schedule.process.pid, signal.SIGKILL)
    schedule.end()
    assert study.minipach("jobs", "--json").json["jobs"][0]["state"] == "interrupted"
    assert study.minipach("cancel").out == "nothing runs\n"
    assert study.minipach("wait").code == 1
    gate.unlink()


def test_cancel_ends_only_the_process_that_holds_the_lock(study: Study) -> None:
    lock = study.root / ".git/minipach/lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    code = f"""
        import fcntl, json, os, platform
        file = open({str(lock)!r}, "w")
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({{"pid": {os.getpid()}, "host": platform.node(), "since": "now", "command": "c"}}, file)
        file.flush()
        print(flush=True)
        input()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        found = holder(lock)
        assert found is not None and found.pid == os.getpid()  # which is this test: a number that was used again
        done = study.minipach("cancel")
        assert (done.code, done.out) == (2, "")
        assert done.reports("lock.held-by-unknown")
        other.communicate("\n")
    assert holder(lock) is None  # what a holder left in the file doesn't count


# --- what it used ----------------------------------------------------------------------------------------------

RUN = DatumResult(0, "ok", took=Took(0.0, 0.0, 2.0, 1.0, 100 * 2**20), bytes_in=10, bytes_out=20)


def run(took: Took, **changes: Any) -> Attempt:
    return Attempt("a", "1", replace(RUN, took=took, **changes), 1, "host", "log")


def test_usage_adds_up() -> None:
    runs = [run(Took(0.0, 0.0, float(n), 2.5 * n, n * 2**20)) for n in range(1, 101)]
    found = usage_of("edges", runs).as_json()
    assert found["seconds"] == {"min": 1, "median": 50, "p95": 95, "max": 100, "runs": 100}
    assert found["memory"]["max"] == 100 * 2**20
    assert found["resource_requests"] == {"cpu": 3, "memory": "128Mi"}
    assert sum(b["count"] for b in found["histogram"]) == 100
    assert found["histogram"][0]["low"] == 1 and found["histogram"][-1]["high"] == 100


def test_usage_without_any_memory_suggests_none() -> None:
    found = usage_of("edges", [run(Took(0.0, 0.0, 2.0, 1.0), bytes_in=None)]).as_json()
    assert found["memory"] is None and found["bytes_in"] is None
    assert found["resource_requests"] == {"cpu": 1}


HOARDER = """\
case $images in */left*) head -c 3000000 /dev/zero >"$TMPDIR/scratch";; esac
case $images in */gone*) head -c 3000000 /dev/zero >"$HOME/scratch"; sleep 4; rm "$HOME/scratch";; esac
case $images in */kept*) head -c 3000000 /dev/zero >"$PFS/out/kept.txt"; exit;; esac
cp "$images" "$PFS/out/"
"""


@pytest.mark.slow
def test_scratch_space_counts_as_the_datums_disk(study: Study) -> None:
    for name in ("left", "gone", "kept", "none"):
        study.put(f"images/{name}.txt", name, save=False)
    study.save("images")
    study.copier(more="datum_set_spec: {number: 4}\n")
    (study.root / "edges/code/copy.sh").write_text(HOARDER)
    study.schedule("-j", "1")
    rows = {row["datum"]: row for row in last_job(study)["attempts"]}
    disk = {name.partition(".")[0]: row["disk"] for name, row in rows.items()}
    assert all(3_000_000 <= disk[name] < 4_000_000 for name in ("left", "gone", "kept")), disk
    assert disk["none"] < 1_000_000, "what another datum of the set left does not count"
    assert rows["left.txt"]["bytes_out"] == 4
    usage = study.minipach("usage", "edges", "--json").json
    assert (usage["disk"]["min"], usage["disk"]["max"]) == (disk["none"], max(disk.values()))
    assert re.search(r"^disk +\d", study.minipach("usage", "edges").out, re.MULTILINE)


def test_few_or_equal_values() -> None:
    assert summarize([]) is None
    assert [b.count for b in histogram([0.0])] == [1]
    assert [b.count for b in histogram([3.0] * 7)] == [7]
    assert [b.count for b in histogram([1.0, 2.0])] == [1, 1]


def test_usage_of_a_pipeline(study_of_three: Study) -> None:
    data = study_of_three.minipach("usage", "edges", "--json").json
    assert (data["schema"], data["pipeline"], data["runs"]) == (1, "edges", 2)
    assert (data["bytes_in"]["max"], data["bytes_out"]["min"]) == (5, 6)
    text = study_of_three.minipach("usage", "edges").out
    assert "resource_requests:\n  cpu: 1\n" in text
    assert "edges: 2 runs of a datum\n" in text


@pytest.mark.slow
def test_a_busy_datum_of_a_set_is_told_from_an_idle_one(study: Study) -> None:
    for name in ("busy", "idle", "quick"):
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.pipeline("edges", WORKS, run=BUSY_OR_IDLE)
    study.schedule("-j", "1")
    rows = {row["datum"]: row for row in last_job(study)["attempts"]}
    assert len({row["log"].rpartition("/")[2].partition(".")[0] for row in rows.values()}) == 1, "not one set"
    assert rows["busy"]["cpu"] > 2 > rows["idle"]["cpu"], "what the set itself takes is a part of each"
    assert rows["quick"]["seconds"] != rows["idle"]["seconds"] > 0.9, "not a share of the whole: it slept for a second"
    assert rows["busy"]["memory"] > 40 * 2**20 > rows["idle"]["memory"]
    began = [rows[name]["tried"][0]["started"] for name in ("busy", "idle", "quick")]
    assert began == sorted(set(began))
    usage = study.minipach("usage", "edges", "--json").json
    assert usage["cpu"]["max"] == rows["busy"]["cpu"] and usage["cpu"]["min"] < 2


WORKS = """
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/run.sh]}
datum_set_spec: {number: 3}
"""
BUSY_OR_IDLE = """
case $MINIPACH_DATUM in
  busy) python3 -c "import time; x = bytearray(64 << 20)
while time.process_time() < 2.1: pass" ;;
  idle) sleep 1 ;;
esac
cp "$images" "$PFS/out/"
"""


def test_memory_is_that_of_the_command_alone(tmp_path: Path) -> None:
    (tmp_path / ".minipach").mkdir()
    gate = tmp_path / "gate"
    (tmp_path / ".minipach/launch").write_text(f"setsid {sys.executable} -c '{HOLDS}' &\nwait $!\n")
    beside = [sys.executable, "-c", f"x = bytearray(300 << 20); {WAITS}"]
    with (
        subprocess.Popen(["sh", ".minipach/launch"], cwd=tmp_path) as launcher,
        subprocess.Popen(beside, cwd=tmp_path) as other,
    ):
        try:
            until("it has its memory", lambda: (memory_below(os.getpid()) or 0) > 60 * 2**20)
            until("so has the other", lambda: resident(other.pid) > 250 * 2**20)
            found = memory_below(os.getpid())
            assert found is not None and 60 * 2**20 < found < 250 * 2**20
        finally:
            gate.touch()
            launcher.wait(60)
    assert memory_below(os.getpid()) is None


WAITS = 'import os, time\nwhile not os.path.exists("gate"): time.sleep(0.05)'
HOLDS = f"x = bytearray(64 << 20)\n{WAITS}"


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_ledger_of_an_earlier_version_gets_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    db = sqlite3.connect(path)
    db.execute(
        "CREATE TABLE attempt (key INTEGER PRIMARY KEY, job INTEGER, pipeline TEXT, datum TEXT, datum_id TEXT,"
        " ended REAL, seconds REAL, kind TEXT, exit INTEGER, message TEXT, tries INTEGER, host TEXT, log TEXT)"
    )
    db.execute("INSERT INTO attempt VALUES (1, 1, 'edges', 'a', 'id', 1, 2, 'ok', 0, '', 1, 'h', 'l')")
    db.commit()
    db.close()
    ledger = Ledger(path)
    (old,) = ledger.successes("edges", 10)
    ledger.close()
    assert (old.took.seconds, old.took.cpu, old.took.memory, old.result.bytes_in) == (2, 0, None, None)


# --- the stream ------------------------------------------------------------------------------------------------


def test_the_advice_on_what_is_on_its_way_can_be_typed_as_it_is() -> None:
    reports = (PipelineReport("images", "current"), PipelineReport("edges", "submitted"))
    advice = on_its_way(ScheduleReport(reports, (), None))
    assert advice == "submitted; minipach wait, minipach jobs, minipach logs edges --follow"
    advice = on_its_way(ScheduleReport((*reports, PipelineReport("montage", "waiting")), (), None))
    assert advice == "submitted; minipach wait, minipach jobs, minipach logs --follow"


def test_a_sets_log_is_told_by_datum(tmp_path: Path) -> None:
    note_set(tmp_path, "0.log", ["a", "b"])
    note_set(tmp_path, "1.log", ["c"])
    note_set(tmp_path, "2.log", ["not begun"])
    (tmp_path / "0.log").write_bytes(b"set up\ndatum: begins 1\none\xff\ndatum: begins 2\ntwo\ndatum: begins 0\nno end")
    (tmp_path / "1.log").write_bytes(b"datum: begins 1\n")
    assert list(follow(tmp_path, lambda: True)) == [
        ("a ... b", "set up"),
        ("a", "one�"),
        ("b", "two"),
        ("a ... b", "no end"),
        ("c", "datum: begins 1"),  # a set of one has no such marks: its command printed this
    ]


def test_a_log_that_is_begun_anew_is_read_anew(tmp_path: Path) -> None:
    note_set(tmp_path, "0.log", ["a"])
    log = tmp_path / "0.log"
    log.write_text("a long first line\nhalf")
    looks = 0

    def ended() -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:
            log.write_text("again\n")
        return looks == 2

    assert list(follow(tmp_path, ended)) == [("a", "a long first line"), ("a", "again")]
