"""Whether a pass still has the spec of now: only a change that matters to a datum or a publish ends it."""

from __future__ import annotations

import pytest

from minipach.project.project import Project
from minipach.project.spec_of_now import is_spec_of_now
from minipach.support.errors import UserError
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.repos import Files

__all__ = ["root"]  # the fixture

SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/c.sh]}\n'


@pytest.fixture
def edges(root: Files) -> Files:
    """A pipeline that is a dataset."""
    repo(root, "images")
    made = repo(root, "edges")
    made.put("spec.yml", SPEC)
    made.commit()
    return made


def read(root: Files) -> Project:
    """The project, with the spec read."""
    project = Project(root.path)
    assert project.pipelines["edges"]
    return project


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SPEC, True),
        ("# a remark\n" + SPEC, True),
        (SPEC + "description: other words\nmetadata: {labels: {a: b}}\n", True),
        (SPEC + "datum_tries: 3\n", True),  # the default
        (SPEC + "minipach: {identity: path}\n", True),  # the default
        (SPEC.replace("c.sh", "d.sh"), False),
        (SPEC.replace("/*", "/*.txt"), False),
        (SPEC + "salt: x\n", False),
        (SPEC + "datum_tries: 2\n", False),
        (SPEC + "datum_timeout: 1s\n", False),
        (SPEC + "resource_limits: {memory: 1Gi}\n", False),
        (SPEC + "minipach: {identity: content}\n", False),
        (SPEC + "minipach: {publish: available}\n", False),
        (SPEC + "nonsense: 1\n", False),
        ("{", False),
        ("", False),
    ],
)
def test_a_commit_of_another_spec(root: Files, edges: Files, text: str, expected: bool) -> None:
    project = read(root)
    edges.put("spec.yml", text)
    assert is_spec_of_now(project, "edges"), "what is not committed does not count"
    edges.commit()
    assert is_spec_of_now(project, "edges") is expected


def test_the_identity_of_the_project_is_no_change(root: Files, edges: Files) -> None:
    root.git("config", "--file", ".datalad/config", "minipach.identity", "content")
    root.commit()
    project = read(root)
    edges.put("spec.yml", "# a remark\n" + SPEC)
    edges.commit()
    assert is_spec_of_now(project, "edges")


def test_a_given_spec_is_no_committed_one(root: Files, edges: Files) -> None:
    pipeline = read(root).pipelines["edges"]
    project = read(root).with_specs({"edges": pipeline})
    edges.put("spec.yml", SPEC + "salt: x\n")
    edges.commit()
    assert is_spec_of_now(project, "edges")


def test_a_spec_that_is_gone_is_an_error(root: Files, edges: Files) -> None:
    project = read(root)
    edges.git("rm", "-q", "spec.yml")
    edges.commit()
    with pytest.raises(UserError):
        is_spec_of_now(project, "edges")
