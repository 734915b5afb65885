"""Paths that git refuses, or treats in its own way, are told from all others."""

from __future__ import annotations

import pytest

from minipach.git.plain_names import are_plain, is_plain_path
from minipach.git.tree_entries import FILE, SYMLINK, TreeEntry


@pytest.mark.parametrize("path", ["a", "d/e f", ".gitignore", "d/.gitattributes", ".datalad/config", "a~1", "\udcff"])
def test_plain_paths(path: str) -> None:
    assert is_plain_path(path, link=False)


@pytest.mark.parametrize(
    ("path", "link"),
    [
        *((path, False) for path in ("", "..", "a/../b", "a//b", ".git/x", "d/.GIT", ".git ", ".git::$INDEX", "git~1")),
        *((path, False) for path in ("a\\.git\\x", "/a")),
        *((path, True) for path in (".gitmodules", "d/.gitattributes", "gitmod~1", "GI7EBA~1")),
    ],
)
def test_other_paths(path: str, link: bool) -> None:
    assert not is_plain_path(path, link=link)


def test_no_file_of_a_tree_lies_behind_another() -> None:
    one, below = TreeEntry(SYMLINK, "", "a"), TreeEntry(FILE, "", "a/b/c")
    assert are_plain([one, TreeEntry(FILE, "", "a.b"), TreeEntry(FILE, "", "b/c")])
    assert not are_plain([one, below])
    assert not are_plain([below, one])
    assert not are_plain([one, one])
    assert not are_plain([TreeEntry(SYMLINK, "", ".gitignore")])
