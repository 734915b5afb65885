"""`minipach report`: the facts of each output, what is left out and why, and the same text for the same state."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from minipach.project.project import Project
from minipach.views.project_report import read_report
from tests.fixtures.projects import Study
from tests.fixtures.stories import HOSTILE, troubled


def test_each_output_has_its_inputs_image_command_time_and_rerun() -> None:
    report = read_report(Project(troubled().root))
    edges, numbers = report.pipelines
    assert [made.datum for made in edges.made] == ["comet.txt", "moon.txt", "star.txt"]
    made = edges.made[0]
    assert [(u.input, u.path) for u in made.inputs] == [("images", "/comet.txt")]
    assert [o.path for o in made.outputs] == ["comet.txt"] and made.seconds is not None
    assert edges.image == "the host environment" and edges.image_content == made.image
    assert edges.command == "sh code/picky.sh" and edges.sources[0].repo == "images"
    assert [o.path for o in numbers.made[0].outputs] == ["metrics.json"]


@pytest.mark.slow
def test_the_rerun_command_makes_the_output_again(tmp_path: Path) -> None:
    study = troubled().duplicate(tmp_path / "study")
    edges = read_report(Project(study.root)).pipelines[0]
    before = study.git("edges", "rev-parse", "HEAD:comet.txt")
    study.ok(*shlex.split(edges.rerun(edges.made[0])))
    assert study.git("edges", "rev-parse", "HEAD:comet.txt") == before


def test_failed_datums_have_their_reasons() -> None:
    left = {row.name: row for row in read_report(Project(troubled().root)).pipelines[0].left_out}
    assert set(left) == {"bad.txt", "bad2.txt", HOSTILE}
    assert all(row.state == "failed" for row in left.values())
    assert left["bad.txt"].reason == "the command exited with 3"


def test_the_command_writes_both_files_and_the_same_bytes_again(tmp_path: Path) -> None:
    study = troubled()
    page, data = tmp_path / "out.html", tmp_path / "out.json"
    contents = []
    for _ in range(2):
        done = study.minipach("report", "-o", str(page))
        assert done.code == 0, done.err
        contents.append((page.read_bytes(), data.read_bytes()))
    assert contents[0] == contents[1]
    assert json.loads(contents[0][1])["pipelines"][0]["name"] == "edges"


def test_a_broken_pipeline_is_reported_and_the_others_too(tmp_path: Path) -> None:
    study = troubled().duplicate(tmp_path / "study")
    study.pipeline("broken", "input: {pfs: {repo: images}}\n")
    done = study.minipach("report", "--json")
    assert done.code == 2 and "broken/spec.yml" in done.err
    found = {p["name"]: p for p in done.json["pipelines"]}
    assert found["broken"]["problems"] and len(found["edges"]["datums"]) == 3


def test_a_report_has_a_folder(study: Study) -> None:
    done = study.minipach("report", "-o", "/nosuch/x.html")
    assert (done.code, done.out) == (2, "") and done.reports("option.no-folder", "/nosuch/x.html")


def test_formats_exclude_each_other(study: Study) -> None:
    for words in (["--text", "--json"], ["--markdown"], ["--base", "HEAD", "-o", "x.html"], ["--base", "nowhere"]):
        done = study.minipach("report", *words)
        assert done.code == 2 and "Fix: " in done.err and "Traceback" not in done.err
