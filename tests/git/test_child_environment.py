"""The environments of child processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.git.child_environment import child_environment
from tests.fixtures.repos import Files


def test_children_find_our_programs_and_no_foreign_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert "GIT_DIR" not in child_environment()
    assert child_environment({"GIT_INDEX_FILE": "mine"})["GIT_INDEX_FILE"] == "mine"
    repo = Files.create(tmp_path / "repo")
    repo.put("a", "a")
    repo.commit()
    assert repo.head() is not None
    assert repo.git("annex", "version", "--raw")
