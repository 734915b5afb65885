"""The plans of a project: what waits for what, what is taken as it is, and what can't be planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.planning.checks import sound_targets
from minipach.planning.project_plan import Plans, plan_project
from minipach.planning.status import PipelineStatus, project_status
from minipach.project.project import find_project
from minipach.project.targets import parse_targets
from minipach.support.errors import Problem, UserError
from tests.fixtures.projects import Study
from tests.fixtures.stories import duplicate


def plans(study: Study, *words: str, upstream: bool = False) -> Plans:
    project = find_project(study.root)
    return plan_project(project, parse_targets(project, words, upstream=upstream))


def status(study: Study) -> dict[str, PipelineStatus]:
    return {row.name: row for row in project_status(find_project(study.root))}


def refused(study: Study, *words: str, upstream: bool = False) -> tuple[Problem, ...]:
    """The problems for which nothing is scheduled."""
    with pytest.raises(UserError) as caught:
        sound_targets(find_project(study.root), words, upstream=upstream)
    return caught.value.problems


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One file in images, a -> b -> c; nothing has run. Only to look at."""
    study = Study.create(tmp_path_factory.mktemp("planning") / "study")
    study.put("images/x.txt", "x")
    for name, repo in (("a", "images"), ("b", "a"), ("c", "b")):
        study.copier(name, repo=repo)
    return study


