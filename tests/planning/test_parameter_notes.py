"""Notes on `params.yml`: what has no effect is said, and is no error."""

from __future__ import annotations

import pytest

from minipach.planning.parameter_notes import unknown_pipelines, unused_parameters
from minipach.project.project import find_project
from tests.fixtures.projects import Study

SPEC = """\
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/run.sh, "{{ params.level }}", "{{ params.deep.x }}", "{{ params.list.0 }}"]}
"""
PARAMS = "edges: {level: 1, levle: 2, deep: {x: 1, y: 2}, list: [1]}\nedgse: {level: 1}\n"


@pytest.fixture
def study(study: Study) -> Study:
    study.put("images/a", "a\n")
    study.pipeline("edges", SPEC, run="cat")
    study.put("params.yml", PARAMS)
    return study


def test_what_has_no_effect_is_noted(study: Study) -> None:
    project = find_project(study.root)
    assert [(p.code, p.location, p.fix) for p in unknown_pipelines(project, committed=True)] == [
        ("params.unknown-pipeline", "params.yml: edgse", 'use "edges"')
    ]
    for committed in (True, False):
        found = unused_parameters(project, ["edges"], committed=committed)
        assert [p.location for p in found] == ["params.yml: edges.levle", "params.yml: edges.deep.y"]
        assert found[0].fix == 'use "level"'
    done = study.minipach("check")
    assert (done.code, done.err.count("note: params.yml: ")) == (0, 3)
    assert "edgse" not in study.minipach("check", "edges").err
    (study.root / "params.yml").unlink()  # a link into the annex
    (study.root / "params.yml").write_text("edges: {level: 1, deep: {x: 1}, list: [1]}\n")
    assert "note: params.yml: " not in study.minipach("check").err
    assert study.minipach("check", "--committed").err.count("note: params.yml: ") == 3
