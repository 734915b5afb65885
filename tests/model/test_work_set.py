"""Datum sets as data: what a worker is told, and that it survives the way there."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from minipach.model.datum import Datum, Task
from minipach.model.job_entries import DatumResult, Took
from minipach.model.work_set import (
    Base,
    Needs,
    Outcome,
    StagedFile,
    Streak,
    WorkSet,
    id_of,
    record_extra,
    set_id,
    tried_again,
)
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.project.project import Project
from minipach.scheduling.work_sets import make_set, staged_files
from tests.fixtures.projects import Study
from tests.fixtures.refusals import refused


def task(name: str, datum_id: str = "1", dest: str = "") -> Task:
    return Task(Datum(name, ()), datum_id, dest)


def test_a_sets_id_is_made_of_its_datums() -> None:
    base = set_id("edges", [task("a"), task("b")])
    assert base == set_id("edges", [task("a"), task("b")])
    others = [
        set_id("montage", [task("a"), task("b")]),
        set_id("edges", [task("a")]),
        set_id("edges", [task("b"), task("a")]),
        set_id("edges", [task("a"), task("b", "2")]),
        set_id("edges", [task("a"), task("c")]),
        set_id("edges", [task("a"), task("b", dest="x")]),
    ]
    assert len({base, *others}) == 7
    assert set_id("edges", [task("\udcff")])  # it is part of a ref's name: hexadecimal, whatever the datum is called
    assert all(c in "0123456789abcdef" for c in base)


WORK = WorkSet(
    id="id",
    pipeline="edges",
    repo="/project/edges",
    base="base",
    image="image",
    head=("-e", "A={x}\nü \udcff"),
    parts=(("-d", "a", ""), ("-d", "b", "")),
    tail=("--", "cp"),
    inputs_of=(("inputs/images/a", "inputs/masks/m"), ("inputs/images/b", "inputs/masks/m")),
    always=("code",),
    files=(StagedFile("inputs/images/a", "/project/images", "annex", "blob", "key", True),),
    datums=({"name": "a", "matches": [["images", "images", "/a"]]}, {"name": "b"}),
    job="job",
    forced=False,
    tries=3,
    log="/log",
)


def test_a_set_survives_the_way_to_its_worker() -> None:
    text = WORK.to_json()
    assert "\n" not in text  # sets travel as lines
    assert text.isascii()
    assert WorkSet.from_json(text) == WORK
    other = replace(WORK, needs=Needs(cpu=0.5, gpus=1), timeout=2.5, tried=1, secrets=("s",))
    assert WorkSet.from_json(other.to_json()) == other


def test_an_outcome_survives_the_way_back() -> None:
    outcome = Outcome("id", "ok", 0, "ü\n", 1.5, 2, "/log", "host", 0.5)
    took = Took(1.0, 2.0, 1.0, 0.5, 1024)
    outcome = replace(outcome, datums=(DatumResult(1, "failed", 3, "exit 3", 0, took, 7, 8), DatumResult(4, "ok")))
    assert Outcome.from_json(json.dumps(asdict(outcome))) == outcome
    assert Outcome.from_json(outcome.to_json()) == outcome


def test_a_part_of_a_set_is_told_of_with_the_indices_of_the_whole() -> None:
    part = outcome("ok", datums=(DatumResult(0, "ok", part=0), DatumResult(1, "failed", 3, "no", 1)))
    whole = part.as_part_of("whole", [4, 7])
    assert whole.set_id == "whole"
    assert whole.datums == (DatumResult(4, "ok", part=0), DatumResult(7, "failed", 3, "no", 1))
    alike = outcome("lost").as_part_of("whole", [2, 5]).datums
    assert [(one.index, one.state, one.part) for one in alike] == [(2, "lost", 0), (5, "lost", 1)]
    assert outcome("failed").results(1) == (DatumResult(0, "failed", 1),), "one that ran by itself has no part of a log"


def test_the_record_of_some_datums_is_theirs_alone() -> None:
    assert WORK.inputs() == ["inputs/images/a", "inputs/masks/m", "inputs/images/b", "code"]
    assert WORK.inputs([1]) == ["inputs/images/b", "inputs/masks/m", "code"]
    assert (WORK.title(), WORK.title([1])) == ("edges: 2 datums, a ... b", "edges: b")
    words = shlex.split(WORK.command([1]).format())  # datalad formats commands, which halves the braces
    assert words == ["-e", "A={x}\nü \udcff", "-d", "b", "", "--", "cp"]
    assert shlex.split(WORK.command().format()).count("-d") == 2


def test_the_record_names_the_datums() -> None:
    datums = [{"name": "a", "id": "1"}, {"name": "b", "id": "2"}]
    wanted = {"schema": 1, "pipeline": "edges", "job": "job", "datums": datums}
    assert record_extra("edges", "job", datums) == wanted
    assert record_extra("edges", "job", datums, forced=True) == {**wanted, "forced": True}


# Of a real project

BASE = Base("base-commit", "tree", "image-path", "code-tree", {("images", None): "c" * 40}, "dsid")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Pictures in a folder and beside it, and a pipeline that was never run. Only to look at."""
    made = Study.create(tmp_path_factory.mktemp("sets") / "study")
    for path in ("a.png", "d/b.png", "d/e f.png"):
        made.put(f"images/{path}", path, save=False)
    made.save("images")
    made.copier()
    return made


