"""What is left to be done by later passes: what was asked for, no more, until a pass has done with it."""

from __future__ import annotations

import shutil

from minipach.project.project import Project, find_project
from minipach.project.targets import Targets, parse_targets
from minipach.records import pending_work as goal
from tests.fixtures.projects import Study


def a_project(study: Study) -> Project:
    """`edges` → `more` → `most`."""
    study.copier()
    study.copier("more", repo="edges")
    study.copier("most", repo="more")
    return find_project(study.root)


def test_what_several_schedules_ask_for_is_to_be_done_together(study: Study) -> None:
    project = a_project(study)
    assert goal.pending(project) is None
    goal.begin(project, parse_targets(project, ["edges:a*"], downstream=False))
    goal.begin(project, parse_targets(project, ["edges:b", "most"]))
    assert goal.pending(project) == Targets(
        ("edges", "more", "most"), {"edges": ("a*", "b")}, frozenset({"edges", "more", "most"})
    )
    goal.begin(project, parse_targets(project, ["edges"]))
    assert goal.pending(project) == Targets(("edges", "more", "most"), {}, frozenset({"edges", "more", "most"})), (
        "who asks for all datums asks for some, too"
    )


def test_a_pass_leaves_what_is_on_its_way_and_what_waits_for_that(study: Study) -> None:
    project = a_project(study)
    all_ = parse_targets(project, [])
    goal.begin(project, all_)
    goal.end(project, all_, dict(edges="published", more="submitted", most="waiting"))
    assert goal.paths(project) == ["more", "most"]
    most = parse_targets(project, ["most"])
    goal.end(project, most, dict(most="failed"))
    assert goal.paths(project) == ["more"], "a pass says nothing about what it did not look at"
    goal.end(project, all_, dict(edges="current", more="published", most="blocked"))
    assert not goal.exists(project)


def test_an_error_takes_nothing_from_what_earlier_schedules_left(study: Study) -> None:
    project = a_project(study)
    all_ = parse_targets(project, [])
    more = parse_targets(project, ["more"], downstream=False)
    goal.begin(project, more)
    earlier = goal.begin(project, all_)
    assert earlier == ["more"]
    away = dict(edges="error", more="error", most="blocked")
    goal.end(project, all_, away, earlier)
    assert goal.paths(project) == ["more"]
    goal.end(project, more, dict(more="error"))
    assert not goal.exists(project), "the pass that was to come has seen the error itself"


def test_a_pipeline_that_is_removed_is_forgotten(study: Study) -> None:
    project = a_project(study)
    goal.begin(project, parse_targets(project, []))
    for name in ("more", "most"):
        shutil.rmtree(study.root / name)
    project = find_project(study.root)
    assert goal.pending(project) == Targets(("edges",), {}, frozenset({"edges"}))
    goal.end(project, parse_targets(project, []), dict(edges="current"))
    assert not goal.exists(project)


def test_the_first_job_that_has_had_its_time_is_due(study: Study) -> None:
    project = a_project(study)
    all_ = parse_targets(project, [])
    goal.note_due(project, "edges", 10.0)
    assert goal.due(project) is None and not goal.exists(project), "nothing of it is to be done"
    goal.begin(project, all_)
    goal.note_due(project, "edges", 20.0)
    goal.note_due(project, "more", 10.5)
    goal.begin(project, parse_targets(project, ["most"]))
    assert goal.due(project) == 10.5
    assert goal.due(project, "edges") == goal.due_in(project.state_dir, "edges") == 20.0
    assert goal.due(project, "most") is None
    goal.note_due(project, "more", None)
    assert goal.due(project) == 20.0
    goal.end(project, all_, dict(edges="failed", more="submitted", most="waiting"))
    assert goal.due(project) is None and goal.exists(project)
