"""What a pipeline requests of this machine: said before the start, where the machine does not have it."""

from __future__ import annotations

import pytest

from tests.fixtures.projects import Study

MUCH = "resource_requests: {cpu: 4096, memory: 200Ti, disk: 300Ti, gpu: {type: nvidia.com/gpu, number: 999}}\n"


@pytest.fixture
def greedy(study: Study) -> Study:
    study.put("images/a", "a\n")
    study.copier(more=MUCH)
    return study


def test_a_request_beyond_the_machine_is_one_line_and_changes_nothing(greedy: Study) -> None:
    greedy.copier("modest")
    before = greedy.git(".", "rev-parse", "HEAD")
    done = greedy.minipach("schedule")
    assert done.code == 2
    (problem,) = done.problems
    assert problem.code == "pipeline.needs-too-much" and problem.location.startswith("edges/spec.yml")
    assert [value in problem.message for value in ("4096 CPUs", "219.9 TB", "999 GPUs", "329.9 TB of disk")] == [
        True
    ] * 4
    assert greedy.git(".", "rev-parse", "HEAD") == before
    assert not (greedy.root / "edges/.git").exists() and not (greedy.root / "modest/.git").exists()


def test_plan_and_check_say_it_before(greedy: Study) -> None:
    greedy.copier("modest")
    planned = greedy.minipach("plan")
    assert planned.code == 2
    assert [problem.code for problem in planned.problems] == ["pipeline.needs-too-much"]
    assert "modest: " in planned.out and "edges: " in planned.out
    assert greedy.minipach("plan", "modest").code == 0
    assert greedy.minipach("plan", "--json").json["problems"][0]["code"] == "pipeline.needs-too-much"
    checked = greedy.minipach("check")
    assert checked.code == 0, "the spec is sound; another machine may have so much"
    assert checked.reports("pipeline.needs-too-much", None, "4096 CPUs")
    greedy.git(".", "config", "minipach.executor", "slurm")
    assert not greedy.minipach("check").reports("pipeline.needs-too-much")


@pytest.mark.slow
def test_what_another_machine_has_computed_needs_nothing_here(greedy: Study) -> None:
    spec = (greedy.root / "edges/spec.yml").read_text()
    (greedy.root / "edges/spec.yml").write_text(spec.replace(MUCH, ""))
    greedy.schedule()
    (greedy.root / "edges/spec.yml").write_text(spec)  # requests are no part of a datum's identity
    greedy.save("edges")
    assert greedy.schedule()["edges"]["counts"]["ran"] == 0
    greedy.put("images/b", "b\n")
    assert greedy.minipach("schedule", "--json").json["problems"][0]["code"] == "pipeline.needs-too-much"


def test_a_limit_is_no_request(study: Study) -> None:
    study.put("images/a", "a\n")
    study.copier(more="resource_limits: {memory: 200Ti, gpu: {type: nvidia.com/gpu, number: 1}}\n")
    assert study.schedule()["edges"]["state"] == "published"
