"""Promises 4 and 5: a failure loses nothing, is told everywhere, and never becomes visible as a success."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.fixtures.projects import Study
from tests.fixtures.stories import counts, duplicate, spec

PICKY = """
grep -q bad "$images" && { echo "cannot read $MINIPACH_DATUM"; exit 7; }
tr a-z A-Z <"$images" >"$PFS/out/$MINIPACH_DATUM"
"""
COUNT = 'ls "$PFS/edges" | wc -l >"$PFS/out/n"\n'
TEN = [f"n{i}.txt" for i in range(10)]
ONE_TRY = "datum_tries: 1\n"


def ten(root: Path, more: str = "") -> Study:
    """Ten inputs, one of them bad, and a pipeline downstream."""
    study = Study.create(root)
    for name in TEN:
        study.put(f"images/{name}", "bad\n" if name == "n4.txt" else f"good {name[1]}\n", save=False)
    study.save("images")
    study.pipeline("edges", spec("images", "/*", "picky", ONE_TRY + more), picky=PICKY)
    study.pipeline("montage", spec("edges", "/", "count", ONE_TRY), count=COUNT)
    return study


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Nine of ten succeeded. Only to look at."""
    study = ten(tmp_path_factory.mktemp("ten") / "study")
    reports = study.schedule("-j", "2", code=1)
    assert reports["edges"]["state"] == "failed"
    assert counts(reports["edges"]) == {"ran": 9, "failed": 1}
    (row,) = reports["edges"]["failed"]
    assert row["name"] == "n4.txt"
    assert "cannot read n4.txt" in Path(row["log"]).read_text()
    assert reports["montage"]["state"] == "blocked"
    return study


def test_one_of_ten_leaves_the_branch_untouched(failed: Study) -> None:
    assert failed.outputs("edges") == {}
    assert "RUNCMD" not in failed.git("edges", "log", "--format=%s")
    assert failed.git("edges", "status", "--porcelain") == ""


def test_status_tells(failed: Study) -> None:
    rows = {p["name"]: p for p in failed.minipach("status", "--json").json["pipelines"]}
    assert (rows["edges"]["state"], rows["montage"]["state"]) == ("failed", "blocked")
    assert rows["edges"]["counts"]["failed"] == 1
    text = failed.minipach("status").out
    assert re.search(r"^edges +failed +10 ", text, re.MULTILINE)
    assert "edges: failed: n4.txt: the command exited with 7; minipach logs edges n4.txt" in text


def test_who_waits_is_told(failed: Study) -> None:
    job = failed.minipach("jobs", "edges", "--json").json["jobs"][0]["id"]
    for asked in ((), ("edges",), ("montage",)):  # which takes from edges
        waited = failed.minipach("wait", *asked)
        assert (waited.code, waited.err) == (1, f"edges: failed; minipach job {job[:12]} shows more\n")


def test_logs_tell(failed: Study) -> None:
    assert failed.minipach("logs", "edges").out.startswith("== n4.txt: failed, the command exited with 7\n")
    assert "cannot read n4.txt\n" in failed.minipach("logs", "edges", "n4.txt").out
    assert failed.minipach("logs", "edges", "n5.txt").code == 0
    unknown = failed.minipach("logs", "edges", "n4.tx")
    assert (unknown.code, unknown.out) == (2, "")
    assert unknown.reports("datum.no-attempt", "edges", '"n4.tx"', '"n4.txt"')
    never = failed.minipach("logs", "montage")
    assert (never.code, never.refusals) == (2, [("log.nothing-ran", "montage")])


def test_after_the_fix_only_the_one_runs(failed: Study, tmp_path: Path) -> None:
    study = duplicate(failed, tmp_path / "study")
    study.put("images/n4.txt", "mended\n")
    reports = study.schedule()
    assert counts(reports["edges"]) == {"ran": 1, "reused": 9}
    assert counts(reports["montage"]) == {"ran": 1}
    assert sorted(study.outputs("edges")) == TEN
    assert study.read("montage/n").strip() == b"10"
    assert {p["state"] for p in study.minipach("status", "--json").json["pipelines"]} == {"current"}


@pytest.mark.soak
def test_trying_again_runs_only_what_failed(failed: Study, tmp_path: Path) -> None:
    study = duplicate(failed, tmp_path / "study")
    again = study.minipach("schedule")
    assert again.code == 1
    assert "edges: 1 run, 9 reuse" in again.err
    assert "edges: n4.txt failed: the command exited with 7" in again.err
    assert "    cannot read n4.txt" in again.err
    assert "montage: blocked: waits for edges" in again.err
    assert study.outputs("edges") == {}


@pytest.mark.slow
def test_a_failure_keeps_the_state_before(tmp_path: Path) -> None:
    study = ten(tmp_path / "study")
    study.remove("images/n4.txt")
    study.schedule()
    before = study.git("edges", "rev-parse", "HEAD"), study.git(".", "rev-parse", "HEAD:edges")
    study.put("images/n4.txt", "bad\n", save=False)
    study.put("images/n5.txt", "changed\n")
    reports = study.schedule(code=1)
    assert counts(reports["edges"]) == {"ran": 1, "current": 8, "failed": 1}
    assert before == (study.git("edges", "rev-parse", "HEAD"), study.git(".", "rev-parse", "HEAD:edges"))
    assert study.read("edges/n5.txt") == b"GOOD 5\n"


