"""The first sets of a pipeline end by time: what they have not begun goes back, and runs in other sets."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from minipach.execution.set_size import TRIAL
from tests.e2e.test_set_runs import in_sets, set_sizes
from tests.fixtures.projects import Study

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
