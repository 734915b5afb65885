"""Paused pipelines: left out of passes that start by themselves, and nowhere else."""

from __future__ import annotations

import json

import pytest

from minipach.project.project import Project
from minipach.triggers.passes import by_itself
from tests.fixtures.projects import Study


@pytest.fixture
def chain(study: Study) -> Study:
    """Two pipelines, the second of which takes from the first, and one apart."""
    study.copier("edges")
    study.copier("more", repo="edges")
    study.copier("apart")
    study.save("edges")
    return study


def left_out(study: Study) -> tuple[tuple[str, ...], dict[str, str]]:
    targets, why = by_itself(Project(study.root))
    return targets.order, why


def test_paused_pipeline_is_left_out_and_said(chain: Study) -> None:
    assert chain.minipach("pause", "apart").code == 0
    order, why = left_out(chain)
    assert order == ("edges", "more")
    assert why == {"apart": "paused; minipach resume apart"}
    again = chain.minipach("pause", "apart")
    assert (again.code, again.out) == (0, "apart is paused already\n")
    assert chain.minipach("resume", "apart").out == "apart is resumed\n"
    assert left_out(chain)[1] == {}


def test_downstream_of_a_pipeline_that_never_ran_waits(chain: Study) -> None:
    chain.ok("git", "config", "--add", "minipach.paused", "edges")
    order, why = left_out(chain)
    assert order == ("apart",) and why.keys() == {"edges", "more"}


def test_all_pipelines(chain: Study) -> None:
    assert chain.minipach("pause").code == 0
    order, why = left_out(chain)
    assert order == () and set(why.values()) == {"paused; minipach resume"}
    one = chain.minipach("resume", "edges")
    assert (one.code, one.refusals) == (2, [("pause.all", "edges")])
    assert chain.minipach("resume").code == 0
    assert left_out(chain)[1] == {}


def test_shared_pause_is_one_commit_and_travels(chain: Study) -> None:
    assert chain.minipach("pause", "apart", "--shared").code == 0
    assert chain.git(".", "log", "-1", "--format=%s") == "minipach: pause apart"
    assert chain.git(".", "status", "--porcelain") == ""
    assert left_out(chain)[1] == {"apart": "paused; minipach resume apart --shared"}
    local = chain.minipach("resume", "apart")
    assert local.code == 2
    assert local.refusals == [("pause.other", "apart")] and local.problems[0].fix == "minipach resume apart --shared"
    assert chain.minipach("resume", "apart", "--shared").code == 0
    assert left_out(chain)[1] == {}


def test_shared_pause_keeps_what_somebody_edits(chain: Study) -> None:
    with (chain.root / ".datalad" / "config").open("a") as file:
        file.write("[a]\n\tb = c\n")
    before = chain.git(".", "rev-parse", "HEAD")
    refused = chain.minipach("pause", "apart", "--shared")
    assert refused.code == 2 and refused.reports("pause.uncommitted", ".datalad/config", "git -C")
    assert chain.git(".", "rev-parse", "HEAD") == before


def test_unknown_pipeline(chain: Study) -> None:
    refused = chain.minipach("pause", "egdes")
    assert refused.code == 2 and 'use "edges"' in refused.err


@pytest.mark.slow
def test_schedule_by_hand_runs_it(chain: Study) -> None:
    assert chain.minipach("pause", "apart").code == 0
    state = chain.root / ".git" / "minipach"
    state.mkdir(exist_ok=True)
    chain.put("images/a", "a")
    (state / "heard").write_text("x\n")
    assert chain.minipach("hooks", "run").code == 0
    look = json.loads((state / "looked.json").read_text())
    assert {p["name"]: p["state"] for p in look["pipelines"]} == {"edges": "published", "more": "published"}
    assert look["left_out"] == {"apart": "paused; minipach resume apart"}
    assert chain.schedule("apart")["apart"]["state"] == "published"
