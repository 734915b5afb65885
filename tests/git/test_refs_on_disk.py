"""Branches read from files: the same answers as git's."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.git.refs_on_disk import folders_of, read_tips
from tests.fixtures.projects import run


def git(top: Path, *arguments: str) -> str:
    done = run("git", *arguments, cwd=top)
    assert done.code == 0, done.err
    return done.out.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    top = tmp_path / "repo"
    top.mkdir()
    git(top, "init", "-q", "-b", "main")
    git(top, "commit", "-q", "--allow-empty", "-m", "one")
    for name in ("a/b/c", "git-annex", "synced/main", "minipach", "ä"):
        git(top, "branch", name)
    git(top, "tag", "v1")
    return top


def by_git(top: Path) -> dict[str, str]:
    rows = git(top, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads").splitlines()
    found = dict(row.rsplit(" ", 1) for row in rows)
    for name in ("git-annex", "synced/main", "minipach"):
        found.pop(f"refs/heads/{name}", None)
    return found


def test_loose_packed_and_both(repo: Path) -> None:
    assert read_tips(repo) == {"HEAD": "ref: refs/heads/main", **by_git(repo)}
    git(repo, "pack-refs", "--all")
    assert read_tips(repo) == {"HEAD": "ref: refs/heads/main", **by_git(repo)}
    git(repo, "commit", "-q", "--allow-empty", "-m", "two")
    git(repo, "branch", "-D", "a/b/c")
    tips = read_tips(repo)
    assert tips == {"HEAD": "ref: refs/heads/main", **by_git(repo)} and len(tips) == 3


def test_detached_head_and_linked_working_tree(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", "--detach", str(tmp_path / "other"))
    tips = read_tips(tmp_path / "other")
    assert tips is not None and tips.pop("HEAD") == git(repo, "rev-parse", "HEAD")
    assert tips == by_git(repo)
    folders = folders_of(tmp_path / "other")
    assert folders is not None and folders.common == repo / ".git" and folders.own.parent.name == "worktrees"


def test_git_folder_of_a_submodule(repo: Path, tmp_path: Path) -> None:
    top = tmp_path / "super"
    top.mkdir()
    git(top, "init", "-q")
    git(top, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repo), "sub")
    folders = folders_of(top / "sub")
    assert folders is not None and folders.own == folders.common == top / ".git/modules/sub"
    tips = read_tips(top / "sub")
    assert tips is not None and tips["refs/heads/main"] == git(repo, "rev-parse", "main")


def test_other_format_is_read_by_git(repo: Path) -> None:
    (repo / ".git/reftable").mkdir()
    assert read_tips(repo) == {"HEAD": "ref: refs/heads/main", **by_git(repo)}


@pytest.mark.parametrize("content", [None, "", "nonsense", "gitdir: /nowhere", "gitdir: \udcff"])
def test_no_repository(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / ".git").write_text(content, errors="surrogateescape")
    assert read_tips(tmp_path) is None
