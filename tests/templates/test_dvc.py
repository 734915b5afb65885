"""`minipach.templates.dvc`: a stage of a dvc.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.support.errors import UserError
from minipach.templates.dvc import read_stage

WHOLE = """
stages:
  train:
    cmd: python train.py
    wdir: model
    deps: [train.py, {../data/x.csv: {}}]
    params: [lr, other.yaml: [seed]]
    outs: [model.pkl, {plots: {cache: false}}]
    metrics: [{metrics.json: {cache: false}}]
    always_changed: true
"""


def file_with(folder: Path, text: str) -> Path:
    (folder / "dvc.yaml").write_text(text, errors="surrogateescape")
    return folder / "dvc.yaml"


def test_a_whole_stage(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/params.yaml").write_text("lr: 1")
    stage, left_out = read_stage(file_with(tmp_path, WHOLE), "")
    assert stage.folder == tmp_path / "model"
    assert stage.reads == ["train.py", "../data/x.csv", "params.yaml"]
    assert stage.writes == ["model.pkl", "plots", "metrics.json"]
    assert stage.commands == ["python train.py"]
    assert [line.partition(":")[0] for line in left_out] == ["always_changed", "params"]


@pytest.mark.parametrize(
    ("text", "stage", "code"),
    [
        ("a: [", "", "new.not-yaml"),
        ("a: &x\n- *y", "", "new.not-yaml"),
        ("\udcff", "", "spec.not-utf8"),
        ("- a", "", "new.not-yaml"),
        ("!!python/object/apply:os.system [touch x]", "", "new.not-yaml"),
        ("stages: []", "", "new.no-stage"),
        ("stages: {a: {cmd: x}, b: {cmd: x}}", "", "new.no-stage"),
        ("stages: {a: {cmd: x}}", "b", "new.no-stage"),
        ("stages: {a: {deps: [x]}}", "a", "new.no-command"),
        ("stages: {a: {cmd: [1]}}", "a", "new.no-command"),
        ("stages: {a: {cmd: x, matrix: {}}}", "a", "new.stage-loop"),
        ('stages: {a: {cmd: "x ${lr}"}}', "a", "new.stage-variable"),
    ],
)
def test_what_is_no_stage(tmp_path: Path, text: str, stage: str, code: str) -> None:
    with pytest.raises(UserError) as caught:
        read_stage(file_with(tmp_path, text), stage)
    assert [problem.code for problem in caught.value.problems] == [code]
    (problem,) = caught.value.problems
    assert problem.fix and "unicode string" not in problem.message


def test_a_broken_file_has_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_stage(file_with(tmp_path, "stages:\n  a: {cmd: [x\n  b: }\n"), "a")
    (problem,) = caught.value.problems
    assert problem.location.endswith("dvc.yaml:3:4")