def assess(study: Study) -> Assessment:
    return Assessment(Project(study.root), "edges", SnapshotStore(Project(study.root)))


def test_a_worker_is_told_everything(study: Study) -> None:
    assessment = assess(study)
    folder = next(t for t in assessment.tasks if t.datum.name == "d")
    work = make_set(assessment, BASE, [folder], "job", "/log")
    assert (work.pipeline, work.repo, work.base, work.image) == (
        "edges",
        str(study.root / "edges"),
        "base-commit",
        "image-path",
    )
    assert work.title() == "edges: d"
    assert work.inputs()[0] == "inputs/images/d"
    assert [f.dest for f in work.files] == ["inputs/images/d/b.png", "inputs/images/d/e f.png"]
    assert {f.kind for f in work.files} == {"annex"}
    assert {f.repo for f in work.files} == {str(study.root / "images")}
    assert work.tries == 3
    [told] = work.datums
    assert (told["id"], told["name"], told["dest"], told["words"]) == (folder.id, "d", "", [])
    assert told["variables"] == {"MINIPACH_DATUM": "d", "images": "/pfs/images/d"}
    assert told["matches"] == [["images", "images", "/d"]]
    assert [row[0] for row in told["inputs"]["images"]] == ["d/b.png", "d/e f.png"]
    assert WorkSet.from_json(work.to_json()).files == work.files
    json.dumps(told)


def test_what_several_datums_match_is_staged_once(study: Study) -> None:
    assessment = assess(study)
    assert len(staged_files(assessment, [*assessment.tasks, *assessment.tasks])) == 3


@pytest.mark.parametrize("path", ["../x", "d/../../x", ".git/config", "d/.git/hooks/post-checkout", "d//x"])
def test_a_path_that_leads_out_is_refused(study: Study, path: str) -> None:
    """Git itself makes no such path, but whoever writes the objects by hand may."""
    assessment = assess(study)
    snapshot = assessment.snapshots["images", None]
    snapshot.files = {path: next(iter(snapshot.files.values()))}
    match = assessment.tasks[0].datum.matches[0]
    root = type(match)("images", "images", None, "/", (), "", "", False, False)
    with refused("file.outside-repo", "images"):
        staged_files(assessment, [Task(Datum("/", (root,)), "1", "")])


def test_nothing_was_written(study: Study) -> None:
    assert not Path(study.root / "edges" / ".git").exists()


def outcome(kind: Any, **more: Any) -> Outcome:
    """How a set ended."""
    return Outcome("id", kind, int(kind != "ok"), "", 1.0, 1, "log", "host", **more)


def test_who_is_tried_again_alone_when_a_set_of_three_did_not_succeed() -> None:
    lost, failed = outcome("lost"), outcome("failed")
    assert tried_again(outcome("ok").results(3), 2) == {}
    mixed = (DatumResult(0, "ok"), DatumResult(1, "failed", 9, "no"), DatumResult(2, "recovered", 9))
    assert tried_again(mixed, 2) == {1: 1}
    assert tried_again(failed.results(3), 2) == {0: 1, 1: 1, 2: 1}
    assert tried_again(failed.results(3), 1) == {}
    assert tried_again((DatumResult(0, "failed", 124), DatumResult(1, "stopped", 124)), 1) == {1: 1}
    assert tried_again(lost.results(3), 1) == {0: 1, 1: 1, 2: 1}, "it was nobody's try"
    assert tried_again(lost.results(1), 3) == {}


def test_after_three_that_were_lost_alone_it_is_hopeless_unless_one_was_not() -> None:
    streak = Streak()
    for kind in ("lost", "lost", "failed", "lost", "lost"):
        streak.note(outcome(kind))
        assert not streak.is_hopeless
    streak.note(outcome("lost"))
    assert streak.is_hopeless


def test_a_set_with_more_memory_is_another_set() -> None:
    work = replace(WORK, head=("-L", "disk=9", "-L", "memory=100"), needs=Needs(cpu=1, memory=200), more_memory=1.5)
    work = replace(work, datums=tuple({"id": n, "name": n, "dest": ""} for n in "ab"))
    once, twice = work.with_memory(1), work.with_memory(2)
    assert (once.head[3], once.needs) == ("memory=150", Needs(cpu=1, memory=300))
    assert (twice.head[3], twice.needs.memory, twice.raised) == ("memory=225", 450, 2)
    assert once.head[:3] == work.head[:3]
    assert len({work.with_memory(0).id, once.id, twice.id}) == 3
    assert WorkSet.from_json(twice.to_json()) == twice
    assert id_of(twice) == twice.id


def test_a_worker_leaves_to_others_what_is_to_get_more_memory() -> None:
    rows = (DatumResult(0, "failed", 137, wants_memory=True), DatumResult(1, "failed", 137))
    assert tried_again(rows, 3) == {1: 2}
