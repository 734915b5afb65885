"""An assessment: what is read once, and what it tells while it reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from minipach.environment import image
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.project.adoption import adopt_all
from minipach.project.project import find_project
from tests.fixtures.projects import Study


@contextmanager
def assessed(study: Study) -> Iterator[Assessment]:
    project = find_project(study.root)
    assessment = Assessment(project, "edges", SnapshotStore(project))
    try:
        yield assessment
    finally:
        assessment.close()


def news(study: Study) -> tuple[int, int]:
    """How often a scheduler is told that something will run, most likely; and how much the plan then runs."""
    told: list[str] = []
    with assessed(study) as a:
        plan = a.quick_plan(news=lambda: told.append("news"))
    return len(told), plan.counts["run"]


@pytest.mark.slow
def test_there_is_news_when_spec_code_or_inputs_are_others(study: Study) -> None:
    study.put("images/a.txt", "alpha")
    study.copier()
    study.schedule()
    assert news(study) == (0, 0)
    study.put("images/b.txt", "beta")
    assert news(study) == (1, 1)
    assert news(study) == (0, 1)  # told once: it is for one who then does what the plan says
    study.schedule()
    assert news(study) == (0, 0)
    study.put("edges/code/copy.sh", "exit 1\n")
    assert study.plan()["edges"]["counts"]["run"] == 2
    assert news(study) == (0, 2)  # a plan that is there already says it itself


def test_news_of_a_new_pipeline_come_before_its_environment_is_read(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.put("images/a.txt", "alpha")
    study.copier()
    project = find_project(study.root)
    adopt_all(project, [place for place in project.places if place.path == "edges"])
    told: list[str] = []
    read = image.host.fingerprint

    def fingerprint(*given: Any, **more: Any) -> str:
        told.append("environment")
        return read(*given, **more)

    monkeypatch.setattr(image.host, "fingerprint", fingerprint)
    with assessed(study) as a:
        assert a.quick_plan(news=lambda: told.append("news")).counts["run"] == 1
    assert told == ["news", "environment"]
    with assessed(study) as a:
        a.quick_plan(news=lambda: told.append("again"))
    assert told == ["news", "environment", "environment"], "told once"


@pytest.mark.slow
def test_a_plan_is_made_once_for_what_it_follows_from(study: Study) -> None:
    study.put("images/a.txt", "alpha")
    study.copier()
    study.schedule()
    with assessed(study) as a:
        first = a.plan()
        a.refresh()
        assert a.plan() is first
    study.put("images/b.txt", "beta")
    with assessed(study) as a:
        before = a.plan()
        outputs, state = a.outputs, a.state
        assert [(s.name, s.action) for s in before.steps] == [("a.txt", "current"), ("b.txt", "run")]
        study.schedule()
        a.refresh()
        assert [(s.name, s.action) for s in a.plan().steps] == [("a.txt", "current"), ("b.txt", "current")]
        assert a.state != state
        assert a.outputs == {*outputs, "b.txt"}


def test_the_values_of_placeholders_in_the_command_count(study: Study) -> None:
    study.put("images/a-b.txt", "alpha")
    ids = set()
    for glob in ("/(*)-*.txt", "/*-(*).txt"):  # the same path, another value
        for word in ("{1}", "x"):
            spec = f'input: {{pfs: {{repo: images, glob: "{glob}"}}}}\ntransform: {{cmd: [sh, code/x.sh, "{word}"]}}\n'
            study.pipeline("edges", spec, x="true")
            with assessed(study) as a:
                (task,) = a.tasks
                ids.add(task.id)
    assert len(ids) == 3
