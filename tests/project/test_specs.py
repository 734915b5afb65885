"""The repos, pipelines and plain folders of a project."""

from __future__ import annotations

from pathlib import Path

from minipach.project.discovery import PipelineLocation
from minipach.project.project import Project
from tests.fixtures.plain_projects import plain, repo, root, spec
from tests.fixtures.repos import Files

__all__ = ["root"]  # the fixture


def test_repos_are_found_at_any_depth(root: Files) -> None:
    raw = repo(root, "raw")
    repo(root, "t1", holder=raw)
    repo(root, "deep/er/t2")
    root.git("config", "--file", str(root.path / ".gitmodules"), "submodule.away.path", "../away")
    root.git("config", "--file", str(root.path / ".gitmodules"), "submodule.gone.path", "gone")
    assert Project(root.path).repos == ("deep/er/t2", "gone", "raw", "raw/t1")


def test_what_is_not_installed_is_known_but_for_what_data_repos_hold(root: Files) -> None:
    raw = repo(root, "raw")
    repo(root, "deep/er/t2")
    for holder, path in ((raw, "t1"), (root, "deep/gone")):
        holder.git("config", "--file", str(holder.path / ".gitmodules"), f"submodule.{path}.path", path)
        holder.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},{path}")
    project = Project(root.path)
    assert project.repos == ("deep/er/t2", "deep/gone", "raw", "raw/t1")
    assert project.not_installed == ("deep/gone",)


def test_the_inputs_of_a_pipeline_are_no_repos_of_their_own(root: Files) -> None:
    edges = repo(root, "edges")
    repo(root, "inputs/images", holder=edges)
    assert Project(root.path).repos == ("edges",)


def test_pipelines_are_folders_with_a_spec(root: Files) -> None:
    repo(root, "images")
    edges = repo(root, "a/edges")
    edges.put("spec.yml", spec("images"))
    edges.put("code/spec.yml", "no pipeline")
    edges.commit()
    plain(root, "montage", spec("a/edges"))
    plain(root, "b/tracked", spec("images"))
    root.git("add", "b/tracked/spec.yml")
    project = Project(root.path)
    assert project.places == (
        PipelineLocation("a/edges", True),
        PipelineLocation("b/tracked", False),
        PipelineLocation("montage", False),
    )
    assert {path: p.name for path, p in project.pipelines.items()} == {
        "a/edges": "edges",
        "b/tracked": "tracked",
        "montage": "montage",
    }


def test_of_a_dataset_the_committed_spec_counts(root: Files) -> None:
    repo(root, "images")
    edges = repo(root, "edges")
    edges.put("spec.yml", spec("images"))
    edges.commit()
    (edges.path / "spec.yml").write_text("not: valid")
    assert Project(root.path).pipelines["edges"].transform.cmd == ("x",)


def test_a_plain_folder_is_an_input_of_the_dataset_that_has_it(root: Files) -> None:
    inner = repo(root, "raw")
    (inner.path / "t1").mkdir()
    (root.path / "data" / "deep").mkdir(parents=True)
    plain(root, "edges", spec("data", "data/deep", "raw/t1", "raw", ".").replace(".,", "., name: all,"))
    project = Project(root.path)
    assert project.holders == {"data": "", "data/deep": "", "raw/t1": "raw", ".": ""}
    found = {pfs.repo: (pfs.name, pfs.holder, pfs.folder) for pfs in project.pipelines["edges"].pfs_inputs()}
    assert found["raw/t1"] == ("t1", "raw", "t1") and found["data/deep"] == ("deep", "", "data/deep")
    assert found["raw"] == ("raw", None, "") and found["."] == ("all", "", "")
    assert project.dataset_of("data/deep") == project.dataset_of(".") == root.path
    assert project.dataset_of("raw/t1") == project.dataset_of("raw") == inner.path
    assert project.problems == {}


def test_a_folder_that_only_the_commit_has_is_an_input(root: Files) -> None:
    root.put("data/a.txt", "alpha")
    root.commit()
    (root.path / "data" / "a.txt").unlink()
    (root.path / "data").rmdir()
    plain(root, "edges", spec("data"))
    project = Project(root.path)
    assert project.holders == {"data": ""} and project.problems == {}


def test_a_folder_outside_of_the_project_is_none_of_its_folders(root: Files, tmp_path: Path) -> None:
    (root.path / "data").mkdir()
    (tmp_path / "else").mkdir()
    project = Project(root.path)
    names = ("data", str(tmp_path / "else"), str(root.path / "data"), "../else", "data/..", "/")
    assert [name for name in names if project.is_folder(name)] == ["data"]
