"""Parameters in `params.yml`: what a pipeline uses is in its identity, and what it does not use is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from minipach.project.project import find_project
from minipach.rerun.working_tree import assess, working_project
from minipach.support.errors import UserError
from tests.fixtures.projects import Study

SPEC = """\
input: {pfs: {repo: images, glob: "/(*).txt"}}
transform:
  cmd: [sh, code/run.sh, "{{ params.level }}", "{{ datum.1 }}"]
  env: {NAME: "{{ datum.1 }}-{{ params.level }}", SUFFIX: plain}
minipach: {params: {level: 1}}
"""
RUN = 'echo "$1 $2 $NAME $SUFFIX" >"$PFS/out/$2"\n'


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A pipeline with a parameter, and `params.yml` with those of two pipelines."""
    study = Study.create(tmp_path_factory.mktemp("params") / "study")
    study.put("images/moon.txt", "moon\n", save=False)
    study.put("images/sun.txt", "sun\n")
    study.pipeline("edges", SPEC, run=RUN)
    study.put("params.yml", "edges: {level: 2, other: 1}\nmontage: {x: 1}\n")
    return study


def ids(study: Study, *, committed: bool = True) -> dict[str, str]:
    """The ids of the datums of `edges`."""
    project = find_project(study.root)
    found = assess(project if committed else working_project(project, ["edges"]), "edges", committed=committed)
    try:
        return {task.datum.name: task.id for task in found.tasks}
    finally:
        found.close()


def params(study: Study, text: str | bytes, *, save: bool = True) -> None:
    """Write `params.yml`."""
    study.put("params.yml", text, save=save)


@pytest.fixture(scope="module")
def done(study: Study) -> Study:
    """The same, after a schedule."""
    assert study.schedule()["edges"]["counts"]["ran"] == 2
    return study


def test_a_command_gets_the_values(done: Study) -> None:
    assert done.read("edges/moon") == b"2 moon moon-2 plain\n"


def test_only_keys_that_are_used_count(done: Study) -> None:
    before = ids(done)
    params(done, "edges: {level: 2, other: 7}\nnew: {y: 1}\n")
    assert ids(done) == before
    params(done, "edges: {level: 3}\n")
    assert not set(ids(done).values()) & set(before.values())
    params(done, "edges: {level: 2}\n")
    assert ids(done) == before


def test_values_of_the_spec_count_where_the_project_has_none(done: Study) -> None:
    before = ids(done)
    params(done, "{}\n")
    one = ids(done)
    params(done, "edges: {level: 1}\n")
    assert ids(done) == one != before
    params(done, "edges: {level: 2}\n")


def test_the_last_commit_counts_and_for_trials_the_working_tree(done: Study) -> None:
    before = ids(done)
    params(done, "edges: {level: 9}\n", save=False)
    assert ids(done) == before
    assert done.minipach("plan").reports("params.not-committed", "params.yml")
    assert ids(done, committed=False) != before
    done.ok("git", "checkout", "-q", "params.yml")
    assert "params.yml" not in done.minipach("plan").err


def test_a_changed_parameter_computes_and_an_earlier_one_is_reused(done: Study) -> None:
    params(done, "edges: {level: 5}\n")
    assert done.schedule()["edges"]["counts"]["ran"] == 2
    assert done.read("edges/sun") == b"5 sun sun-5 plain\n"
    params(done, "edges: {level: 2}\n")
    assert done.schedule()["edges"]["counts"] == {
        "ran": 0, "reused": 2, "current": 0, "removed": 0, "recovered": 0, "failed": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("edges: {level: 2\n", "params.yml:1:8: not YAML: a bracket"),
        ("edges: 7\n", "params.yml: edges: needs names and values"),
        ("- a\n", "params.yml: needs names and values"),
        ("edges: !!python/object/apply:os.system ['touch pwned']\n", "params.yml:1:"),
        ("edges: {level: [1]}\n", "edges/spec.yml:3:27: params.level is not a single value"),
        (b"\xff", "params.yml: not UTF-8 text"),
    ],
)
def test_a_broken_file_is_one_problem(study: Study, text: str | bytes, said: str) -> None:
    params(study, text, save=False)
    with pytest.raises(UserError) as caught:
        ids(study, committed=False)
    study.ok("git", "checkout", "-q", "params.yml")
    assert str(caught.value.problems[0]).startswith(said) and len(caught.value.problems) <= 2
    assert not (study.root / "pwned").exists()


def test_check_says_the_column(study: Study) -> None:
    params(study, "edges: {lvl: 2}\n", save=False)
    spec = SPEC.replace("minipach: {params: {level: 1}}\n", "")
    (study.root / "edges/spec.yml").write_text(spec)
    found: Any = study.minipach("check", "edges")
    (study.root / "edges/spec.yml").write_text(SPEC)
    study.ok("git", "checkout", "-q", "params.yml")
    assert found.code == 2
    assert found.reports("spec.bad-template", "edges/spec.yml:3:27", "'level'", '"params.lvl"')


def test_a_job_id_counts_as_the_state_of_the_inputs(study: Study) -> None:
    project = find_project(study.root)
    path = "jobs"
    study.pipeline(path, 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, "{{ job.id }}"]}\n')
    found = assess(working_project(project, [path]), path, committed=False)
    try:
        recipe = found.recipe.as_json()["transform"]
        assert recipe["job"] == [f"images@ {study.git('images', 'rev-parse', 'HEAD')}"]
        from minipach.datums.launch_command import command

        assert command(found.pipeline, found.tasks[:1], found.commits, "abc").tail == ("--", "sh", "abc")
    finally:
        found.close()
        study.ok("rm", "-r", path)


def test_json_of_a_plan_names_what_changed(done: Study) -> None:
    params(done, "edges: {level: 8}\n")
    plan = done.plan()["edges"]
    params(done, "edges: {level: 2}\n")
    assert "cmd changed" in json.dumps(plan)