@pytest.fixture(scope="module")
def behind(fresh: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The same, a and b done, and one more file in images. Only to look at."""
    study = duplicate(fresh, tmp_path_factory.mktemp("planning") / "study")
    study.schedule("a", "--no-downstream")
    study.schedule("b", "--no-downstream")
    study.put("images/y.txt", "y")
    return study


def test_the_status_of_some_is_what_that_of_all_says_of_them(behind: Study) -> None:
    project = find_project(behind.root)
    every = {row.name: row for row in project_status(project)}
    assert project_status(project, ["c"]) == [every["c"]]
    done = behind.minipach("status", "b", "c", "--json")
    assert [row["name"] for row in done.json["pipelines"]] == ["b", "c"]
    wrong = behind.minipach("status", "bb")
    assert wrong.code == 2 and wrong.problems[0].location == "bb"


def test_each_waits_for_what_is_done_before_it(fresh: Study, behind: Study) -> None:
    found = plans(fresh)
    assert [(p.pipeline, len(p.steps), p.waits) for p in found.plans] == [
        ("a", 1, ""),
        ("b", 0, "waits for a (1 to run)"),
        ("c", 0, "waits for b"),
    ]
    assert (found.remarks, found.problems) == ((), ())
    for found in (plans(behind, "a"), plans(behind, "c", upstream=True)):
        assert [p.waits for p in found.plans] == ["", "waits for a (1 to run)", "waits for b"]
        assert found.remarks == ()


def test_what_is_not_asked_for_is_taken_as_it_is(behind: Study) -> None:
    """As `schedule b` does, which runs no a."""
    found = plans(behind, "b")
    assert [(p.pipeline, p.counts["current"], p.counts["run"], p.waits) for p in found.plans] == [
        ("b", 1, 0, ""),
        ("c", 0, 1, ""),
    ]
    takes = "uses what is published there now; minipach schedule"
    assert found.remarks == (f"b: a has 1 to run, and a is not requested: b {takes} b --upstream does both",)
    (remark,) = plans(behind, "c").remarks
    assert remark == f"c: b waits for a (1 to run), and b is not requested: c {takes} c --upstream does both"


def test_what_has_never_run_gives_nothing_to_plan_with(fresh: Study) -> None:
    found = plans(fresh, "b")
    assert found.problems == refused(fresh, "b")
    (problem,) = found.problems
    assert (problem.code, problem.location, problem.fix) == (
        "input.no-output-yet",
        "b/spec.yml:1:21",
        "minipach schedule a",
    )
    assert [(p.pipeline, p.problems, p.waits) for p in found.plans] == [
        ("b", (problem,), ""),
        ("c", (), "waits for b (1 problem)"),
    ]
    assert plans(fresh, "b", upstream=True).problems == ()
    assert plans(fresh, "c:x.txt", upstream=True).plans[-1].waits == "waits for b"


@pytest.mark.slow
def test_what_lacks_another_input_keeps_nothing_that_is_asked_for_from_its_work(fresh: Study, tmp_path: Path) -> None:
    study = duplicate(fresh, tmp_path / "study")
    study.copier("other")
    study.pipeline(
        "both", "input: {cross: [{pfs: {repo: a, glob: /}},\n {pfs: {repo: other, glob: /}}]}\ntransform: {cmd: [x]}\n"
    )
    problem = "both/spec.yml:1:30: a is a pipeline without any output yet. Fix: minipach schedule a"
    (lacking,) = plans(study, "other").problems
    assert (lacking.code, str(lacking)) == ("input.no-output-yet", problem)
    reports = study.schedule("other", code=2)
    assert {name: report["state"] for name, report in reports.items()} == {"other": "published", "both": "error"}
    assert reports["both"]["reason"] == problem
    assert not (study.root / "both/.git").exists()


@pytest.mark.slow
def test_a_pipeline_without_datums_says_why(fresh: Study, tmp_path: Path) -> None:
    study = duplicate(fresh, tmp_path / "study")
    study.copier("none", glob="/*.tif")
    study.copier("after", repo="none")
    (none, after) = plans(study, "none").plans
    assert (none.steps, none.note) == ((), "nothing in images matches /*.tif")
    assert none.as_json()["note"] == none.note
    assert (after.note, after.waits) == ("", "waits for none")
    assert (status(study)["none"].state, status(study)["none"].details) == ("new", (none.note,))
    study.schedule("none")
    assert [p.note for p in plans(study, "none").plans] == [none.note, "none is empty"]
    assert (status(study)["none"].state, status(study)["none"].details) == ("current", (none.note,))
    shown = study.minipach("plan", "none").out
    assert shown == "none: no datums; nothing in images matches /*.tif\nafter: no datums; none is empty\n"
    assert study.minipach("datums", "none").err == "none: no datums; nothing in images matches /*.tif\n"


def test_what_is_wrong_with_one_is_said_of_that_one(fresh: Study, tmp_path: Path) -> None:
    """Whether it shows in the specs or only when inputs and images are looked at."""
    study = duplicate(fresh, tmp_path / "study")
    study.copier("odd", more="nonsense: 1\n")
    (study.root / "b/spec.yml").write_text(
        'input: {pfs: {repo: images, glob: "/*", branch: dev}}\ntransform: {cmd: [x]}\n'
    )
    found = plans(study)
    rows = {p.pipeline: p for p in found.plans}
    assert [len(rows[name].problems) for name in ("a", "b", "c", "odd")] == [0, 1, 0, 1]
    assert found.problems == rows["b"].problems + rows["odd"].problems
    (problem,) = rows["b"].problems
    assert (problem.code, problem.location) == ("input.no-such-branch", "b/spec.yml:1:49")
    assert rows["c"].waits == "waits for b (1 problem)"
    assert [s.action for s in rows["a"].steps] == ["run"]
    now = status(study)
    assert {name: row.state for name, row in now.items()} == {
        "a": "new",
        "b": "blocked",
        "c": "blocked",
        "odd": "blocked",
    }
    assert (now["b"].problems, now["odd"].problems) == (rows["b"].problems, rows["odd"].problems)
    assert (now["c"].problems, now["c"].details) == ((), ("waits for b",))
    *problems, others = refused(study)
    assert tuple(problems) == found.problems and others.fix.endswith(" minipach schedule a")
    assert sound_targets(find_project(study.root), ["a", "b"]).order == ("a", "b", "c")
    assert refused(study, "odd") == rows["odd"].problems


@pytest.mark.slow
def test_a_renamed_file_has_a_new_name_and_no_new_content(study: Study) -> None:
    study.put("images/a.txt", "alpha", save=False)
    study.put("images/b.txt", "beta")
    study.copier()
    study.schedule()
    study.git("images", "mv", "a.txt", "c.txt")
    study.put("images/d.txt", "delta", save=False)
    study.put("images/e.txt", "beta")
    found = {d["name"]: d["reason"] for d in study.plan()["edges"]["datums"] if d["action"] == "run"}
    assert found == {
        "c.txt": "new name (the content is that of a.txt)",
        "d.txt": "new content",
        "e.txt": "new name (the content is that of b.txt)",
    }


def test_the_python_that_runs_is_named_before_the_first_schedule(study: Study) -> None:
    study.put("images/a.txt", "alpha")
    study.copier()
    assert "runs with" not in study.minipach("plan").err, "it uses no Python"
    (study.root / "edges/code/copy.sh").write_text('python3 -c "print(1)" >"$PFS/out/x"\n')
    said = study.minipach("plan").err
    assert said.startswith("edges: runs with python3 ")
    study.pipeline("edges", 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [python3, code/x.py]}\n')
    assert said in study.minipach("plan").err
