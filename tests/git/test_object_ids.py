"""Ids of trees that are computed are those of git."""

from __future__ import annotations

from pathlib import Path

from minipach.git.object_ids import tree_id
from minipach.git.repo import Repo
from minipach.git.tree_entries import EXECUTABLE, FILE, GITLINK, SYMLINK, TreeEntry


def test_the_id_of_a_tree_is_that_which_git_writes(tmp_path: Path) -> None:
    repo = Repo(tmp_path)
    repo.git("init", "--quiet")
    blob = repo.hash_blob(b"x")
    # "a.b" sorts before "a/", and "a0" behind it
    names = ["a/b/c", "a/b-c", "a.b", "a0", "z", "ä/ö", "b/\udcff", "b/new\nline"]
    entries = [TreeEntry(FILE, blob, name) for name in names]
    entries += [
        TreeEntry(EXECUTABLE, blob, "run"),
        TreeEntry(SYMLINK, blob, "link"),
        TreeEntry(GITLINK, "1" * 40, "inputs/images"),
    ]
    assert tree_id(entries) == repo.write_tree(entries)
    assert tree_id([]) == repo.write_tree([])
