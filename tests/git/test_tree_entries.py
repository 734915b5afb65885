"""Entries of raw trees."""

from __future__ import annotations

from minipach.git.tree_entries import parse_tree
from tests.fixtures.git_files import repo
from tests.fixtures.repos import Files

__all__ = ["repo"]  # the fixture


def test_a_raw_tree_is_read_like_its_listing(repo: Files) -> None:
    listed = repo.ls_tree("HEAD:odd")
    raw = repo.objects.read(repo.line("rev-parse", "HEAD:odd"))
    assert list(parse_tree(raw or b"")) == listed
    top = list(parse_tree(repo.objects.read(repo.line("rev-parse", "HEAD^{tree}")) or b""))
    assert top == repo.ls_tree("HEAD")
