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


def test_malloc_keeps_its_memory_unless_the_user_has_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    env = child_environment()
    assert (env["MALLOC_TRIM_THRESHOLD_"], env["MALLOC_MMAP_THRESHOLD_"]) == ("1", "4194304")
