"""A repo that was a pipeline, and has lost its spec.yml, is told of: it counts as data without a word otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.model.repo_layout import PROJECT_MARK
from minipach.project.project import Project
from minipach.support.errors import UserError
from tests.fixtures.repos import Files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with data in `images` and a pipeline `edges` that has published something."""
    section, _, name = PROJECT_MARK.partition(".")
    made = Files.create(tmp_path / "my project")
    made.put(".datalad/config", f'[{section} "{name}"]\n\tversion = 1\n')
    for path in ("images", "edges"):
        made.git("config", "--file", ".gitmodules", f"submodule.{path}.path", path)
        Files.create(made.path / path).put("a")
    edges = Files(made.path / "edges")
    edges.put("spec.yml", 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [x]}\n')
    edges.put(".minipach/state/00", "...")
    for repo in (made, Files(made.path / "images"), edges):
        repo.commit()
    return made.path


def test_the_way_back_and_the_way_on(root: Path) -> None:
    edges = Files(root / "edges")
    assert list(Project(root).former_pipelines()) == []
    edges.git("mv", "spec.yml", "Spec.yaml")
    assert list(Project(root).former_pipelines()) == [], "it is committed still, and that is what counts"
    edges.commit("renamed")
    [problem] = Project(root).former_pipelines()
    where = f"'{root}/edges'"
    assert (problem.code, problem.location) == ("pipeline.without-spec", "edges")
    assert f" git -C {where} mv Spec.yaml spec.yml && datalad save -d {where}; " in problem.fix
    assert problem.fix.endswith(f" git -C {where} rm -rq .minipach/state && datalad save -d {where}")
    with pytest.raises(UserError) as caught:
        Project(root).path_of("edges")
    assert caught.value.problems == (problem,)
    edges.git("rm", "-q", "Spec.yaml")
    gone = edges.commit("removed")
    [problem] = Project(root).former_pipelines()
    commit = problem.fix.partition("checkout ")[2].partition("~ -- spec.yml")[0]
    assert not gone.startswith(commit), "the commit that renamed it"
    edges.git("checkout", f"{commit}~", "--", "spec.yml")
    assert list(Project(root).former_pipelines()) == []
    edges.git("reset", "-q", "--hard")
    edges.git("rm", "-rq", ".minipach/state")
    edges.commit("data for good")
    assert list(Project(root).former_pipelines()) == []
