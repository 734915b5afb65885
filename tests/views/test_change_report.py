"""`minipach report --base`: the cost before anything runs, the changes after, and Markdown that forges take."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.project.project import Project
from minipach.views.change_report import FORGE_LIMIT, ChangeReport, PipelineChange, as_markdown, markdown, read_change
from minipach.views.dag import Dag
from minipach.views.datum_table import DatumRow, DatumTable
from tests.fixtures.projects import Study
from tests.fixtures.stories import troubled


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A file more than when it was computed; the base is the tag `before`."""
    study = troubled().duplicate(tmp_path_factory.mktemp("change") / "study")
    study.git(".", "tag", "before")
    study.put("images/dust.txt", "fine\n")
    return study


def test_before_anything_runs_it_says_what_would(changed: Study) -> None:
    report = read_change(Project(changed.root), "before")
    edges = report.pipelines[0]
    assert ("to run", "new content") in edges.reasons and edges.kind == "same"
    assert report.to_run == 4 and report.cost is not None and report.cost.datums == 4


def test_after_it_ran_it_says_what_changed(changed: Study, tmp_path: Path) -> None:
    study = changed.duplicate(tmp_path / "study")
    study.schedule("edges:dust.txt", "--no-downstream")
    study.schedule("numbers")
    report = read_change(Project(study.root), "before")
    edges, numbers = report.pipelines
    assert edges.comparison is not None and edges.comparison.outputs.added == ("dust.txt",)
    assert [(m.name, m.old, m.new) for m in numbers.metrics] == [("bytes", 14.0, 19.0)]
    text = as_markdown(report)
    assert "| bytes" not in text and "dust.txt" in text and "14 | 19" in text and "flowchart LR" in text
    assert study.minipach("report", "--base", "before", "--markdown").out.rstrip("\n") == text.rstrip("\n")


def test_pipelines_that_came_and_went(changed: Study, tmp_path: Path) -> None:
    study = changed.duplicate(tmp_path / "study")
    study.copier("more")
    study.ok("git", "rm", "-q", "spec.yml", cwd=study.root / "numbers")
    study.ok("git", "commit", "-qm", "no pipeline any more", cwd=study.root / "numbers")
    kinds = {p.name: p.kind for p in read_change(Project(study.root), "before").pipelines}
    assert kinds == {"edges": "same", "more": "added", "numbers": "removed"}


@given(st.text())
def test_markdown_of_any_text_is_one_line_without_markup(text: str) -> None:
    found = markdown(text)
    assert not set(found) & set("<>@[]*_`|\\!~\n\r:") and "www." not in found.lower()


def test_comments_stay_below_the_limit_of_forges() -> None:
    rows = tuple(DatumRow(f"sub-{n}/" + "x" * 100, str(n), "run", "to run", f"reason {n}", "") for n in range(300))
    one = PipelineChange("edges", "edges", "changed", table=DatumTable("edges", rows))
    many = tuple(PipelineChange(f"p{n}" * 20, f"p{n}", "changed", table=one.table) for n in range(100))
    report = ChangeReport("study", "0" * 40, "1" * 40, (one, *many), None, Dag((), ()), (), ())
    text = as_markdown(report)
    assert len(text) < FORGE_LIMIT and "more pipeline" in text
    assert len(as_markdown(report, 32_768)) < 32_768
    assert len(as_markdown(report, 500)) <= 500
