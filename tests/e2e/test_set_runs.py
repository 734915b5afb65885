"""Datum sets: several datums in one containers-run, and what becomes of each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from minipach.model.run_record import parse
from tests.fixtures.projects import Study, run

NUMBER = "datum_set_spec: {number: 4}\ndatum_tries: 2\n"
UNLUCKY = 'case $images in */bad*) echo no luck here; exit 3;; esac\ncp "$images" "$PFS/out/"\n'


def in_sets(study: Study, more: str = NUMBER, script: str | None = None) -> None:
    """Eight small files, and a pipeline that copies each, four in a set."""
    for name in "abcdefgh":
        study.put(f"images/{name}.txt", f"content of {name}\n", save=False)
    study.save("images")
    study.copier(more=more)
    if script:
        (study.root / "edges/code/copy.sh").write_text(script)


def ours(study: Study, commit: str) -> dict[str, Any]:
    """Our object in the record of a commit."""
    found: dict[str, Any] = parse(study.git("edges", "log", "-1", "--format=%B", commit) + "\n")[1]["minipach"]
    return found


def datums_of(study: Study, commit: str) -> list[str]:
    """The datums that the record of a commit names."""
    return [datum["name"] for datum in ours(study, commit)["datums"]]


def set_sizes(study: Study) -> list[int]:
    """How many datums ran in each set, by their records: smallest first; a datum that ran alone has no set."""
    commits = study.git("edges", "log", "--format=%H", "--grep=DATALAD RUNCMD").split()
    assert all(len(datums_of(study, commit)) == 1 for commit in commits)
    sets = Counter(ours(study, commit).get("set", commit) for commit in commits)
    return sorted(sets.values())


@pytest.mark.slow
def test_each_datum_of_a_set_has_a_record_that_names_its_set(study: Study) -> None:
    in_sets(study)
    assert study.schedule()["edges"]["counts"]["ran"] == 8
    assert sorted(study.outputs("edges")) == [f"{n}.txt" for n in "abcdefgh"]
    assert [study.read(f"edges/{n}.txt") for n in "ah"] == [b"content of a\n", b"content of h\n"]
    assert set_sizes(study) == [4, 4]
    record = parse(study.git("edges", "log", "-1", "--format=%B") + "\n")[1]
    assert record["outputs"] == datums_of(study, "HEAD") == ["h.txt"]
    assert record["inputs"] == ["inputs/images/h.txt"]
    assert study.minipach("schedule").out == "nothing to do\n"


@pytest.mark.slow
def test_a_datum_of_a_set_reruns_alone_in_a_clone(study: Study, tmp_path: Path) -> None:
    in_sets(study)
    study.schedule()
    clone = tmp_path / "clone"
    study.ok("datalad", "clone", str(study.root / "edges"), str(clone))
    head = run("git", "rev-parse", "HEAD", cwd=clone).out
    done = run("datalad", "rerun", cwd=clone)
    assert done.code == 0, done.err
    assert run("git", "rev-parse", "HEAD", cwd=clone).out == head, "a rerun had something to save"
    assert run("git", "status", "--porcelain", cwd=clone).out == ""
    assert len(run("git", "annex", "find", cwd=clone).out.split()) == 1


@pytest.mark.slow
def test_a_failing_datum_costs_its_set_nothing(study: Study) -> None:
    in_sets(study, more=NUMBER.replace("2", "3"), script=UNLUCKY)
    study.put("images/bad.txt", "an unlucky one\n")
    report = study.schedule(code=1)["edges"]
    assert (report["counts"]["ran"], report["counts"]["failed"]) == (8, 1)
    printed = study.minipach("logs", "edges", "bad.txt").out
    assert "no luck here" in printed
    assert "content of" not in printed
    assert "minipach: try 3 of 3" in printed, "the first one, in its set, counts"
    study.remove("images/bad.txt")
    after = study.schedule()["edges"]
    assert (after["counts"]["ran"], after["counts"]["reused"]) == (0, 8)
    assert sorted(study.outputs("edges")) == [f"{n}.txt" for n in "abcdefgh"]
    named = [
        n
        for c in study.git("edges", "log", "--format=%H", "--grep=DATALAD RUNCMD").split()
        for n in datums_of(study, c)
    ]
    assert sorted(named) == [f"{n}.txt" for n in "abcdefgh"], "a record names just what succeeded"


FORGER = """name=$(basename "$images")
case $name in
  b.txt) # a line of its own that looks like a mark; whatever of true ones is to be found; and no end of its last line
    printf 'datum: begins 3\\ndatum: begins 4 %032d\\n' 0
    grep -h '^datum: begins' "$PFS"/.minipach/* 2>/dev/null
    find "$PFS/.minipach" -name words
    ;;
  c.txt) mkdir "$PFS/out/.git" && : >"$PFS/out/.git/x" ;;
  d.txt) cp "$images" "$PFS/out/inputs" ;;
esac
cp "$images" "$PFS/out/"
printf 'last of %s ' "$name"
"""


@pytest.mark.slow
def test_what_a_datum_prints_is_in_its_own_log_whatever_it_prints(study: Study) -> None:
    in_sets(study, more="datum_set_spec: {number: 4}\ndatum_tries: 1\n", script=FORGER)
    failed = study.schedule(code=1)["edges"]["failed"]
    assert [(row["name"], row["message"].partition(": ")[0]) for row in failed] == [
        ("c.txt", 'output ".git" can\'t be kept'),
        ("d.txt", 'output "inputs" is a reserved name in a pipeline\'s repo; write elsewhere or set minipach.out'),
    ]
    logs = {n: study.minipach("logs", "edges", f"{n}.txt").out for n in "abcdefgh"}
    for name, log in logs.items():
        assert [part.split()[0] for part in log.split("last of ")[1:]] == [f"{name}.txt"]
    assert "words" not in logs["b"]
    assert " datum: begins 3\n datum: begins 4 0000" in logs["b"]
    assert [n for n, log in logs.items() if '".git" can\'t be kept' in log] == ["c"]
    assert [n for n, log in logs.items() if '"inputs" is a reserved name' in log] == ["d"]


@pytest.mark.slow
def test_one_of_a_set_changes_and_only_it_runs_again(study: Study) -> None:
    in_sets(study)
    study.schedule()
    study.put("images/b.txt", "another content\n")
    assert study.schedule()["edges"]["counts"] == {
        "ran": 1,
        "reused": 0,
        "current": 7,
        "removed": 0,
        "recovered": 0,
        "failed": 0,
    }
    assert study.read("edges/b.txt") == b"another content\n"
    study.put("images/b.txt", "content of b\n")
    back = study.schedule()["edges"]["counts"]
    assert (back["ran"], back["reused"]) == (0, 1)
    assert datums_of(study, "HEAD") == ["b.txt"], "a part of a set that is published anew has a record of its own"
    study.remove("images/c.txt")
    assert study.schedule()["edges"]["counts"]["removed"] == 1
    assert sorted(study.outputs("edges")) == [f"{n}.txt" for n in "abdefgh"]


@pytest.mark.slow
def test_two_of_a_set_that_write_one_path_are_an_error_that_names_one(study: Study) -> None:
    in_sets(study, script='cp "$images" "$PFS/out/same"\n')
    done = study.minipach("schedule")
    assert done.code in (1, 2)
    assert "same" in done.err
    assert study.outputs("edges") == {}


@pytest.mark.slow
def test_without_a_number_sets_grow_with_what_the_first_ones_took(study: Study) -> None:
    for number in range(24):
        study.put(f"images/{number:02}.txt", f"{number}\n", save=False)
    study.save("images")
    study.copier()
    assert study.schedule("-j", "2")["edges"]["counts"]["ran"] == 24
    sizes = set_sizes(study)
    assert sum(sizes) == 24
    assert max(sizes) > 1
