"""The main job: from `spec.yml` to recorded results."""

from __future__ import annotations

from tests.projects import Study


def test_a_folder_with_a_spec_becomes_a_pipeline_and_runs_once(study: Study) -> None:
    study.put("images/a.txt", "alpha")
    study.put("images/b.txt", "beta")
    study.copier()
    first = study.schedule()["edges"]
    assert first["counts"]["ran"] == 2
    assert sorted(study.outputs("edges")) == ["a.txt", "b.txt"]
    assert study.read("edges/b.txt") == b"beta"
    heads = study.git("edges", "rev-parse", "HEAD"), study.git(".", "rev-parse", "HEAD")
    second = study.minipach("schedule")
    assert (second.code, second.out) == (0, "nothing to do\n")
    assert heads == (study.git("edges", "rev-parse", "HEAD"), study.git(".", "rev-parse", "HEAD"))
