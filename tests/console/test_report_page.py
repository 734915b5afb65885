"""The report as one HTML file: no request, no markup out of names, and a size that mail programs take."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from minipach.console import report_page, thumbnails
from minipach.console.report_page import LARGEST, report_html
from minipach.project.project import Project
from minipach.views.project_report import ProjectReport, ReportedDatum, ReportedOutput, read_report
from tests.fixtures.pictures import bomb, large_picture
from tests.fixtures.projects import Study
from tests.fixtures.stories import PIXEL, troubled


@pytest.fixture(scope="module")
def report() -> ProjectReport:
    return read_report(Project(troubled().root))


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_it_has_no_script_and_no_address_of_another_file(report: ProjectReport) -> None:
    page = report_html(Project(troubled().root), report)
    elements = Elements(page).found
    assert not [tag for tag, _ in elements if tag in ("script", "link", "iframe", "object", "embed")]
    for _, attributes in elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "data"):
            assert str(attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"url\(|@import", page)
    assert "&lt;script&gt;alert(1)&lt;" in page


def test_it_names_what_failed_and_how_to_run_again(report: ProjectReport) -> None:
    page = report_html(Project(troubled().root), report)
    assert "the command exited with 3" in page and "datalad rerun -d edges" in page


def test_large_reports_are_cut_and_say_so(report: ProjectReport, tmp_path: Path) -> None:
    made = tuple(
        ReportedDatum(
            f"datum-{n:06}",
            f"{n:064}",
            (),
            (ReportedOutput(f"out/{n}.txt", "SHA256--" + "a" * 64, ""),),
            "",
            1.0,
            "c" * 40,
        )
        for n in range(30_000)
    )
    large = replace(report, pipelines=(replace(report.pipelines[0], made=made),))
    page = report_html(Project(tmp_path), large)
    assert len(page.encode()) <= LARGEST
    assert len(page.encode()) > LARGEST * 0.8, "as many rows as fit"
    shown = page.count("datum-0")
    assert 0 < shown < 30_000 and f"{30_000 - shown} more rows are in the JSON file" in page


@pytest.fixture
def photographs(study: Study) -> Project:
    """A project with outputs that are a large picture, a broken one, and one that says it has 10^10 pixels."""
    data = large_picture()
    study.put("images/large.png", data)
    study.put("images/broken.png", data[:80_000] + bytes(20_000))
    study.put("images/bomb.png", bomb())
    study.copier()
    study.schedule()
    return Project(study.root)


@pytest.mark.slow
def test_large_pictures_have_small_copies(photographs: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    page = report_html(photographs, read_report(photographs))
    assert page.count("<img") == 1 and 'src="data:image/jpeg;base64,' in page
    assert "large.png (a small copy of 300 × 200 pixels)" in page
    assert "2 more pictures are not in this page" in page and "pip install" not in page
    assert report_html(photographs, read_report(photographs)) == page, "the same state, the same bytes"
    monkeypatch.setattr(thumbnails, "find_spec", lambda name: None)
    without = report_html(photographs, read_report(photographs))
    assert "<img" not in without and "3 more pictures are not in this page" in without
    assert "pip install &#39;minipach[report]&#39;" in without


@pytest.mark.slow
def test_small_pictures_are_in_the_page(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study.put("images/dot.png", PIXEL)
    study.put("images/fake.png", "<svg onload=alert(1)>")
    study.copier()
    study.schedule()
    project = Project(study.root)
    page = report_html(project, read_report(project))
    assert page.count("<img") == 1 and 'src="data:image/png;base64,iVBOR' in page
    assert "1 more pictures are not in this page" in page
    monkeypatch.setattr(report_page, "_ALL_PICTURES", 10)
    assert "<img" not in report_html(project, read_report(project))
