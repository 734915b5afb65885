"""What is said of datums: each is counted once, and an end that looks like a success says what is odd about it."""

from __future__ import annotations

import pytest

from tests.fixtures.projects import Study

SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/run.sh]}\ndatum_tries: 1\n'
PICKY = 'grep -q bad "$images" && exit 3\ngrep -q silent "$images" || cp "$images" "$PFS/out/"\n'


def counts(study: Study) -> dict[str, int]:
    [row] = study.minipach("status", "--json").json["pipelines"]
    return {what: n for what, n in row["counts"].items() if n}


@pytest.mark.slow
def test_each_datum_is_counted_once(study: Study) -> None:
    study.put("images/a", "alpha\n", save=False)
    study.put("images/b", "beta\n")
    study.pipeline("edges", SPEC, run=PICKY)
    assert counts(study) == {"datums": 2, "missing": 2}
    study.schedule()
    study.put("images/c", "bad\n", save=False)
    study.put("images/d", "delta\n", save=False)
    study.put("images/b", "other\n")
    study.schedule(code=1)
    assert counts(study) == {"datums": 4, "current": 1, "stored": 2, "failed": 1, "upstream": 1}
    titles, row, *_ = (line.split() for line in study.minipach("status").out.splitlines())
    assert titles == ["PIPELINE", "STATE", "DATUMS", "CURRENT", "STORED", "MISSING", "FAILED"]
    assert row == ["edges", "failed", "4", "1", "2", "0", "1"]


@pytest.mark.slow
def test_failures_that_are_alike_are_one_line_of_status(study: Study) -> None:
    for name in "abc":
        study.put(f"images/{name}", f"bad {name}\n", save=False)
    study.save("images")
    study.pipeline("edges", SPEC, run=PICKY)
    study.schedule(code=1)
    assert "edges: failed: 3 datums (a, b, c): the command exited with 3; minipach logs edges a\n" in (
        study.minipach("status").out
    )


@pytest.mark.slow
def test_a_datum_that_wrote_nothing_is_named(study: Study) -> None:
    study.put("images/a", "alpha\n", save=False)
    study.put("images/empty", "", save=False)
    study.put("images/s", "silent\n")
    study.pipeline("edges", SPEC, run=PICKY)
    done = study.minipach("schedule", "--json")
    assert done.code == 0
    assert "edges: 1 datum wrote nothing: s\n" in done.err, "an empty file is something"
    assert done.json["pipelines"][0]["wrote_nothing"] == ["s"]
    rows = study.minipach("job", "edges", "--json").json["attempts"]
    assert {row["datum"]: row["message"] for row in rows} == {"a": "", "empty": "", "s": "wrote nothing"}
    assert "s: ok, wrote nothing\n" in study.minipach("job", "edges").out
    assert "wrote nothing" not in study.minipach("schedule").err


@pytest.mark.slow
def test_why_a_datum_is_current_says_nothing_of_other_content(study: Study) -> None:
    study.put("images/a", "alpha\n")
    study.pipeline("edges", SPEC, run=PICKY)
    study.schedule()
    study.put("images/a", "bad\n")
    study.schedule(code=1)
    assert "last run here: failed" in study.minipach("plan", "edges", "--why", "a").out
    study.put("images/a", "alpha\n")
    story = study.minipach("plan", "edges", "--why", "a").out
    assert "\n  current\n" in story and "failed" not in story and "last run here" not in story


@pytest.mark.slow
def test_an_environment_differs_by_what_the_command_uses(study: Study) -> None:
    study.put("images/a", "alpha\n")
    study.pipeline("edges", SPEC, run=PICKY)
    study.schedule()
    place = study.root / "edges/.datalad/environments/host/image"
    recorded = place.read_text()
    place.write_text(recorded.replace("python3: ", "python3: 2."))
    study.save("edges")
    study.ok("git", "update-ref", "-d", "refs/minipach/base", cwd=study.root / "edges")
    assert "differs from" not in study.minipach("plan").err, "a shell script has nothing to do with it"
    assert "differs from" not in study.minipach("doctor").out
    study.put("edges/code/run.sh", PICKY + "# python3 is called here\n")
    assert "(python3 2." in study.minipach("plan").err
