"""`minipach.templates.rendered_spec`: a spec says what it was rendered from, and people hear when that has changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minipach.project.project import Project, find_project
from minipach.support.errors import UserError
from minipach.templates.create import NewPipeline, commit, draft_of, write
from minipach.templates.rendered_spec import read_source, stale
from minipach.templates.update import apply, update_of
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.repos import Files

__all__ = ["root"]

TEMPLATE = """\
local lib = import "lib.libsonnet";
function(word) {
  input: {pfs: {repo: "images", glob: lib.glob}},
  transform: {cmd: ["echo", word]},
}
"""
ODD = "a\n# b' \"é {{ x"


@pytest.fixture
def project(root: Files, tmp_path: Path) -> Project:
    """A project with an input and, outside of it, a template."""
    pytest.importorskip("_jsonnet")
    images = repo(root, "images")
    images.put("a.png", "1")
    images.commit()
    root.commit()
    put(tmp_path / "x.jsonnet", TEMPLATE)
    put(tmp_path / "lib.libsonnet", '{glob: "/*"}')
    return find_project(root.path)


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def new(project: Project, source: Path, word: str = ODD, name: str = "p") -> Path:
    draft = draft_of(project, NewPipeline(name, str(source), arguments=[f"word={word}"]), project.root)
    commit(project, name, write(project, name, draft))
    return project.root / name


def codes(project: Project) -> list[str]:
    return [note.code for note in stale(project, ["p"])]


def update(project: Project, *words: str, conflicts: bool = False) -> list[str]:
    return apply(project, "p", update_of(project, "p", (), words), conflicts=conflicts)


def code_of(project: Project, *words: str) -> str:
    before = (project.root / "p/spec.yml").read_bytes()
    with pytest.raises(UserError) as caught:
        update(project, *words)
    assert (project.root / "p/spec.yml").read_bytes() == before
    return caught.value.problems[0].code


def test_a_template_from_elsewhere_is_copied_with_its_imports(project: Project, tmp_path: Path) -> None:
    folder = new(project, tmp_path / "x.jsonnet")
    assert sorted(path.name for path in folder.iterdir()) == ["lib.libsonnet", "spec.jsonnet", "spec.yml"]
    source = read_source(folder / "spec.yml")
    assert source is not None
    assert (source.template, source.arguments) == ("spec.jsonnet", {"word": ODD})
    assert codes(project) == []
    assert update(project) == []


@pytest.mark.parametrize("name", ["spec.jsonnet", "lib.libsonnet"])
def test_a_change_is_reported_and_rendered_again(project: Project, tmp_path: Path, name: str) -> None:
    folder = new(project, tmp_path / "x.jsonnet")
    text = (folder / name).read_text()
    put(folder / name, text.replace('"echo"', '"printf"').replace("/*", "/*.png"))
    assert codes(project) == ["new.template-changed"]
    before = (folder / "spec.yml").read_text()
    assert update(project) == ["p/spec.yml"]
    assert (folder / "spec.yml").read_text() != before
    assert codes(project) == []
    commit(project, "p", ["p/spec.yml"], "again")
    assert update(project, "word=z") == ["p/spec.yml"]
    assert ", z]" in (folder / "spec.yml").read_text()


def test_a_template_that_git_tracks_in_the_project_serves_several_pipelines(project: Project) -> None:
    put(project.root / "lab/x.jsonnet", TEMPLATE)
    put(project.root / "lab/lib.libsonnet", '{glob: "/*"}')
    project.repo.git("add", "lab")
    folder = new(project, project.root / "lab/x.jsonnet")
    assert [path.name for path in folder.iterdir()] == ["spec.yml"]
    source = read_source(folder / "spec.yml")
    assert source is not None and source.template == "../lab/x.jsonnet"
    put(project.root / "lab/lib.libsonnet", '{glob: "/a*"}')
    assert codes(project) == ["new.template-changed"]
    assert update(project) == ["p/spec.yml"]
    (project.root / "lab/x.jsonnet").unlink()
    assert codes(project) == ["new.template-gone"]
    assert code_of(project) == "new.template-gone"


def test_an_edited_spec_is_no_victim(project: Project, tmp_path: Path) -> None:
    folder = new(project, tmp_path / "x.jsonnet", "a")
    spec = folder / "spec.yml"
    spec.write_text(spec.read_text() + "datum_tries: 1\n")
    assert codes(project) == ["new.rendered-edited"]
    assert code_of(project) == "new.uncommitted"
    commit(project, "p", ["p/spec.yml"], "mine")
    assert code_of(project) == "new.conflicts"
    assert update(project, "word=b", conflicts=True) == ["p/spec.yml"]
    assert "<<<<<<< yours" in spec.read_text() and "datum_tries: 1" in spec.read_text()


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"template": 1, "arguments": {}, "files": {}, "spec": ""}',
        '{"template": "x", "arguments": {"a": 1}, "files": {}, "spec": ""}',
        "[" * 100_000,
    ],
)
def test_a_damaged_line_is_a_comment(project: Project, tmp_path: Path, line: str) -> None:
    spec = new(project, tmp_path / "x.jsonnet") / "spec.yml"
    first, _, body = spec.read_text().partition("\n")
    spec.write_text(f"{first.partition('{')[0]}{line}\n{body}")
    assert read_source(spec) is None
    assert codes(project) == []


@pytest.mark.parametrize("path", ["/etc/passwd", "../../outside", "..", "/dev/zero", "a\0b", "x" * 5000])
def test_a_line_leads_to_no_file_outside_of_the_project(project: Project, tmp_path: Path, path: str) -> None:
    put(tmp_path / "outside", "x")
    spec = new(project, tmp_path / "x.jsonnet") / "spec.yml"
    first, _, body = spec.read_text().partition("\n")
    head, _, found = first.partition("{")
    data = {**json.loads("{" + found), "template": path, "files": {path: "0" * 12}}
    spec.write_text(f"{head}{json.dumps(data)}\n{body}")
    commit(project, "p", ["p/spec.yml"], "hostile")
    assert codes(project) == ["new.template-gone"]
    assert code_of(project) == "new.template-gone"


def test_arguments_without_a_template(project: Project) -> None:
    put(project.root / "p/spec.yml", "input: {pfs: {repo: images, glob: /}}\ntransform: {cmd: [x]}\n")
    assert code_of(project, "a=1") == "new.no-arguments"
