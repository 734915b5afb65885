"""`results list` and `gc`: what is stored, what nobody needs any more, and what is never dropped."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from minipach.model.repo_layout import RESULTS_BRANCH
from minipach.project.project import find_project
from minipach.publish.garbage import collect
from tests.fixtures.clones import add_result, small_project
from tests.fixtures.projects import Study

MONTHS = 40 * 86400.0


def duplicate(study: Study, root: Path) -> Study:
    shutil.copytree(study.root, root, symlinks=True)
    return Study(root)


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One of two datums was computed, and nothing is published."""
    study = Study.create(tmp_path_factory.mktemp("collect") / "study")
    study.put("images/a.txt", "a, as it was\n", save=False)
    study.put("images/b.txt", "b, as it was\n")
    study.copier()
    assert study.schedule("edges:a.txt")["edges"]["state"] == "partial"
    return study


@pytest.fixture(scope="module")
def done(unfinished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Four results: a's first was never published, b's first is history, the second ones are published."""
    study = duplicate(unfinished, tmp_path_factory.mktemp("collect") / "study")
    study.put("images/a.txt", "a, as it is\n")
    study.schedule()
    study.put("images/b.txt", "b, as it is\n")
    study.schedule()
    return study


def unneeded(study: Study, *, later: float = 0.0, keep_days: float = 30, drop: bool = False) -> list[str]:
    found = collect(find_project(study.root), "edges", keep_days=keep_days, now=time.time() + later, drop=drop)
    return [s.name for s in found.unneeded]


def listed(study: Study) -> dict[str, Any]:
    shown = study.minipach("results", "list", "--all", "--json")
    assert shown.code == 0, shown.err
    pipeline: dict[str, Any] = shown.json["pipelines"][0]
    return pipeline


def test_list_of_results_made_by_hand(tmp_path: Path) -> None:
    study, edges = small_project(tmp_path / "study")
    assert study.minipach("results", "list").out.splitlines()[1].split() == ["edges", "0", "0", "0", "0", "B"]
    add_result(edges, "a1", "one", out="1234")
    add_result(edges, "a1", "other", out="123456")
    shown = listed(study)
    assert (shown["results"], shown["ids"], shown["published"]) == (2, 1, 0)
    assert [row["name"] for row in shown["rows"]] == ["one", "other"]
    stored = sum(len(edges.read(RESULTS_BRANCH, path.decode())) for path in edges.listing(RESULTS_BRANCH))
    assert shown["bytes"] == sum(row["bytes"] for row in shown["rows"]) == stored
    assert study.minipach("results", "list", "edges").out.splitlines()[1].split()[:4] == ["edges", "2", "1", "0"]


@pytest.mark.slow
def test_list_tells_what_is_published_and_how_big_it_is(done: Study) -> None:
    shown = listed(done)
    assert (shown["results"], shown["ids"], shown["published"]) == (4, 4, 2)
    sizes = {(row["name"], row["annexed"], row["published"]) for row in shown["rows"]}
    assert sizes == {("a.txt", 13, False), ("a.txt", 12, True), ("b.txt", 13, False), ("b.txt", 12, True)}
    assert "rows" not in done.minipach("results", "list", "--json").json["pipelines"][0]


@pytest.mark.slow
def test_what_ran_lately_is_kept(done: Study) -> None:
    assert done.minipach("results", "gc").out == "edges: 4 results, all needed\n"


@pytest.mark.slow
def test_what_came_lately_is_kept_even_if_the_ledger_is_lost(done: Study, tmp_path: Path) -> None:
    study = duplicate(done, tmp_path / "study")
    (study.root / ".git/minipach/ledger.sqlite").unlink()
    assert unneeded(study) == []
    assert unneeded(study, later=MONTHS) == ["a.txt"]


@pytest.mark.slow
def test_what_the_datums_of_now_would_use_is_kept_however_old(unfinished: Study) -> None:
    assert unneeded(unfinished, later=MONTHS) == []
    assert unneeded(unfinished, keep_days=0) == []


@pytest.mark.slow
def test_gc_shows_what_it_would_drop_and_changes_nothing(done: Study) -> None:
    before = done.git("edges", "for-each-ref")
    shown = done.minipach("results", "gc", "--keep-days", "0")
    assert "edges: 1 result not needed (" in shown.out
    assert "minipach results gc edges --drop removes them from the results branch" in shown.out
    assert "their annexed contents stay (13 B)" in shown.out
    report = done.minipach("results", "gc", "--keep-days", "0", "--json").json["pipelines"][0]
    assert (report["kept"], report["annexed"], report["dropped"]) == (3, 13, False)
    assert [row["name"] for row in report["unneeded"]] == ["a.txt"]
    assert done.git("edges", "for-each-ref") == before


@pytest.mark.slow
def test_drop_takes_results_off_the_branch_and_no_content(done: Study, tmp_path: Path) -> None:
    study = duplicate(done, tmp_path / "study")
    old = study.git("edges", "rev-parse", "minipach")
    keys = study.git("edges", "annex", "find", "--branch=minipach", "--format=${key}\\n").split()
    dropped = study.minipach("results", "gc", "--keep-days", "0", "--drop")
    assert dropped.code == 0, dropped.err
    assert "edges: 1 result dropped (" in dropped.out
    assert (listed(study)["results"], listed(study)["published"]) == (3, 2)
    assert study.git("edges", "rev-parse", "minipach^") == old, "one more commit: what was is still in its history"
    for key in keys:
        study.ok("git", "annex", "contentlocation", key, cwd=study.root / "edges")
    assert study.minipach("schedule").out == "nothing to do\n"
    again = study.minipach("results", "gc", "--keep-days", "0", "--drop")
    assert again.out == "edges: 3 results, all needed\n"
    study.put("images/b.txt", "b, as it was\n")
    assert study.schedule()["edges"]["counts"]["reused"] == 1, "what is only history now was kept"
    study.put("images/a.txt", "a, as it was\n")
    assert study.schedule()["edges"]["counts"]["ran"] == 1, "what was dropped is computed anew"


@pytest.mark.slow
def test_what_another_branch_published_is_kept(unfinished: Study, tmp_path: Path) -> None:
    study = duplicate(unfinished, tmp_path / "study")
    study.schedule()
    study.git("edges", "branch", "elsewhere")
    study.git("edges", "reset", "--quiet", "--hard", "HEAD~3")
    study.put("images/a.txt", "a, as it is\n", save=False)
    study.put("images/b.txt", "b, as it is\n")
    assert unneeded(study, keep_days=0) == []
    study.git("edges", "update-ref", "refs/remotes/colleague/main", "elsewhere")
    study.git("edges", "branch", "-D", "elsewhere")
    assert unneeded(study, keep_days=0) == []
    study.git("edges", "update-ref", "-d", "refs/remotes/colleague/main")
    assert unneeded(study, keep_days=0) == ["a.txt", "b.txt"]
