"""The pin of a plain folder: the commit that last changed it, and what its snapshot has."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from minipach.datums.inputs import SnapshotStore
from minipach.datums.pin import pinned_commit
from minipach.datums.snapshot import read_snapshot
from minipach.git.tree_entries import GITLINK, TreeEntry
from minipach.model.plain_folder import PlainFolder
from minipach.project.project import Project
from minipach.support.disk_cache import Cache
from tests.fixtures.plain_projects import plain, repo, root, spec
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files

__all__ = ["root"]  # the fixture


def commit(root: Files) -> str:
    """Return the commit that a pipeline `edges` with this input is pinned at."""
    project = Project(root.path)
    (need,) = project.needs("edges")
    return SnapshotStore(project).commit(need)


def files(root: Files) -> list[str]:
    """Return the files that the input of the pipeline `edges` has."""
    project = Project(root.path)
    (need,) = project.needs("edges")
    store = SnapshotStore(project)
    return sorted(store.at(need.repo, store.commit(need)).files)


def take(root: Files, folder: str) -> None:
    """Make a pipeline `edges` with an input from this folder."""
    plain(root, "edges", spec(f'"{folder}"'))


def link(root: Files, path: str, sha: str = "1" * 40) -> None:
    root.git("update-index", "--add", "--cacheinfo", f"160000,{sha},{path}")


@pytest.mark.parametrize("folder", ["data", "data/deep", "Meine Dätä [1]*", "."])
def test_only_commits_that_change_the_folder_move_it(root: Files, folder: str) -> None:
    inside = "" if folder == "." else f"{folder}/"
    root.put(f"{inside}a.txt", "alpha")
    first = root.commit()
    take(root, folder)
    assert (commit(root), files(root)) == (first, ["a.txt"])
    other = repo(root, "out" if folder == "." else f"{folder}/out")
    other.put("spec.yml", spec("images"))
    link(root, other.path.relative_to(root.path).as_posix(), other.commit())
    root.git("add", ".gitmodules")
    root.put(f"{inside}.gitattributes", "* text\n")
    root.put(f"{inside}.datalad/x", "")
    root.commit()
    if folder != ".":
        root.put("other/a.txt", "other")
        root.commit()
    assert commit(root) == first
    root.put(f"{inside}b.txt", "beta")
    second = root.commit()
    assert (commit(root), files(root)) == (second, ["a.txt", "b.txt"])


def test_a_folder_that_is_merged_is_the_one_of_the_tip(root: Files) -> None:
    root.put("data/a.txt", "alpha")
    root.commit()
    root.git("checkout", "-q", "-b", "side")
    root.put("data/b.txt", "beta")
    root.commit()
    root.git("checkout", "-q", "main")
    root.put("data/c.txt", "gamma")
    root.commit()
    root.git("merge", "-q", "-m", "both", "side")
    take(root, "data")
    assert files(root) == ["a.txt", "b.txt", "c.txt"]


def test_a_folder_on_a_branch(root: Files) -> None:
    root.put("data/a.txt", "alpha")
    root.commit()
    root.git("checkout", "-q", "-b", "side")
    root.put("data/b.txt", "beta")
    side = root.commit()
    root.git("checkout", "-q", "main")
    plain(root, "edges", spec("data").replace("repo: data", "repo: data, branch: side"))
    assert (commit(root), files(root)) == (side, ["a.txt", "b.txt"])
    plain(root, "more", spec("data").replace("repo: data", "repo: data, branch: sid"))
    project = Project(root.path)
    with refused("input.no-such-branch"):
        SnapshotStore(project).commit(*project.needs("more"))


def test_a_detached_head_counts_where_a_branch_has_the_folder(root: Files) -> None:
    root.put("data/a.txt", "alpha")
    first = root.commit()
    root.git("checkout", "-q", "--detach")
    root.put("other.txt", "")
    root.commit()
    take(root, "data")
    assert commit(root) == first
    root.put("data/b.txt", "beta")
    root.commit()
    with refused("branch.detached"):
        commit(root)


def test_pipelines_and_datasets_in_a_folder_are_no_part_of_it(root: Files) -> None:
    for path in ("data/a.txt", "data/inner/spec.yml", "data/inner/code/x.py", "data/.gitattributes", "top.csv"):
        root.put(path, path)
    root.commit()
    inside = repo(root, "data/sub")
    inside.put("b.txt", "beta")
    link(root, "data/sub", inside.commit())
    root.git("add", ".gitmodules")
    root.commit()
    take(root, "data")
    assert files(root) == ["a.txt"]
    assert Project(root.path).datasets_in("data") == ("sub",)
    (root.path / "edges" / "spec.yml").write_text(spec("."))
    assert files(root) == ["data/.gitattributes", "data/a.txt", "top.csv"]
    assert Project(root.path).datasets_in(".") == ()


def test_a_folder_in_the_folder_that_becomes_a_dataset_takes_its_files_along(root: Files) -> None:
    root.put("data/a.txt", "alpha")
    root.put("data/sub/b.txt", "beta")
    root.commit()
    take(root, "data")
    assert files(root) == ["a.txt", "sub/b.txt"]
    root.git("rm", "-q", "-r", "--cached", "data/sub")
    shutil.rmtree(root.path / "data/sub")
    inside = repo(root, "data/sub")
    link(root, "data/sub", inside.line("rev-parse", "HEAD"))
    root.git("add", ".gitmodules")
    there = root.commit()
    assert (commit(root), files(root)) == (there, ["a.txt"])


def test_a_snapshot_is_brought_up_to_date_as_if_read_again(root: Files, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    drawn = random.Random(7)
    folder = PlainFolder("", "data", frozenset({"pipe"}))
    names = [f"data/{part}{name}" for part in ("", "deep/", "pipe/", ".git") for name in "abc"] + ["x", "y"]
    root.put("data/always", "")
    for step in range(25):
        for name in drawn.sample(names, 3):
            if drawn.random() < 0.4:
                root.git("rm", "-q", "--ignore-unmatch", "-f", name)
            elif drawn.random() < 0.3 and not os.path.lexists(root.path / name):
                (root.path / name).parent.mkdir(exist_ok=True, parents=True)
                (root.path / name).symlink_to("../.git/annex/objects/x/SHA256-s1--" + "0" * 64)
                root.stage(name)
            elif not (root.path / name).is_symlink():
                root.put(name, str(step % 3))
        tip = root.commit()
        at = pinned_commit(root, folder, tip, ())
        assert at is not None
        read = read_snapshot(root, at, folder=folder)
        assert (
            read.files == read_snapshot(root, tip, folder=folder).files == read_snapshot(root, tip, cache, folder).files
        )
        assert not any(path.startswith(("pipe", ".git", "data")) for path in read.files)


def test_a_folder_without_a_committed_file_is_reported(root: Files) -> None:
    (root.path / "data").mkdir()
    (root.path / "data" / "a.txt").write_text("alpha")
    take(root, "data")
    with refused("input.no-commit", "edges/spec.yml:1:30"):
        commit(root)


def test_a_folder_that_has_housekeeping_alone_is_empty(root: Files) -> None:
    root.put("data/.gitkeep")
    first = root.commit()
    take(root, "data")
    assert (commit(root), files(root)) == (first, [])
    root.put("data/a.txt", "alpha")
    root.git("rm", "-q", "--cached", "data/.gitkeep")
    root.commit()
    root.git("rm", "-q", "--cached", "data/a.txt")
    root.commit()
    root.stage("data/.gitkeep")
    last = root.commit()
    assert (commit(root), files(root)) == (last, []), "the commit without a file has no folder"


def test_a_gitlink_alone_is_an_empty_folder(root: Files) -> None:
    tree = root.write_tree([TreeEntry(GITLINK, "1" * 40, "data/sub")])
    tip = root.commit_tree(tree, "links alone")
    folder = PlainFolder("", "data")
    at = pinned_commit(root, folder, tip, ["data/sub"])
    assert at == tip
    assert read_snapshot(root, tip, folder=folder).files == {}
