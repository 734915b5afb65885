"""`minipach.git.network`: git commands that end when nobody answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.git.git_error import GitError
from minipach.git.network import TIMED_OUT, unattended
from minipach.git.repo import Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    Repo(tmp_path).git("init", "--quiet")
    return Repo(tmp_path)


def test_a_command_that_hangs_is_ended_with_its_children(repo: Repo) -> None:
    hang = "!sleep 600 & echo $! >pid; wait"
    with unattended(0.5), pytest.raises(GitError) as caught:
        repo.git("-c", f"alias.hang={hang}", "hang")
    assert caught.value.code == TIMED_OUT and "no answer" in caught.value.stderr
    stat = Path("/proc", (repo.path / "pid").read_text().strip(), "stat")
    assert not stat.exists() or stat.read_text().rpartition(") ")[2][0] == "Z"  # SIGKILL came before the end


def test_what_it_prints_and_reads_is_as_without_a_limit(repo: Repo) -> None:
    with unattended(60):
        sha = repo.line("hash-object", "-w", "--stdin", stdin=b"text")
        assert repo.git("cat-file", "blob", sha) == b"text"
        assert repo.config("annex.stalldetection") is not None
        assert os.environ["GIT_TERMINAL_PROMPT"] == "0"
        with pytest.raises(GitError):
            repo.git("no-such-command")
    assert "GIT_TERMINAL_PROMPT" not in os.environ and repo.config("annex.stalldetection") is None