PARTLY = "minipach: {publish: available, identity: content}\n"


@pytest.mark.slow
def test_what_has_the_content_of_a_failed_datum_is_counted_as_missing_too(study: Study) -> None:
    for name, text in {"a.txt": "bad\n", "b.txt": "bad\n", "c.txt": "good\n"}.items():
        study.put(f"images/{name}", text, save=False)
    study.save("images")
    study.pipeline("edges", spec("images", "/*", "picky", ONE_TRY + PARTLY), picky=PICKY)
    done = study.minipach("schedule")
    assert done.code == 1
    assert "edges: b.txt has no result either: the same content as a.txt\n" in done.err
    assert "edges: 1 computed, 1 failed\nedges: 2 missing" in study.git(".", "log", "--format=%B")
    assert study.outputs("edges").keys() == {"c.txt"}


@pytest.mark.slow
def test_what_is_available_is_published_if_asked_for(tmp_path: Path) -> None:
    study = ten(tmp_path / "study", "minipach: {publish: available}\n")
    reports = study.schedule(code=1)
    assert reports["edges"]["state"] == "published"
    assert counts(reports["edges"]) == {"ran": 9, "failed": 1}
    assert sorted(study.outputs("edges")) == [n for n in TEN if n != "n4.txt"]
    assert study.read("montage/n").strip() == b"9"
    assert "edges: 1 missing" in study.git(".", "log", "--format=%B", "-3")
    rows = {p["name"]: p for p in study.minipach("status", "--json").json["pipelines"]}
    assert rows["edges"]["state"] == "failed"
    assert rows["montage"]["state"] == "current", rows["montage"]
    study.put("images/n4.txt", "mended\n")
    study.schedule()
    assert study.read("montage/n").strip() == b"10"
    study.put("images/n5.txt", "bad now\n")
    reports = study.schedule(code=1)
    assert counts(reports["edges"]) == {"current": 9, "failed": 1}
    assert study.read("edges/n5.txt") == b"GOOD 5\n", "a failed datum keeps its outputs of before"


