"""Failures that would only repeat are not repeated, and are told once."""

from __future__ import annotations

import pytest

from minipach.model.failures import Beginning, failure_kind, named, without_name
from minipach.model.job_entries import Attempt, DatumResult
from minipach.model.states import DatumKind
from minipach.model.work_set import Outcome, tried_again
from minipach.planning.command_check import script_of
from tests.fixtures.projects import Study

SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/run.sh]}\n'
ONE_EACH = "datum_set_spec: {number: 1}\n"
PICKY = """
echo "trouble with ${images##*/}"
grep -q bad "$images" && exit 3
cp "$images" "$PFS/out/"
"""


def end(name: str, kind: DatumKind = "failed", code: int = 1, message: str = "the command exited with 1") -> Attempt:
    return Attempt(name, "ab" * 32, DatumResult(0, kind, code, message), 1, "", "")


def test_failures_are_alike_whatever_the_datum_is_called() -> None:
    assert failure_kind(end("a.txt", message="a.txt: cut off")) == failure_kind(end("b.txt", message="b.txt: cut off"))
    assert failure_kind(end("a.txt", message="cut off")) != failure_kind(end("b.txt", message="timed out"))
    assert failure_kind(end("a", code=127)) != failure_kind(end("a", code=1))
    assert failure_kind(end("a", kind="lost")) != failure_kind(end("a"))
    assert without_name("no file /pfs/images/sub-1/T1.nii for sub-1 of sub-10", "sub-1") == (
        "no file /pfs/images/*/T1.nii for * of sub-10"
    )
    assert named(["a", "b", "c"], 2) == "a, b and 1 more"


def test_an_exit_code_is_no_name() -> None:
    assert failure_kind(end("1.txt")) == failure_kind(end("2.txt"))
    said = "datum: 3.txt: the command failed with exit code 3"
    assert without_name(said, "3.txt") == "datum: *: the command failed with exit code 3"


@pytest.mark.parametrize(
    ("ends", "limit", "hopeless"),
    [
        ([end("a"), end("b")], 2, True),
        ([end("a"), end("b")], 3, False),
        ([end("a"), end("b")], 0, False),
        ([end("a"), end("b", code=2)], 2, False),
        ([end("a", kind="ok"), end("b"), end("c")], 2, False),
        ([end("a"), end("b", kind="recovered"), end("c")], 2, False),
        ([end("a", kind="lost", message="no disk"), end("b", kind="lost", message="no disk")], 2, True),
    ],
)
def test_a_beginning_is_hopeless_if_all_fail_in_the_same_way(ends: list[Attempt], limit: int, hopeless: bool) -> None:
    beginning = Beginning(limit)
    for one in ends:
        beginning.note(one)
    assert beginning.is_hopeless is hopeless


def test_what_cannot_be_executed_is_not_tried_again() -> None:
    bad = (
        DatumResult(0, "failed", 127, "not found"),
        DatumResult(1, "failed", 1, "failed"),
        DatumResult(2, "failed", 126, "output spec.yml"),
    )
    assert tried_again((*bad, DatumResult(3, "ok")), 3) == {1: 2}
    assert tried_again(bad, 3) == {1: 2}
    lost = Outcome("s", "lost", 127, "away", 1.0, 1, "log", "host")
    assert tried_again(lost.results(2), 3) == {0: 3, 1: 3}


def many_bad(study: Study, count: int, spec: str = SPEC) -> None:
    for number in range(count):
        study.put(f"images/f{number}", f"bad {number}\n", save=False)
    study.save("images")
    study.pipeline("edges", spec, run=PICKY)


def kinds(study: Study) -> list[tuple[str, str, int]]:
    """What became of the datums that the last pass ran."""
    story = study.minipach("job", "edges", "--json").json
    last = len(story["passes"]) - 1
    return [(row["datum"], row["kind"], row["tries"]) for row in story["attempts"] if row["pass"] == last]


@pytest.mark.slow
def test_a_job_whose_first_datums_all_fail_stops_and_says_so_once(study: Study) -> None:
    many_bad(study, 9, SPEC + ONE_EACH + "datum_tries: 1\n")
    study.ok("git", "config", "minipach.give-up-after", "3")
    done = study.minipach("schedule", "-j", "1")
    assert done.code == 1
    failed = len(kinds(study))
    assert 3 <= failed <= 5, "what was submitted already runs to its end"
    assert done.err.count("the command exited with 3") == 1, done.err
    assert done.err.count("    trouble with f") == 1
    assert f"edges: {failed - 1} datums failed in the same way as f0: f1, f2" in done.err
    assert (
        f"{failed} of 9 datums failed; the first {failed} all failed in the same way, so the job stopped with "
        f"{9 - failed} not run (minipach schedule edges --keep-going); the branch does not change" in done.err
    )
    done = study.minipach("schedule", "-j", "1", "--keep-going")
    assert done.code == 1 and "not run" not in done.err
    assert len(kinds(study)) == 9


def test_a_setting_that_is_no_number_is_named(study: Study) -> None:
    many_bad(study, 1)
    done = study.minipach("schedule", env={"MINIPACH_GIVE_UP_AFTER": "few"})
    assert (done.code, done.refusals[-1]) == (2, ("setting.bad-value", "MINIPACH_GIVE_UP_AFTER"))
    both = study.minipach("schedule", "--keep-going", "--fail-fast")
    assert (both.code, both.refusals) == (2, [("option.conflict", "")])


