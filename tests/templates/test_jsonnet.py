"""`minipach.templates.jsonnet`: a template is evaluated in a child that can neither run nor read anything else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from minipach.project.project import find_project
from minipach.support.errors import UserError
from minipach.templates.create import Wanted, draft_of
from minipach.templates.draft import to_yaml
from minipach.templates.jsonnet import rendered
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.repos import Files

__all__ = ["root"]

TEMPLATE = """\
local lib = import "lib.libsonnet";
function(suffix, word="x") {
  pipeline: {name: "edges-" + suffix},
  input: {pfs: {repo: "images", glob: lib.glob}},
  transform: {cmd: ["sh", "code/run.sh", word]},
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("_jsonnet")
    (tmp_path / "lib.libsonnet").write_text('{glob: "/*"}')
    (tmp_path / "edges.jsonnet").write_text(TEMPLATE)
    (tmp_path / "link.libsonnet").symlink_to("/etc/passwd")
    return tmp_path


def test_a_template_with_arguments(folder: Path) -> None:
    text, origin = rendered(folder / "edges.jsonnet", ["suffix=1", "word=a=b"])
    spec = json.loads(text)
    assert (spec["pipeline"]["name"], spec["input"]["pfs"]["glob"]) == ("edges-1", "/*")
    assert spec["transform"]["cmd"][2] == "a=b"
    assert origin.startswith("edges.jsonnet (sha256 ") and origin.endswith(") with suffix=1 word=a=b")


HOSTILE = {
    "a loop": ("local f(x) = f(x + 1) tailstrict; f(0)", "no-answer"),
    "much memory": ('std.repeat("x", 10000000000)', "no-answer"),
    "a deep call": ("local f(x) = 1 + f(x + 1); f(0)", "bad-jsonnet"),
    "a file": ('importstr "/etc/passwd"', "bad-jsonnet"),
    "a file above": ('importstr "../../../../etc/passwd"', "bad-jsonnet"),
    "a link": ('importstr "link.libsonnet"', "bad-jsonnet"),
    "a variable": ('std.extVar("HOME")', "bad-jsonnet"),
    "no end": ("{ a: ", "bad-jsonnet"),
    "an error with lines": ('error "a\\nb\\u001b[2J"', "bad-jsonnet"),
    "a list": ("[{}, {}]", "no-spec"),
    "a number": ("1", "no-spec"),
}


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind != "a loop"])
def test_a_hostile_template_is_one_line(folder: Path, kind: str) -> None:
    text, code = HOSTILE[kind]
    (folder / "x.jsonnet").write_text(text)
    before = sorted(os.listdir(folder))
    with pytest.raises(UserError) as caught:
        rendered(folder / "x.jsonnet", [])
    assert [problem.code for problem in caught.value.problems] == [f"new.{code}"]
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value) and "root:" not in str(caught.value)
    assert sorted(os.listdir(folder)) == before


@pytest.mark.slow
def test_a_loop_is_ended(folder: Path) -> None:
    test_a_hostile_template_is_one_line(folder, "a loop")


@pytest.mark.parametrize("word", ["x", "=1", "a b=1", "a\x00=1", "-x=1"])
def test_arguments_that_are_refused(folder: Path, word: str) -> None:
    with pytest.raises(UserError) as caught:
        rendered(folder / "edges.jsonnet", [word])
    assert caught.value.problems[0].code == "new.bad-argument"


def test_it_becomes_a_pipeline(folder: Path, root: Files) -> None:
    repo(root, "images")
    root.commit()
    draft = draft_of(find_project(root.path), Wanted("edges", "edges.jsonnet", arguments=["suffix=1"]), folder)
    assert to_yaml(draft).startswith("# made by minipach new, from edges.jsonnet (sha256 ")
    assert draft.left_out == ("pipeline.name: edges-1; here the folder names a pipeline",)
    with pytest.raises(UserError) as caught:
        draft_of(find_project(root.path), Wanted("edges", "edges.jsonnet"), folder)
    assert "--arg" in caught.value.problems[0].fix
