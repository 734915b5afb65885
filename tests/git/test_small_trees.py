"""Trees listed and compared without a process, beside git's own answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.tree_entries import TreeEntry
from tests.fixtures.git_files import repo
from tests.fixtures.repos import Files

ZERO = "0" * 40

__all__ = ["repo"]  # the fixture


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize(
    "paths",
    [
        (),
        ("d",),
        ("d/b.txt", "a.txt"),
        ("d", "nothing", "a.txt/below a file", "link"),
        ("odd",),
    ],
)
def test_a_listing_without_a_process_is_that_of_git(repo: Files, paths: tuple[str, ...], recursive: bool) -> None:
    wanted = [f":(top,literal){path}" for path in paths]
    repo.close()
    listed = repo.ls_tree("HEAD", *wanted, recursive=recursive)
    assert repo.objects.alive
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Repo, "git", None)
        assert repo.ls_tree("HEAD", *wanted, recursive=recursive) == listed


def test_names_and_paths_without_a_process_are_those_of_git(repo: Files) -> None:
    repo.close()
    names, paths = repo.names("HEAD"), repo.paths("HEAD")
    assert names == ["a.txt", "d", "link", "odd"] and "d/b.txt" in paths
    assert repo.objects.alive
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Repo, "git", None)
        assert (repo.names("HEAD"), repo.paths("HEAD")) == (names, paths)


def test_changes_without_a_process_are_those_of_git(tmp_path: Path) -> None:
    """A file becomes a folder, a folder a file; others change in content, in mode, or go."""
    repo = Files.create(tmp_path / "repo")
    for path in ("a.txt", "link", "d/b.txt", "d/run.sh", "odd/x/y", "odd/z", "stays"):
        repo.put(path, path)
    (repo.path / "d/run.sh").chmod(0o755)
    repo.git("add", "--", "d/run.sh")
    old = repo.commit()
    assert repo.small_changes(old, old) == []
    for path in ("a.txt", "link", "d/b.txt"):
        repo.git("rm", "--quiet", "--", path)
    repo.put("a.txt/inside", "i")
    repo.put("a.txt.b", "b")
    repo.git("rm", "--quiet", "-r", "--", "odd")
    repo.put("odd", "a file now")
    (repo.path / "d/run.sh").chmod(0o644)
    repo.git("add", "--", "d/run.sh")
    new = repo.commit()
    rows = os.fsdecode(repo.git("diff-tree", "-r", "-z", "--no-renames", old, new)).split("\0")
    expected = [(path, *meta.lstrip(":").split()[:4]) for meta, path in zip(rows[::2], rows[1::2], strict=False)]
    assert len(expected) > 6
    assert repo.objects.alive
    none = TreeEntry("000000", ZERO, "")
    found = [(path, one or none, two or none) for path, one, two in repo.small_changes(old, new) or ()]
    assert [(path, a.mode, b.mode, a.sha, b.sha) for path, a, b in found] == expected


def test_what_is_large_or_odd_is_listed_by_git(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    assert repo.objects.alive
    assert [e.path for e in repo.ls_tree("HEAD", "d/")] == ["d/b.txt", "d/run.sh"]
    assert repo.ls_tree("HEAD:d") != []
    expected = repo.ls_tree("HEAD", recursive=True)
    monkeypatch.setattr("minipach.git.small_trees._MOST_TREES", 1)
    assert repo.ls_tree("HEAD", recursive=True) == expected
    with pytest.raises(GitError):
        repo.ls_tree(ZERO)
