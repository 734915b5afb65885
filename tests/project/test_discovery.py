"""Where pipelines are found: in repos, in the project's own folders, and in those of subdatasets that hold no data."""

from __future__ import annotations

from minipach.project.discovery import PipelineLocation, holder_of, is_data
from minipach.project.project import Project
from tests.fixtures.plain_projects import plain, repo, root, spec
from tests.fixtures.repos import Files

__all__ = ["root"]  # the fixture


def found(root: Files) -> tuple[list[PipelineLocation], list[str]]:
    """The pipelines, and the folders with a spec that are data."""
    project = Project(root.path)
    return list(project.places), project.specs_in_data()


def test_a_plain_folder_of_a_subdataset_is_a_pipeline_tracked_or_not(root: Files) -> None:
    repo(root, "images")
    group = repo(root, "deep/group")
    inner = repo(root, "inner", holder=group)
    plain(root, "deep/group/loose", spec("images"))
    group.put("a/tracked/spec.yml", spec("images"))
    inner.put("edges/spec.yml", spec("deep/group/loose"))
    places = [PipelineLocation(f"deep/group/{path}", False) for path in ("a/tracked", "inner/edges", "loose")]
    assert found(root) == (places, [])
    project = Project(root.path)
    assert project.trouble(project.order) == ()
    assert project.path_of("edges") == "deep/group/inner/edges"
    assert project.upstream("deep/group/inner/edges") == ("deep/group/loose",)
    assert project.holder_of("deep/group/inner/edges") == "deep/group/inner"


def test_what_a_pipeline_takes_from_is_data_whatever_its_files_are_called(root: Files) -> None:
    for path in ("images", "raw", "own"):
        repo(root, path)
    inside = repo(root, "more", holder=Files(root.path / "raw"))
    inside.put("api/spec.yml", spec("images"))
    plain(root, "raw/step", spec("images"))
    plain(root, "own/step", spec("own"))  # what takes from the very repo that it lies in
    plain(root, "edges", spec("raw"))
    assert found(root) == (
        [PipelineLocation("edges", False)],
        [f"{p}/spec.yml" for p in ("own/step", "raw/step", "raw/more/api")],
    )


def test_other_files_of_that_name_are_none_of_ours(root: Files) -> None:
    for path in ("images", "library", "study"):
        repo(root, path)
    plain(root, "library/api", "openapi: 3.0.0\ninfo: {title: transform}\n")
    plain(root, "library/code/edges", spec("images"))
    plain(root, "study/edges", spec("images"))
    Files(root.path / "study").put(".datalad/config", '[minipach "project"]\n\tversion = 1\n')
    edges = repo(root, "edges")
    edges.put("spec.yml", spec("images"))
    edges.put("out/spec.yml", spec("images"))
    edges.commit()
    assert found(root) == ([PipelineLocation("edges", True)], [])
    plain(root, "library/json", '{"input": {}, "transform": {"cmd": ["x"]}}')
    assert found(root)[0] == [PipelineLocation("edges", True), PipelineLocation("library/json", False)]


def test_who_holds_what() -> None:
    assert holder_of("a/b/c", ["a", "a/b", "a/bb"]) == "a/b"
    assert holder_of("a/b", ["a/b", "x"]) == ""
    assert is_data("raw/more", {"raw"}) and is_data("raw", {"raw"})
    assert not is_data("rawer", {"raw"})