@pytest.mark.slow
def test_what_failed_in_two_jobs_is_left_alone_until_it_is_asked_for(study: Study) -> None:
    many_bad(study, 1, SPEC + "datum_tries: 1\n")
    study.put("images/good", "good\n")
    study.schedule(code=1)
    assert study.plan()["edges"]["counts"]["run"] == 1
    study.schedule(code=1)
    step = next(s for s in study.plan()["edges"]["datums"] if s["name"] == "f0")
    assert (step["action"], step["reason"]) == (
        "skip",
        "failed in 2 jobs with this content: the command exited with 3",
    )
    line = "edges: 1 datum failed in earlier jobs with this content, and is not run again; minipach retry edges\n"
    assert line in study.minipach("plan").err
    done = study.minipach("schedule")
    assert done.code == 1
    assert "edges: 1 reuse, 1 skip\n" in done.err
    assert "1 failed in earlier jobs and not run again (minipach retry edges); the branch does not change" in done.err
    assert kinds(study) == []
    [row] = study.minipach("status", "--json").json["pipelines"]
    assert (row["state"], row["counts"]["left"], row["counts"]["failed"]) == ("failed", 1, 0)
    for command in (["retry"], ["schedule", "--retry-failed"], ["schedule", "edges:f0"]):
        assert study.minipach(*command).code == 1
        assert kinds(study) == [("f0", "failed", 1)], command
    study.put("images/f0", "mended\n")
    assert study.schedule()["edges"]["state"] == "published"


@pytest.mark.slow
def test_retry_publishes_what_a_fix_has_restored(study: Study) -> None:
    study.put("images/a.txt", "alpha\n", save=False)
    study.put("images/b.txt", "beta\n")
    study.pipeline("edges", SPEC + "datum_tries: 1\n", run=PICKY)
    study.schedule()
    study.put("images/a.txt", "bad\n", save=False)
    study.put("images/b.txt", "other\n")
    study.schedule(code=1)
    study.put("images/a.txt", "alpha\n")
    assert study.plan()["edges"]["counts"]["reuse"] == 1
    done = study.minipach("retry")
    assert done.code == 0, done.err
    assert study.read("edges/b.txt") == b"other\n"
    assert study.minipach("retry").out == "nothing failed last time\n"


@pytest.mark.slow
def test_a_program_that_is_not_there_and_a_reserved_name_are_tried_once(study: Study) -> None:
    study.put("images/a.txt", "alpha\n")
    study.pipeline("edges", SPEC, run="nosuchprogram\n")
    study.schedule(code=1)
    assert kinds(study) == [("a.txt", "failed", 1)]
    study.put("edges/code/run.sh", 'echo x >"$PFS/out/spec.yml"\n')
    study.schedule(code=1)
    assert kinds(study) == [("a.txt", "failed", 1)]


@pytest.mark.parametrize(
    ("cmd", "script"),
    [
        (["python3", "code/a.py", "x"], "code/a.py"),
        (["python3", "-u", "code/a.py"], "code/a.py"),
        (["python3", "-m", "mod"], None),
        (["sh", "-ec", "code/a.sh"], None),
        (["sh", "-e", "run.sh"], "run.sh"),
        (["bash", "--norc", "run.sh"], "run.sh"),
        (["./run.sh"], "./run.sh"),
        (["code/run"], "code/run"),
        (["/opt/run"], None),
        (["cp", "a", "b"], None),
        (["sh", "{images}"], None),
        (["python3", "/pfs/code/a.py"], None),
        (["python3"], None),
    ],
)
def test_the_script_of_a_command(cmd: list[str], script: str | None) -> None:
    assert script_of(cmd) == script


@pytest.mark.slow
def test_check_finds_a_program_or_a_script_that_is_nowhere(study: Study) -> None:
    study.put("images/a.txt", "alpha\n")
    study.pipeline("edges", SPEC.replace("run.sh", "runs.sh"), run=PICKY)
    study.pipeline("other", SPEC.replace("[sh,", "[nosuchprogram,"), run=PICKY)
    done = study.minipach("check")
    assert (done.code, done.out) == (2, "")
    assert done.refusals == [
        ("command.no-such-script", "edges/spec.yml:2:18"),
        ("command.no-such-program", "other/spec.yml:2:18"),
    ]
    failed = study.schedule("edges", code=1)["edges"]["failed"]
    assert ["code/runs.sh" in row["message"] for row in failed] == [True]
    assert kinds(study) == [("a.txt", "failed", 1)]
    (study.root / "edges/code/runs.sh").write_text(PICKY)
    assert study.minipach("check", "edges").code == 0
    assert study.minipach("check", "--committed", "edges").code == 2


@pytest.mark.parametrize(
    ("first", "mode", "wanted"),
    [
        (b"#!/no/such\n", 0o755, ["needs the interpreter /no/such, which is not on this host"]),
        (b"#!/bin/sh\r\n", 0o755, ["the first line of code/run.sh ends with a carriage return"]),
        (b"#!/bin/sh\n", 0o644, ["code/run.sh is not executable"]),
        (b"#!/bin/sh\n", 0o755, []),
        (b"true\n", 0o755, []),
    ],
    ids=["interpreter", "line-end", "mode", "right", "no-line"],
)
def test_check_finds_a_script_that_can_not_be_started(study: Study, first: bytes, mode: int, wanted: list[str]) -> None:
    study.pipeline("edges", SPEC.replace("[sh, code/run.sh]", "[code/run.sh]"), run="true")
    script = study.root / "edges/code/run.sh"
    script.write_bytes(first)
    script.chmod(mode)
    done = study.minipach("check")
    told = done.err.splitlines()
    assert done.code == (2 if wanted else 0)
    assert len(told) == len(wanted)
    assert all(one in line and line.startswith("edges/spec.yml:") for one, line in zip(wanted, told, strict=True))
