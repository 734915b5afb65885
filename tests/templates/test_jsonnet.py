"""`minipach.templates.jsonnet`: a template is evaluated in a child that can neither run nor read anything else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from minipach.project.project import find_project
from minipach.support.errors import UserError
from minipach.templates.create import NewPipeline, draft_of
from minipach.templates.draft import to_yaml
from minipach.templates.jsonnet import evaluated
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
    made = evaluated(folder / "edges.jsonnet", ["suffix=1", "word=a=b"])
    spec = json.loads(made.text)
    assert (spec["pipeline"]["name"], spec["input"]["pfs"]["glob"]) == ("edges-1", "/*")
    assert spec["transform"]["cmd"][2] == "a=b"
    assert made.arguments == {"suffix": "1", "word": "a=b"}
    assert list(made.imports) == ["lib.libsonnet"]


def test_arguments_are_text_whatever_they_say(folder: Path) -> None:
    word = "a\nb\"'{{ ().__class__ }}\\ \x01\x7f\u2028é"
    made = evaluated(folder / "edges.jsonnet", ["suffix=1", f"word={word}"])
    assert json.loads(made.text)["transform"]["cmd"][2] == word


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
    "a large spec": ('{a: std.repeat("x", 1100000)}', "bad-jsonnet"),
    "imports in a circle": ('import "x.jsonnet"', "bad-jsonnet"),
    "a device": ('importstr "/dev/zero"', "bad-jsonnet"),
    "a pipe": ('importstr "pipe"', "bad-jsonnet"),
    "a deep value": ("std.foldl(function(a, n) [a], std.range(1, 250), 1)", "no-spec"),
}


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind != "a loop"])
def test_a_hostile_template_is_one_line(folder: Path, kind: str) -> None:
    text, code = HOSTILE[kind]
    (folder / "x.jsonnet").write_text(text)
    os.mkfifo(folder / "pipe")
    before = sorted(os.listdir(folder))
    with pytest.raises(UserError) as caught:
        evaluated(folder / "x.jsonnet", [])
    assert [problem.code for problem in caught.value.problems] == [f"new.{code}"]
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value) and "root:" not in str(caught.value)
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{ a: }", ":1:6"),
        ("{ a: 1 b: 2 }", ":1:8"),
        ('import "y.libsonnet"', ":1:1"),
        ("function(y) {a: y}", ""),
        ('{ a: std.extVar("y") }', ":1:6"),
        ("\udcff", ""),
    ],
)
def test_a_broken_template_has_a_place_and_a_fix(folder: Path, text: str, place: str) -> None:
    (folder / "x.jsonnet").write_text(text, errors="surrogateescape")
    with pytest.raises(UserError) as caught:
        evaluated(folder / "x.jsonnet", [])
    (problem,) = caught.value.problems
    assert problem.location == f"{folder}/x.jsonnet{place}" and problem.fix


@pytest.mark.parametrize("text", ['{\n glob: error "boom"}', "{\n glob: [x for }", "{\n glob: nosuch}"])
def test_an_error_in_an_import_names_that_file(folder: Path, text: str) -> None:
    (folder / "lib.libsonnet").write_text(text)
    with pytest.raises(UserError) as caught:
        evaluated(folder / "edges.jsonnet", ["suffix=1"])
    assert caught.value.problems[0].location.startswith(f"{folder}/lib.libsonnet:2:")


@pytest.mark.slow
def test_a_loop_is_ended(folder: Path) -> None:
    test_a_hostile_template_is_one_line(folder, "a loop")


@pytest.mark.parametrize("word", ["x", "=1", "a b=1", "a\x00=1", "-x=1", "suffix=\udcff"])
def test_arguments_that_are_refused(folder: Path, word: str) -> None:
    with pytest.raises(UserError) as caught:
        evaluated(folder / "edges.jsonnet", [word])
    assert caught.value.problems[0].code == "new.bad-argument"


def test_it_becomes_a_pipeline(folder: Path, root: Files) -> None:
    repo(root, "images")
    root.commit()
    draft = draft_of(find_project(root.path), NewPipeline("edges", "edges.jsonnet", arguments=["suffix=1"]), folder)
    assert [file.path for file in draft.files] == ["spec.jsonnet", "lib.libsonnet"]
    assert to_yaml(draft).startswith("# rendered from a template (minipach new NAME --update renders it again): {")
    assert draft.left_out == ("pipeline.name: edges-1; here the folder names a pipeline",)
    with pytest.raises(UserError) as caught:
        draft_of(find_project(root.path), NewPipeline("edges", "edges.jsonnet"), folder)
    assert "--arg" in caught.value.problems[0].fix
