"""The repo of a clock's ticks: the same in each clone, and never in the place of something else."""

from __future__ import annotations

import pytest

from minipach.git.repo import is_dataset
from minipach.project.project import Project
from minipach.project.tick_repos import make_tick_repo
from tests.fixtures.plain_projects import root
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files

__all__ = ["root"]  # the fixture


def said(repo: Files, *arguments: str) -> str:
    """What git prints in a repository."""
    return repo.git(*arguments).decode().rstrip("\n")


def made(root: Files, path: str) -> str:
    """Make the repo, and return its commit."""
    assert make_tick_repo(Project(root.path), path)
    return said(Files(root.path / path), "rev-parse", "HEAD")


@pytest.mark.parametrize("path", ["ticks", "clocks/night"])
def test_it_is_made_registered_and_not_again(root: Files, path: str) -> None:
    commit = made(root, path)
    assert said(root, "rev-parse", f"HEAD:{path}") == commit
    assert said(root, "status", "--porcelain") == ""
    assert said(Files(root.path / path), "status", "--porcelain") == ""
    before = said(root, "rev-parse", "HEAD")
    assert not make_tick_repo(Project(root.path), path)
    assert said(root, "rev-parse", "HEAD") == before


def test_two_clones_make_the_same_first_commit(root: Files) -> None:
    first, other = made(root, "ticks"), made(root, "more")
    assert first != other, "the path counts"
    said(root, "reset", "-q", "--hard", "HEAD~2")
    for name in ("ticks", "more"):
        (root.path / name).rename(root.path.parent / name)
    assert made(root, "ticks") == first


def test_one_that_is_made_and_not_registered_is_registered(root: Files) -> None:
    """As after a kill between the two steps."""
    commit = made(root, "ticks")
    said(root, "reset", "-q", "--soft", "HEAD^")
    said(root, "reset", "-q")
    (root.path / ".gitmodules").unlink()
    assert made(root, "ticks") == commit
    assert said(root, "rev-parse", "HEAD:ticks") == commit


def test_an_empty_folder_is_taken_and_anything_else_is_not(root: Files) -> None:
    (root.path / "empty").mkdir()
    made(root, "empty")
    (root.path / "full").mkdir()
    (root.path / "full/mine").write_text("mine")
    (root.path / "file").write_text("mine")
    (root.path / "link").symlink_to("nowhere")
    for name in ("full", "file", "link"):
        with refused("cron.repo-taken", name):
            make_tick_repo(Project(root.path), name)
        assert not is_dataset(root.path / name)
    assert (root.path / "full/mine").read_text() == (root.path / "file").read_text() == "mine"


def test_one_that_is_registered_and_not_here_is_not_made_again(root: Files) -> None:
    """In a clone that has not installed it: another history would be made beside that of the origin."""
    made(root, "ticks")
    (root.path / "ticks").rename(root.path.parent / "away")
    (root.path / "ticks").mkdir()
    with refused("repo.not-installed"):
        make_tick_repo(Project(root.path), "ticks")
