"""A project: where it is, its pipelines by name, and the order of these."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.project.create import init_project
from minipach.project.project import Project, find_project
from tests.fixtures.plain_projects import dataset, plain, repo, root, spec
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files

__all__ = ["root"]  # the fixture


def test_a_project_is_found_from_any_folder_in_it(root: Files) -> None:
    inner = repo(root, "raw/t1")
    (inner.path / "sub-1").mkdir()
    for start in (root.path, root.path / "raw", inner.path / "sub-1"):
        assert find_project(start).root == root.path


def test_a_marked_project_inside_another_dataset_is_the_project(root: Files) -> None:
    outer = dataset(root.path.parent / "outer")
    root.path.rename(outer.path / "project")
    assert find_project(outer.path / "project").root == outer.path / "project"
    assert find_project(outer.path).root == outer.path


def test_a_git_repository_alone_is_told_the_way_that_init_tells(tmp_path: Path) -> None:
    (tmp_path / "old/.git").mkdir(parents=True)
    (tmp_path / "old/sub").mkdir()
    way = f"datalad create --force {tmp_path}/old, then minipach init {tmp_path}/old"
    with refused("project.not-found", tmp_path / "old/sub", way):
        find_project(tmp_path / "old/sub")
    with refused("project.not-a-dataset", tmp_path / "old", way):
        init_project(tmp_path / "old")


def test_no_project_begins_inside_another(root: Files) -> None:
    inner = dataset(root.path / "raw")
    before = (inner.path / ".datalad/config").read_bytes()
    for folder in ("raw", "new"):
        with refused("project.inside-another", root.path / folder, str(root.path)):
            init_project(root.path / folder)
    assert (inner.path / ".datalad/config").read_bytes() == before and not (root.path / "new").exists()


def test_a_folder_that_cannot_be_made_is_one_line() -> None:
    with refused("project.create-failed", "/proc/x"):
        init_project(Path("/proc/x"))


def test_a_path_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """The job database could not be opened there."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))
    with refused("project.path-not-utf8", folder):
        init_project(folder)
    assert not folder.exists()
    dataset(folder)
    with refused("project.path-not-utf8", folder):
        find_project(folder)


def test_without_a_mark_the_topmost_dataset_is_the_project(tmp_path: Path) -> None:
    top = dataset(tmp_path / "top")
    dataset(top.path / "inner")
    assert find_project(top.path / "inner").root == top.path


def test_a_clone_of_a_pipeline_alone_is_no_project(tmp_path: Path) -> None:
    alone = dataset(tmp_path / "edges")
    alone.put("spec.yml", "input: {}\n")
    assert find_project(alone.path).root == alone.path, "a dataset to adopt, with whatever files"
    alone.put(".minipach/launch", "")
    with refused("project.pipeline-alone"):
        find_project(alone.path)


def test_outside_a_project_the_way_out_is_said(tmp_path: Path) -> None:
    with refused("project.not-found", tmp_path, "minipach init"):
        find_project(tmp_path)
    with refused("project.no-such-folder"):
        find_project(tmp_path / "nothing")


@pytest.fixture
def diamond(root: Files) -> Project:
    """images → a, b → c; and d by itself."""
    repo(root, "images")
    for path, inputs in {"a": ["images"], "b": ["images"], "c": ["b", "a"], "d": ["images"]}.items():
        plain(root, path, spec(*inputs))
    return Project(root.path)


def test_each_pipeline_comes_after_its_inputs(diamond: Project) -> None:
    order = diamond.order
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order.index("c") > max(order.index("a"), order.index("b"))
    assert diamond.upstream("c") == ("a", "b")
    assert diamond.upstream("a") == ()


def test_downstream_and_selection(diamond: Project) -> None:
    assert diamond.downstream(["a"]) == ("a", "c")
    assert set(diamond.select(["b", "d"])) == {"b", "c", "d"}
    assert diamond.select([]) == diamond.order


def test_a_pipeline_goes_by_its_path_or_its_name(root: Files) -> None:
    repo(root, "images")
    plain(root, "steps/edges", spec("images"))
    project = Project(root.path)
    assert (
        project.path_of("edges") == project.path_of("steps/edges") == project.path_of("steps/edges/") == "steps/edges"
    )
    assert project.name_of("steps/edges") == "edges"
    with refused("project.no-such-pipeline", "egdes", '"edges"'):
        project.path_of("egdes")
    with refused("project.no-such-pipeline", "images", "edges"):
        project.path_of("images")


def test_a_pipeline_is_found_by_any_spelling_of_its_path(root: Files) -> None:
    plain(root, "deep/edges", spec("images"))
    for name in ("edges", "deep/edges", "deep/edges/", "./deep//edges"):
        assert Project(root.path).path_of(name) == "deep/edges"
