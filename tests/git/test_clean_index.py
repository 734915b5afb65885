"""A working tree that is as its index says is known without git; all else is git's to answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minipach.git.clean_index import matching_tree, new_files
from minipach.git.index_file import index_data, read_index, row_of, tree_of
from minipach.git.repo import Repo
from minipach.git.tree_entries import EXECUTABLE
from minipach.support.git_objects import blob_id


def make(top: Path) -> Repo:
    repo = Repo(top)
    top.mkdir()
    repo.git("init", "--quiet")
    (top / "a").mkdir()
    (top / "a" / "long name ü").write_text("x")
    (top / "run").write_text("y")
    (top / "run").chmod(0o755)
    (top / "link").symlink_to("a")
    past = time.time() - 10
    for path in (top / "a" / "long name ü", top / "run", top / "link"):
        os.utime(path, (past, past), follow_symlinks=False)
    repo.git("add", "--", ".")
    repo.git("commit", "--quiet", "-m", "first")
    return repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path / "repo")


def test_a_clean_tree_is_that_of_its_commit(repo: Repo) -> None:
    assert matching_tree(repo.path) == (repo.head(), repo.resolve("HEAD^{tree}"))


def same_size(top: Path) -> None:
    before = (top / "run").stat()
    (top / "run").write_text("z")
    os.utime(top / "run", ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "new": lambda top: (top / "new").write_text("n"),
    "new below": lambda top: (top / "a" / "new").write_text("n"),
    "gone": lambda top: (top / "run").unlink(),
    "content, with its old time": same_size,
    "mode": lambda top: (top / "run").chmod(0o644),
    "link": lambda top: ((top / "link").unlink(), (top / "link").symlink_to("b")),
    "folder for a file": lambda top: ((top / "run").unlink(), (top / "run").mkdir()),
    "a repository below": lambda top: ((top / "b").mkdir(), Repo(top / "b").git("init", "--quiet")),
    "assumed": lambda top: Repo(top).git("update-index", "--assume-unchanged", "run"),
    "skipped": lambda top: Repo(top).git("update-index", "--skip-worktree", "run"),
    "intended": lambda top: ((top / "n").write_text("n"), Repo(top).git("add", "--intent-to-add", "n")),
    "split index": lambda top: Repo(top).git("-c", "core.splitIndex=true", "update-index", "--split-index"),
    "version 4": lambda top: Repo(top).git("update-index", "--index-version=4"),
    "no index": lambda top: (top / ".git/index").unlink(),
    "damaged": lambda top: (top / ".git/index").write_bytes(b"DIRC\0\0\0\2\0\0\0\7"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_or_odd_is_left_to_git(repo: Repo, change: str) -> None:
    CHANGES[change](repo.path)
    assert matching_tree(repo.path) is None


def test_a_staged_change_has_another_tree(repo: Repo) -> None:
    committed = repo.resolve("HEAD^{tree}")
    repo.git("rm", "--cached", "--quiet", "run")
    (repo.path / "run").unlink()
    repo.git("write-tree")  # which notes the tree in the index
    found = matching_tree(repo.path)
    assert found is None or found[1] != committed


def test_a_file_as_young_as_the_index_is_read(repo: Repo) -> None:
    (repo.path / "run").write_text("q")
    repo.git("add", "--", "run")
    repo.git("commit", "--quiet", "-m", "second")
    index = repo.path / ".git/index"
    written = (repo.path / "run").stat().st_mtime_ns
    os.utime(index, ns=(written, written))
    assert matching_tree(repo.path) == (repo.head(), repo.resolve("HEAD^{tree}"))
    rows, tree = read_index(index.read_bytes()) or ({}, None)
    assert tree == tree_of(rows) == repo.resolve("HEAD^{tree}")
    changed = (repo.path / "run").stat()
    row = row_of(EXECUTABLE, blob_id(b"p"), changed)  # as if it had another content just before
    index.write_bytes(index_data({**rows, b"run": row}))
    os.utime(index, ns=(written, written))
    assert matching_tree(repo.path) is None


def test_new_files_beside_those_of_the_index(repo: Repo) -> None:
    assert new_files(repo.path, repo.path / ".git") == []
    (repo.path / "b" / "c").mkdir(parents=True)
    (repo.path / "b" / "c" / "new").write_text("n")
    (repo.path / "a" / "other").symlink_to("nowhere")
    (repo.path / "run").unlink()  # what is gone is no output
    assert sorted(new_files(repo.path, repo.path / ".git") or []) == [b"a/other", b"b/c/new"]


def test_a_file_of_another_time_is_read(repo: Repo) -> None:
    os.utime(repo.path / "run")
    assert new_files(repo.path, repo.path / ".git") == []


def test_subdatasets_are_not_looked_into(repo: Repo) -> None:
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{repo.head()},inputs/images")
    (repo.path / "inputs/images").mkdir(parents=True)
    (repo.path / "inputs/images/staged").write_text("s")
    assert new_files(repo.path, repo.path / ".git") == []


@pytest.mark.parametrize("change", sorted(set(CHANGES) - {"new", "new below", "gone"}))
def test_no_new_files_are_named_where_something_is_odd(repo: Repo, change: str) -> None:
    CHANGES[change](repo.path)
    assert new_files(repo.path, repo.path / ".git") is None
