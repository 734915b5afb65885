"""The commit of an input that a clone can have too."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.project.branch_check import pushable
from minipach.support.errors import UserError
from tests.fixtures.repos import Files

ADJUSTED = "adjusted/main(unlocked)"


def test_on_an_adjusted_branch_a_commit_of_the_own_branch_counts_and_no_other(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "images")
    head = repo.commit()
    repo.git("switch", "--quiet", "-c", ADJUSTED)
    assert pushable(repo, "images", ADJUSTED, head) == head
    with pytest.raises(UserError) as caught:
        pushable(repo, "images", ADJUSTED, repo.commit("only here"))
    assert [problem.code for problem in caught.value.problems] == ["branch.adjusted-diverged"]


def test_on_a_detached_head_a_commit_of_a_branch_or_tag_counts(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "images")
    head = repo.commit()
    repo.git("switch", "--quiet", "--detach")
    assert pushable(repo, "images", None, head) == head
    only_here = repo.commit("only here")
    with pytest.raises(UserError) as caught:
        pushable(repo, "images", None, only_here)
    assert [problem.code for problem in caught.value.problems] == ["branch.detached"]
    repo.git("tag", "v1")
    assert pushable(repo, "images", None, only_here) == only_here
