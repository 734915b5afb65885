"""Datasets become subdatasets: one commit, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.git.tree_entries import TreeEntry
from minipach.project.project import Project
from minipach.project.register_datasets import register_datasets, registered_below
from tests.fixtures.plain_projects import dataset, root
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files

__all__ = ["root"]  # the fixture


def said(repo: Files, *arguments: str) -> str:
    """What git prints in a repository."""
    return repo.git(*arguments).decode().rstrip("\n")


NAMES = ("plain", "group/inner", "two words", 'quo"te', "back\\slash", "ünder", "[x]*", "a.b", "#x", "-x")


def tracked(root: Files, path: str) -> list[TreeEntry]:
    """The files that the superdataset has in a folder."""
    found = Project(root.path).repo.ls_tree("HEAD", f":(top,literal){path}/")
    return [entry for entry in found if entry.path.startswith(path + "/")]


def test_every_name_is_registered_as_it_is(root: Files) -> None:
    for name in NAMES:
        dataset(root.path / name)
    root.put(".gitmodules", '# a remark\n[submodule "old"]\n\tpath = old\n\turl = ./old')  # without a last line break
    root.commit()
    before = said(root, "rev-parse", "HEAD")
    register_datasets(Project(root.path), {name: [] for name in NAMES})
    assert said(root, "rev-parse", "HEAD^") == before
    for name in (*NAMES, "old"):
        values = [said(root, "config", "-f", ".gitmodules", f"submodule.{name}.{key}") for key in ("path", "url")]
        assert values == [name, f"./{name}"]
    assert (root.path / ".gitmodules").read_text().startswith("# a remark\n")
    for name in NAMES:
        assert said(root, "config", "-f", ".gitmodules", f"submodule.{name}.datalad-id") == "x"
        assert said(root, "rev-parse", f"HEAD:{name}") == said(Files(root.path / name), "rev-parse", "HEAD")
    assert said(root, "status", "--porcelain") == ""
    assert registered_below(Project(root.path), [*NAMES, "old", "group", "*"]) == set(NAMES)


def test_files_that_were_tracked_there_move_over_and_others_stay(root: Files) -> None:
    root.put("edges/spec.yml", "x\n")
    root.put("edges2/other", "stays\n")
    root.commit()
    entries = tracked(root, "edges")
    (root.path / "edges/spec.yml").unlink()
    (root.path / "edges").rmdir()
    edges = dataset(root.path / "edges")
    edges.put("spec.yml", "x\n")
    edges.commit()
    root.put("staged", "staged\n")
    said(root, "add", "staged")
    (root.path / "loose").write_text("loose\n")
    register_datasets(Project(root.path), {"edges": entries})
    listed = said(root, "ls-tree", "-r", "--name-only", "HEAD").splitlines()
    assert {"edges", "edges2/other"} <= set(listed) and "edges/spec.yml" not in listed
    assert said(root, "status", "--porcelain").splitlines() == ["A  staged", "?? loose"]
    assert (root.path / "edges/spec.yml").exists()


def test_a_second_registration_writes_no_second_section(root: Files) -> None:
    """As after a kill between the two commits, or where somebody has written the section by hand."""
    dataset(root.path / "edges")
    root.put(".gitmodules", '[submodule "edges"]\n\tpath = edges\n\turl = ssh://elsewhere/edges\n')
    root.commit()
    register_datasets(Project(root.path), {"edges": []})
    text = (root.path / ".gitmodules").read_text()
    assert (
        text.count("[submodule") == 1 and said(root, "config", "-f", ".gitmodules", "submodule.edges.path") == "edges"
    )


def test_a_change_that_is_not_committed_stops_it(root: Files) -> None:
    root.put(".gitmodules", "")
    root.commit()
    before = said(root, "rev-parse", "HEAD")
    dataset(root.path / "edges")
    root.put(".gitmodules", "# mine\n")
    with refused("repo.uncommitted-changes", root.path):
        register_datasets(Project(root.path), {"edges": []})
    assert said(root, "rev-parse", "HEAD") == before
    assert (root.path / ".gitmodules").read_text() == "# mine\n"


@pytest.mark.parametrize("count", [0, 2500])
def test_many_folders_are_asked_for_at_once(root: Files, count: int) -> None:
    dataset(root.path / "edges")
    register_datasets(Project(root.path), {"edges": []})
    names = [f"folder{number}" for number in range(count)]
    assert registered_below(Project(root.path), [*names, "edges"]) == {"edges"}
    assert registered_below(Project(root.path), names) == set()
    assert Path(root.path, ".gitmodules").is_file()
