"""Addresses of commits on forges."""

from __future__ import annotations

import pytest

from minipach.provenance.web_links import commit_page, compare_page


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://github.com/lab/edges.git", "https://github.com/lab/edges/commit/abc"),
        ("git@github.com:lab/edges.git", "https://github.com/lab/edges/commit/abc"),
        (
            "ssh://git@gitlab.example.org:2222/lab/sub/edges.git",
            "https://gitlab.example.org/lab/sub/edges/-/commit/abc",
        ),
        ("https://user:secret@codeberg.org/lab/edges/", "https://codeberg.org/lab/edges/commit/abc"),
        ("https://bitbucket.org/lab/edges", "https://bitbucket.org/lab/edges/commits/abc"),
        ("git@gin.g-node.org:/lab/edges.git", ""),
        ("/srv/git/github.com/edges.git", ""),
        ("ria+ssh://store#abc", ""),
        ("https://example.org/lab/edges", ""),
        ("https://github.com/../edges", ""),
        ('https://github.com/lab/"><script>', ""),
        ("https://github.com/lab/ed\nges", ""),
        ("https://github.com", ""),
    ],
)
def test_a_commit_has_a_page_on_known_forges_alone(remote: str, page: str) -> None:
    assert commit_page(remote, "abc") == page


def test_two_commits_are_compared() -> None:
    assert compare_page("https://github.com/lab/e", "a", "b") == "https://github.com/lab/e/compare/a...b"
    assert compare_page("https://gitlab.com/lab/e", "a", "b") == "https://gitlab.com/lab/e/-/compare/a...b"
    assert compare_page("https://bitbucket.org/lab/e", "a", "b") == "https://bitbucket.org/lab/e/branches/compare/b..a"
    assert compare_page("https://example.org/lab/e", "a", "b") == ""
