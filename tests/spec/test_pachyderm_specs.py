"""Specs of the kind in Pachyderm's documentation: each works, or is refused in one line that names the field."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fixtures.projects import Done, run

CASES = Path(__file__).parents[1] / "cases" / "pachyderm"

# Each in a folder of the pipeline's name.
ACCEPTED = {
    "edges/edges.json": "OpenCV's edges: one datum per picture",
    "montage/montage.yaml": "a cross of two whole repos",
    "wordcount-map/map.json": "four workers, resources",
    "wordcount-reduce/reduce.yaml": "a shell's lines, metadata, Pachyderm's projects",
    "purchases/inner-join.yaml": "a join on a capture",
    "returns/outer-join.json": "an outer join, in camelCase",
    "patients/group.yaml": "a group over two repos",
    "frames/lazy.json": "lazy and empty files, a union in a cross",
    "tick/cron.json": "the newest tick of a clock",
    "ticked/cron-cross.yaml": "a clock crossed with a repo",
    "triggered/trigger.yaml": "a branch trigger",
    "sets/datum-set.yaml": "twenty datums a set",
    "tuned/engine.yaml": "what only a cluster understands",
    "locked/secrets.json": "a secret as an environment variable",
    "robust/err-cmd.yaml": "a command for what failed",
    "slow/timeouts.yaml": "time limits for a datum and for a job",
    "export/egress.yaml": "outputs that are sent to a bucket",
    "batched/datum-batching.yaml": "one start for many datums",
    "notebook/service.yaml": "a service with a port",
    "inspected/raw.json": "what `pachctl inspect pipeline --raw` prints, with all that isn't set",
}
NOTED = {
    "wordcount-reduce/reduce.yaml": ["project", "project"],
    "inspected/raw.json": ["project", "project", "repo_type"],
    "tuned/engine.yaml": [
        "autoscaling",
        "maximum_expected_uptime",
        "sidecar_resource_limits",
    ],
}
# The place and the words that name the field.
REFUSED = {
    "stream/spout.json": "3:3: `spout` is not supported. Fix: ",
    "listen/spout-service.yaml": "2:1: `spout` is not supported. Fix: ",
    "s3in/s3.json": "3:50: `s3` is not supported. Fix: ",
    "s3gate/s3-out.json": "4:3: `s3_out` is not supported. Fix: ",
    "warehouse/sql-egress.yaml": "5:3: `sql_database` is not supported. Fix: ",
    "training/tf-job.json": "4:3: `tf_job` is not supported. Fix: ",
    "model/determined.yaml": "4:1: `determined` is not supported. Fix: ",
    "checkout/git.json": "3:13: `git` is not supported. Fix: ",
    "legacy/atom.json": "3:13: `atom` is called `pfs` since Pachyderm 1.8. Fix: ",
    "elder/version-1.yaml": "4:1: `enable_stats` is obsolete. Fix: ",
    "spread/coefficient.yaml": "4:20: `coefficient` is obsolete. Fix: ",
    "dockerfile/build.json": "4:17: `build` is not supported. Fix: ",
}


def check(*files: str) -> Done:
    """`minipach check FILE...`, outside of any project."""
    return run(sys.executable, "-m", "minipach", "check", *files, cwd=CASES)


@pytest.fixture(scope="module")
def accepted() -> Done:
    return check(*ACCEPTED)


@pytest.fixture(scope="module")
def refused() -> Done:
    return check(*REFUSED)


def about(file: str, said: str) -> list[str]:
    """The lines about one file."""
    return [line for line in said.splitlines() if file in line]


def test_every_case_is_listed() -> None:
    files = {path.relative_to(CASES).as_posix() for path in CASES.rglob("*") if path.is_file()}
    assert files == ACCEPTED.keys() | REFUSED.keys()


def test_what_can_be_kept_is_accepted_unchanged(accepted: Done) -> None:
    assert accepted.code == 0, accepted.err
    assert accepted.out == f"{len(ACCEPTED)} specs checked, no problems\n"


@pytest.mark.parametrize("file", ACCEPTED)
def test_a_note_for_each_field_that_changes_nothing(file: str, accepted: Done) -> None:
    notes = about(file, accepted.err)
    assert [note.split("`")[1] for note in notes] == NOTED.get(file, [])
    assert all(note.startswith(f"note: {file}:") for note in notes)


@pytest.mark.parametrize("file", REFUSED)
def test_what_cannot_be_kept_is_refused_in_one_line(file: str, refused: Done) -> None:
    (line,) = about(file, refused.err)
    assert line.startswith(f"{file}:{REFUSED[file]}")
    assert ". Fix: " in line


def test_a_refusal_is_for_the_user_to_mend(refused: Done) -> None:
    assert (refused.code, refused.out) == (2, "")
    assert len(refused.err.splitlines()) == len(REFUSED)
    one = check("stream/spout.json")
    assert (one.code, one.out, len(one.err.splitlines())) == (2, "", 1)
