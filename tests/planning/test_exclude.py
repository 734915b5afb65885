"""Datums that a spec leaves out: they do not run, and what is published of them is removed."""

from __future__ import annotations

import pytest

from minipach.planning.assessment import Assessment
from minipach.project.project import find_project
from minipach.project.targets import Targets
from minipach.rerun.working_tree import assess, working_project
from minipach.views.datum_story import step_of
from tests.fixtures.projects import COPY, Study
from tests.fixtures.refusals import refused

SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/copy.sh]}\n'


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A pipeline with three datums, all published."""
    study = Study.create(tmp_path_factory.mktemp("exclude") / "study")
    for name in ("sub-1", "sub-2", "pilot"):
        study.put(f"images/{name}", f"{name}\n", save=False)
    study.save("images")
    study.pipeline("edges", SPEC, copy=COPY)
    study.schedule()
    return study


def with_exclude(study: Study, exclude: str) -> Assessment:
    """The pipeline with these entries of `exclude`, uncommitted."""
    (study.root / "edges/spec.yml").write_text(f"{SPEC}minipach: {{exclude: {exclude}}}\n")
    return assess(working_project(find_project(study.root), ["edges"]), "edges", committed=False)


def test_what_is_left_out_is_no_datum_and_the_others_keep_their_ids(study: Study) -> None:
    with_all, some = with_exclude(study, "[]"), with_exclude(study, "[{datum: pilot, reason: it moved}]")
    ids = {task.datum.name: task.id for task in with_all.tasks}
    assert {task.datum.name: task.id for task in some.tasks} == {n: ids[n] for n in ("sub-1", "sub-2")}
    assert [(s.name, s.action, s.reason) for s in some.plan().steps if s.action != "current"] == [
        ("pilot", "remove", "excluded: it moved")
    ]
    assert some.exclusions == ("excluded: pilot: it moved",)


def test_a_pattern_leaves_out_all_that_it_matches(study: Study) -> None:
    found = with_exclude(study, '[{datum: "sub-*"}, {datum: gone, reason: "\\e[31m$(x)"}]')
    assert [datum.name for datum in found.datums] == ["pilot"]
    assert found.exclusions[0] == "excluded: 2 datums (sub-*)"
    assert "gone" in found.exclusions[1]


def test_all_may_be_left_out(study: Study) -> None:
    found = with_exclude(study, '[{datum: "*"}]')
    assert found.datums == [] and found.no_datums == "all 3 datums are excluded"


def test_who_asks_for_one_that_is_left_out_is_told(study: Study) -> None:
    found = with_exclude(study, '[{datum: "pil*", reason: it moved}]')
    for code, word in (("datum.excluded", "pilots"), ("datum.unknown", "pixels")):
        with refused(code, "edges", f"'{word}'"):
            step_of(found, word)
        with refused(code, "edges", f"'{word}'"):
            Targets(("edges",), {"edges": (word,)}).names("edges", ["sub-1"], found.pipeline.exclude)


@pytest.mark.slow
def test_status_and_the_branch_follow(study: Study, tmp_path: object) -> None:
    (study.root / "edges/spec.yml").write_text(f"{SPEC}minipach: {{exclude: [{{datum: pilot, reason: it moved}}]}}\n")
    study.save("edges")
    assert study.schedule()["edges"]["counts"]["removed"] == 1
    assert sorted(study.outputs("edges")) == ["sub-1", "sub-2"]
    shown = study.minipach("status")
    assert "excluded: pilot: it moved" in shown.out
    (study.root / "edges/spec.yml").write_text(SPEC)
    study.save("edges")
    assert study.schedule()["edges"]["counts"]["reused"] == 1


@pytest.mark.parametrize("exclude", ["7", "[7]", "[{reason: x}]", "[{datum: x, why: y}]"])
def test_a_wrong_entry_has_a_place(study: Study, exclude: str) -> None:
    (study.root / "edges/spec.yml").write_text(f"{SPEC}minipach: {{exclude: {exclude}}}\n")
    done = study.minipach("check", "edges")
    (study.root / "edges/spec.yml").write_text(SPEC)
    assert done.code == 2 and "edges/spec.yml:3:" in done.err and "Traceback" not in done.err
