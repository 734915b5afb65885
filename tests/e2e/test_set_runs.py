"""Datum sets: several datums in one containers-run, and what becomes of each."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from minipach.execution.set_size import TRIAL
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


# --- trials: the first sets end by time, and what they have not begun runs in other sets -----------------------------

SAY = 'echo "ran:$images"\n'
COPY = 'cp "$images" "$PFS/out/"\n'


def runs(study: Study) -> dict[str, int]:
    """How often the command ran for each datum, by the logs of sets."""
    logs = [
        log
        for log in Path(study.root, ".git/minipach/logs/edges").glob("*/*.log")
        if not re.search(r"\.\d+\.log$", log.name)
    ]
    return Counter(name for log in logs for name in re.findall(r"^ran:.*/(\w)\.txt", log.read_text(), re.MULTILINE))


def test_what_a_slot_has_not_begun_is_shared_among_all(study: Study) -> None:
    """Each datum takes more than half of the time, so a trial of eight does two of them."""
    in_sets(study, "", f"{SAY}sleep {0.6 * TRIAL}\n{COPY}")
    study.schedule("-j", "1")
    assert sorted(study.outputs("edges")) == [f"{name}.txt" for name in "abcdefgh"]
    assert runs(study) == dict.fromkeys("abcdefgh", 1)
    assert set_sizes(study)[0] < set_sizes(study)[-1] < 8
    assert study.minipach("schedule").out == "nothing to do\n"
    for name in "abcdefgh":
        assert study.minipach("logs", f"edges:{name}.txt").out.count("ran:") == 1


def test_one_datum_of_a_trial_is_in_no_set(study: Study) -> None:
    """The others were not begun: their part of the log, and of the record, is none."""
    in_sets(study, "", f"{SAY}sleep {1.2 * TRIAL}\n{COPY}")
    for name in "cdefgh":
        study.remove(f"images/{name}.txt")
    study.schedule("-j", "1")
    assert sorted(study.outputs("edges")) == ["a.txt", "b.txt"]
    assert set_sizes(study) == [1, 1]
    assert runs(study) == {"a": 1, "b": 1}
    for name in "ab":
        said = study.minipach("logs", f"edges:{name}.txt").out
        assert f"{name}.txt" in said and "begins" not in said
    log = study.git("edges", "log", "--format=%H", "--grep=DATALAD RUNCMD").split()
    for commit in log:
        study.ok("datalad", "rerun", commit, cwd=study.root / "edges")
    assert study.git("edges", "status", "--porcelain") == ""


def test_a_trial_ends_with_the_first_that_fails(study: Study) -> None:
    in_sets(study, "datum_tries: 2\n", f"{SAY}case $images in */c.txt) exit 3;; esac\n{COPY}")
    report = study.schedule("-j", "1", code=1)["edges"]
    assert [one["name"] for one in report["failed"]] == ["c.txt"]
    assert runs(study) == {**dict.fromkeys("abdefgh", 1), "c": 2}
    (study.root / "edges/code/copy.sh").write_text(COPY)
    study.save("edges")
    assert study.schedule("-j", "1")["edges"]["counts"]["ran"] == 8, "the code is another"


def test_trials_of_which_all_fail_are_few(study: Study) -> None:
    """The job stops after five that fail in the same way; the other slot may run one more then."""
    in_sets(study, "datum_tries: 1\n", f"{SAY}exit 3\n")
    study.schedule("-j", "1", code=1)
    assert sum(runs(study).values()) == 5


def test_the_first_datum_of_a_trial_has_all_its_tries(study: Study) -> None:
    in_sets(study, "datum_tries: 3\n", f"{SAY}case $images in */a.txt) exit 3;; esac\n{COPY}")
    study.schedule("-j", "1", code=1)
    assert runs(study) == {**dict.fromkeys("bcdefgh", 1), "a": 3}
    row = next(row for row in study.minipach("jobs", "--json").json["jobs"] if row["pipeline"] == "edges")
    attempts = study.minipach("job", row["id"], "--json").json["attempts"]
    assert {one["datum"]: one["tries"] for one in attempts if one["kind"] == "failed"} == {"a.txt": 3}
    assert [len(one["tried"]) for one in attempts if one["kind"] == "failed"] == [3]