@pytest.mark.soak
def test_two_datums_that_write_one_path_are_both_named(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha\n")
    study.pipeline("edges", spec("images", "/*", "one"), one='cat "$images" >"$PFS/out/same"\n')
    study.schedule()
    before = study.git("edges", "rev-parse", "HEAD")
    study.put("images/b.txt", "beta\n")
    done = study.minipach("schedule")
    assert done.code == 2
    assert done.reports("output.collision", "edges", "'a.txt'", "'b.txt'", " same")
    assert "Traceback" not in done.err
    assert before == study.git("edges", "rev-parse", "HEAD")
    assert study.read("edges/same") == b"alpha\n"
    study.put("edges/spec.yml", spec("images", "/*", "one", "minipach: {out: '{name}/'}\n"))
    study.schedule()
    assert sorted(study.outputs("edges")) == ["a.txt/same", "b.txt/same"]


@pytest.mark.soak
def test_a_file_and_a_folder_of_one_name_collide_too(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a", "x\n", save=False)
    study.put("images/b", "x/y\n")
    script = 'p=$(cat "$images"); mkdir -p "$(dirname "$PFS/out/$p")"; echo "$p" >"$PFS/out/$p"\n'
    study.pipeline("edges", spec("images", "/*", "run") + "datum_set_spec: {number: 1}\n", run=script)
    done = study.minipach("schedule")
    assert done.code == 2
    assert done.reports("output.collision", "edges", "'a'", "'b'", " x")
    assert study.outputs("edges") == {}


BAD_OUTPUT = {
    "spec.yml": 'echo x >"$PFS/out/spec.yml"',
    "inputs": 'mkdir "$PFS/out/inputs"; echo x >"$PFS/out/inputs/x"',
    "README.md": 'echo x >"$PFS/out/README.md"',
    ".gitmodules": 'echo x >"$PFS/out/.gitmodules"',
    "points outside": 'ln -s /etc/hostname "$PFS/out/host"',
    "dangling": 'ln -s nowhere "$PFS/out/broken"',
    "fifo": 'mkfifo "$PFS/out/pipe"',
    "another's .git": 'mkdir -p "$PFS/out/r/.git"; echo x >"$PFS/out/r/.git/HEAD"',
    "attributes": 'mkdir "$PFS/out/a"; echo "* ident" >"$PFS/out/a/.gitattributes"',
    "no program": "exec no-such-program-anywhere",
}
SAYS = {
    "points outside": "points outside /pfs",
    "dangling": "broken",
    "fifo": "neither a file nor a directory",
    "another's .git": "a dataset can't hold another's .git",
    "attributes": "git would change other outputs by it",
    "no program": "no-such-program-anywhere",
}


@pytest.mark.slow
def test_outputs_that_cannot_be_fail_their_datum_and_say_why(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    for number, script in enumerate(BAD_OUTPUT.values()):
        study.put(f"images/{number}", script + "\n", save=False)
    study.save("images")
    study.pipeline("edges", spec("images", "/*", "run", ONE_TRY), run='. "$images"\n')
    report = study.schedule(code=1)["edges"]
    assert counts(report) == {"failed": len(BAD_OUTPUT)}
    logs = {row["name"]: Path(row["log"]).read_text() for row in report["failed"]}
    messages = {row["name"]: row["message"] for row in report["failed"]}
    for number, name in enumerate(BAD_OUTPUT):
        expected = SAYS.get(name, f'output "{name}" is a reserved name in a pipeline\'s repo')
        assert expected in logs[str(number)], (name, logs[str(number)])
        if name != "no program":  # else it is the command's own code
            assert expected in messages[str(number)]
    assert messages[str(list(BAD_OUTPUT).index("no program"))] == "the command exited with 127"
    assert study.outputs("edges") == {}
    assert study.git("edges", "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_failing_command_is_tried_as_often_as_asked(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha\n")
    study.pipeline("edges", spec("images", "/*", "run", "datum_tries: 2\n"), run="echo attempt; exit 5\n")
    study.schedule(code=1)
    log = study.minipach("logs", "edges", "a.txt").out
    assert log.count("attempt\n") == 2
    assert "try 2 of 2" in log


@pytest.mark.slow
def test_content_that_nobody_has_is_said(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha\n", save=False)
    study.put("images/b.txt", "beta\n")
    key = study.git("images", "annex", "lookupkey", "a.txt")
    study.git("images", "annex", "drop", "--force", "a.txt")
    study.copier()
    report = study.schedule(code=1)["edges"]
    assert counts(report) == {"ran": 1, "failed": 1}
    assert [row["name"] for row in report["failed"]] == ["a.txt"]
    log = study.minipach("logs", "edges").out
    assert key in log and "images" in log
    assert "Traceback" not in log


@pytest.mark.slow
def test_one_input_that_is_not_to_be_had_costs_the_others_of_its_set_nothing(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    for n in range(8):
        study.put(f"images/{n}.txt", f"picture {n}\n", save=False)
    study.save("images")
    study.git("images", "annex", "drop", "--force", "3.txt")
    study.copier(more="datum_set_spec: {number: 8}\nminipach: {publish: available}\n")
    report = study.schedule(code=1)["edges"]
    assert counts(report) == {"ran": 7, "failed": 1}
    assert [row["name"] for row in report["failed"]] == ["3.txt"]
    assert "images/3.txt (" in study.minipach("logs", "edges", "3.txt").out
    assert sorted(study.outputs("edges")) == [f"{n}.txt" for n in range(8) if n != 3]


@pytest.mark.slow
def test_where_nothing_is_to_be_had_not_all_is_tried(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    for n in range(8):
        study.put(f"images/{n}.txt", f"picture {n}\n", save=False)
    study.save("images")
    study.git("images", "annex", "drop", "--force", ".")
    study.copier(more="datum_set_spec: {number: 8}\n")
    report = study.schedule("-j", "1", code=1)["edges"]
    assert counts(report) == {"failed": 8}
    logs = list((study.root / ".git/minipach/logs/edges").glob("*/*.log"))
    assert len(logs) <= 5, "the set, three of its datums by themselves, and one that was on its way"


@pytest.mark.slow
def test_a_command_that_writes_to_its_input_changes_no_source(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha\n", save=False)
    study.put("images/b.txt", "beta\n")
    script = """
echo spoilt >>"$images"; chmod u+w "$images" && echo spoilt >>"$images"
for f in inputs/images/*; do chmod -R u+w inputs; echo spoilt >>"$f"; rm -f "$f"; done
echo done >"$PFS/out/$MINIPACH_DATUM"
"""
    study.pipeline("edges", spec("images", "/*", "run", ONE_TRY), run=script)
    done = study.minipach("schedule")
    assert done.code in (0, 1), done.err
    assert study.read("images/a.txt") == b"alpha\n"
    assert study.read("images/b.txt") == b"beta\n"
    assert study.git("images", "status", "--porcelain") == ""
    study.git("images", "annex", "fsck", "--quiet")
    assert not os.access(os.path.realpath(study.root / "images/a.txt"), os.X_OK)


@pytest.mark.slow
def test_what_the_user_must_mend_in_one_pipeline_does_not_stop_another(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha\n")
    study.copier("works")
    study.pipeline("broken", spec("images", "/*", "run").replace("{cmd", "{image: nowhere.sif, cmd"), run="true\n")
    study.pipeline("after", spec("broken", "/", "run"), run="true\n")
    done = study.minipach("schedule", "--json")
    assert done.code == 2
    states = {p["name"]: p["state"] for p in done.json["pipelines"]}
    assert states == {"works": "published", "broken": "error", "after": "blocked"}
    assert study.minipach("wait", "works").code == 0
    assert done.json["ok"] is False
    assert done.reports("image.unknown", "broken/spec.yml:2:20", "nowhere.sif")
