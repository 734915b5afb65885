"""`minipach.templates.update`: what the template and what the user changed are both kept, or nothing is written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from minipach.model.repo_layout import TEMPLATE_RECORD
from minipach.project.project import Project, find_project
from minipach.support.errors import UserError
from minipach.templates.create import NewPipeline, commit, draft_of, write
from minipach.templates.sources import add_source
from minipach.templates.update import apply, update_of
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.repos import Files

__all__ = ["root"]

SPEC = """\
description: one
input: {pfs: {repo: <<images.repo>>, glob: <<images.glob>>}}
transform:
  cmd: [sh, code/run.sh, <<word>>]
datum_tries: 1
"""


class Lab:
    """A source of templates beside a project with one pipeline from it."""

    def __init__(self, root: Files, folder: Path) -> None:
        images = repo(root, "images")
        images.put("a.png", "1")
        images.commit()
        root.commit()
        self.folder = folder / "lab/copy"
        (self.folder / "code").mkdir(parents=True)
        self.release("1", spec=SPEC, run="echo 1\necho 2\necho 3\n")
        self.project: Project = find_project(root.path)
        add_source(self.project, "lab", str(folder / "lab"), folder)
        files = write(self.project, "p", draft_of(self.project, NewPipeline("p", "lab/copy"), folder))
        commit(self.project, "p", files)
        self.pipeline = root.path / "p"

    def release(self, version: str, *, spec: str = "", **code: str) -> None:
        properties = "{word: {type: string, default: x}}"
        text = f'version: "{version}"\nsummary: A copy\ninputs: [{{name: images, glob: "/*"}}]\n'
        (self.folder / "template.yml").write_text(f"{text}parameters: {{type: object, properties: {properties}}}\n")
        if spec:
            (self.folder / "spec.yml").write_text(spec)
        for name, content in code.items():
            (self.folder / f"code/{name}.sh").write_text(content)

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.pipeline / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        commit(self.project, "p", [f"p/{path}"], "edit")

    def update(self, *words: str, conflicts: bool = False) -> list[str]:
        return apply(self.project, "p", update_of(self.project, "p", words), conflicts=conflicts)

    def text(self, path: str) -> str:
        return (self.pipeline / path).read_text()

    def code(self) -> str:
        before = {path: path.read_bytes() for path in self.pipeline.rglob("*") if path.is_file()}
        with pytest.raises(UserError) as caught:
            self.update()
        assert {path: path.read_bytes() for path in self.pipeline.rglob("*") if path.is_file()} == before
        return caught.value.problems[0].code


@pytest.fixture
def lab(root: Files, tmp_path: Path) -> Lab:
    return Lab(root, tmp_path)


def test_changes_of_both_are_kept(lab: Lab) -> None:
    assert lab.update() == []
    lab.edit("spec.yml", "datum_tries: 1", "datum_tries: 5")
    lab.edit("code/run.sh", "echo 3", "echo three")
    lab.release(
        "2", spec=SPEC.replace("description: one", "description: two"), run="echo one\necho 2\necho 3\n", new="x\n"
    )
    wanted = ["p/.minipach/template.json", "p/code/new.sh", "p/code/run.sh", "p/spec.yml"]
    assert lab.update() == wanted
    assert "description: two" in lab.text("spec.yml") and "datum_tries: 5" in lab.text("spec.yml")
    assert "the template lab/copy 2" in lab.text("spec.yml")
    assert lab.text("code/run.sh") == "echo one\necho 2\necho three\n"
    commit(lab.project, "p", wanted, "update")
    assert lab.update() == []


def test_a_conflict_writes_nothing_unless_asked(lab: Lab) -> None:
    lab.edit("code/run.sh", "echo 2", "echo mine")
    lab.release("2", run="echo 1\necho theirs\necho 3\n")
    assert lab.code() == "new.conflicts"
    lab.update(conflicts=True)
    text = lab.text("code/run.sh")
    assert "<<<<<<< yours\necho mine\n=======\necho theirs\n>>>>>>> template\n" in text


def test_other_values_are_an_update(lab: Lab) -> None:
    assert lab.update("word=z") == ["p/.minipach/template.json", "p/spec.yml"]
    assert "code/run.sh, z]" in lab.text("spec.yml")
    assert json.loads(lab.text(TEMPLATE_RECORD))["values"] == {"word": "z"}


def test_files_that_go(lab: Lab) -> None:
    lab.release("2", more="x\n")
    commit(lab.project, "p", lab.update(), "update")
    (lab.folder / "code/more.sh").unlink()
    assert "p/code/more.sh" in lab.update()
    assert not (lab.pipeline / "code/more.sh").exists()


def test_a_file_that_goes_but_was_changed_stays(lab: Lab) -> None:
    lab.edit("code/run.sh", "echo 1", "echo one")
    (lab.folder / "code/run.sh").unlink()
    lab.release("2", other="x\n")
    assert update_of(lab.project, "p", ()).kept == ("code/run.sh",)
    lab.update()
    assert "echo one" in lab.text("code/run.sh")


def test_what_is_not_committed_is_not_touched(lab: Lab) -> None:
    lab.release("2", spec=SPEC.replace("one", "two"))
    (lab.pipeline / "spec.yml").write_text("mine")
    assert lab.code() == "new.uncommitted"


def test_a_merge_that_is_no_spec_is_refused(lab: Lab) -> None:
    lab.release("2", spec=SPEC.replace("datum_tries: 1", "datum_tries: none"))
    assert lab.code().startswith("spec.")


RECORDS = {
    "no JSON": "{",
    "no object": "[]",
    "a path that leads out": '{"files": {"../../owned": "x"}}',
    "another path": '{"files": {".git/hooks/post-commit": "x"}}',
    "no text": '{"files": {"spec.yml": 1}}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_hostile_record_changes_nothing(lab: Lab, kind: str) -> None:
    text = RECORDS[kind]
    if text.startswith('{"files"'):
        text = json.dumps({**json.loads(lab.text(TEMPLATE_RECORD)), **json.loads(text)})
    (lab.pipeline / TEMPLATE_RECORD).write_text(text)
    commit(lab.project, "p", [f"p/{TEMPLATE_RECORD}"], "edit")
    assert lab.code() == "new.bad-record"


def test_a_pipeline_without_a_template(lab: Lab) -> None:
    os.unlink(lab.pipeline / TEMPLATE_RECORD)
    assert lab.code() == "new.no-record"
