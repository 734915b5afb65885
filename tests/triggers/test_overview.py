"""`minipach triggers`: what was heard, what comes next, and why nothing was done."""

from __future__ import annotations

import fcntl
import os

import pytest

from minipach.project.project import Project
from minipach.triggers import hooks
from minipach.triggers.overview import SOURCES, overview
from minipach.triggers.passes import answer_requests
from minipach.triggers.trigger import TriggerRow
from tests.fixtures.passes import Kept
from tests.fixtures.projects import Study


def test_nothing_yet(study: Study) -> None:
    found = overview(Project(study.root))
    assert {hook.state for hook in found.hooks} == {"missing"}
    assert (found.last_heard, found.unanswered, found.looked, found.paused) == (None, 0, None, {})


def test_what_comes_next(study: Study) -> None:
    project = Project(study.root)
    state = project.local
    state.folder.mkdir(exist_ok=True)
    assert overview(project).following.endswith("; minipach hooks install")
    with state.watching.open("a") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        assert overview(project).following == "a pass begins when a trigger hears something"
    hooks.install(project)
    assert overview(project).following == "a pass begins when a trigger hears something"
    state.heard.write_text("a\nb\n")
    found = overview(project)
    assert found.unanswered == 2 and found.last_heard is not None
    assert found.following.endswith("; minipach hooks run")
    state.waiting.write_text(f"{os.getpid()}\n")
    assert overview(project).following == "a pass is about to begin"
    with state.answering.open("a") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        assert overview(project).following == "a pass begins when the one that runs has ended"
        state.heard.unlink()
        assert overview(project).following == "a pass runs; minipach jobs"


def test_reason_why_nothing_was_done(study: Study) -> None:
    study.copier("edges")
    study.copier("broken")
    (study.root / "broken/spec.yml").write_text("input: {}\n")
    assert study.minipach("pause", "edges").code == 0
    hooks.install(Project(study.root))
    state = Project(study.root).local
    state.heard.write_text("a\n")
    answer_requests(study.root, Kept())
    shown = study.minipach("triggers")
    assert shown.code == 0, shown.err
    assert "images" in shown.out and "installed" in shown.out
    assert "paused; minipach resume edges" in shown.out and "broken/spec.yml" in shown.out
    data = study.minipach("triggers", "--json").json
    assert data["schema"] == 1 and data["paused"] == {"edges": "minipach resume edges"}
    assert data["looked"]["cause"] == "hook" and ", cause hook" in shown.out
    assert data["looked"]["heard"] == 1 and data["last_heard"] == data["looked"]["last_heard"]


def test_lines_of_other_triggers(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    line = TriggerRow(
        "cron", "nightly", "due", looked="2026-01-01T00:00:00+00:00", following="now", why="2 ticks missing"
    )
    monkeypatch.setattr("minipach.triggers.overview.SOURCES", (*SOURCES, lambda project: [line]))
    found = overview(Project(study.root)).as_json()["triggers"]
    assert found[-1] == {
        "kind": "cron",
        "name": "nightly",
        "state": "due",
        "heard": None,
        "looked": "2026-01-01T00:00:00+00:00",
        "next": "now",
        "why": "2 ticks missing",
    }


def test_a_clock_says_that_nobody_wakes_for_it(study: Study) -> None:
    study.pipeline("report", "input: {cron: {name: tick, spec: '@daily', start: 2020-01-01}}\ntransform: {cmd: [x]}\n")
    state = Project(study.root).local
    state.folder.mkdir(exist_ok=True)
    (line,) = overview(Project(study.root)).others
    assert (line.state, line.why) == ("due", "neither watch nor serve runs; the next pass adds what is due")
    with state.watching.open("a") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        (line,) = [line for line in overview(Project(study.root)).others if line.kind == "cron"]
        assert line.why == ""
