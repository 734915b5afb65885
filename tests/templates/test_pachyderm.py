"""`minipach.templates.pachyderm`: specs of Pachyderm, today's and older."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minipach.support.errors import UserError
from minipach.templates.pachyderm import from_pachyderm

RUN = {"image": "user/name:1", "cmd": ["sh"], "stdin": ["cp -r /pfs/images /pfs/out"]}
PFS = {"pfs": {"repo": "images", "glob": "/*"}}


def draft(folder: Path, spec: Any) -> Any:
    (folder / "old.json").write_text(json.dumps(spec))
    return from_pachyderm(folder / "old.json", "edges")


def test_the_fields_of_today(tmp_path: Path) -> None:
    found = draft(tmp_path, {"pipeline": {"name": "edges"}, "transform": RUN, "input": PFS, "datum_tries": 2})
    assert found.spec == {"input": PFS, "transform": RUN, "datum_tries": 2}
    assert found.left_out == ()


def test_older_fields(tmp_path: Path) -> None:
    atoms = [{"atom": {"repo": repo, "glob": "/*"}} for repo in ("a", "b")]
    spec = {"pipeline": {"name": "old"}, "transform": RUN, "input": {"cross": atoms}, "standby": True}
    found = draft(tmp_path, spec)
    assert found.spec["input"] == {"cross": [{"pfs": {"repo": repo, "glob": "/*"}} for repo in ("a", "b")]}
    assert [line.partition(":")[0] for line in found.left_out] == ["pipeline.name", "standby"]
    first = draft(tmp_path, {"transform": RUN, "inputs": [{"repo": {"name": "images"}, "glob": "/*"}]})
    assert first.spec["input"] == PFS


def test_renamed_fields_and_fields_without_effect(tmp_path: Path) -> None:
    pfs = {"pfs": {"repo": "images", "glob": "/*", "lazy_files": True}}
    spec = {
        "transform": RUN,
        "input": pfs,
        "chunk_spec": {"number": 2},
        "resourceSpec": {"cpu": 1},
        "autoscaling": True,
    }
    found = draft(tmp_path, {**spec, "pipeline": {"name": "edges", "project": {"name": "x"}}})
    assert found.spec["datum_set_spec"] == {"number": 2} and found.spec["resource_requests"] == {"cpu": 1}
    assert found.spec["input"]["pfs"]["lazy"] is True
    assert [line.split()[0].strip("`:") for line in found.left_out] == ["pipeline.project", "autoscaling"]


@pytest.mark.parametrize(
    "spec", [[], {"transform": RUN}, {"transform": RUN, "input": {"cron": {"name": "x", "spec": 3}}}]
)
def test_what_is_no_pipeline(tmp_path: Path, spec: Any) -> None:
    with pytest.raises(UserError):
        draft(tmp_path, spec)
