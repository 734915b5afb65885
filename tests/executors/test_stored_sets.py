"""Sets that wait: refs and files hold the same JSON, and neither is taken if it isn't what its name says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from minipach.executors import stored_sets
from minipach.executors.stored_sets import UnknownSetError
from minipach.git.repo import Repo
from minipach.model.repo_layout import SET_REFS
from tests.fixtures.work_sets import a_set


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    subprocess.run(["git", "init", "-q", str(tmp_path / "repo")], check=True)
    return Repo(tmp_path / "repo")


def test_a_set_comes_back_from_both_forms(repo: Repo, tmp_path: Path) -> None:
    work = a_set(2)
    stored_sets.write_sets(repo, [work])
    stored_sets.write_file(tmp_path, work)
    assert stored_sets.read_set(repo, work.id) == stored_sets.read_file(tmp_path, work.id) == work
    assert stored_sets.set_ids(repo) == set(stored_sets.file_ids(tmp_path)) == {work.id}
    stored_sets.drop_sets(repo, [work.id, "0" * 40])
    stored_sets.drop_file(tmp_path, work.id)
    stored_sets.drop_file(tmp_path, work.id)
    assert not stored_sets.set_ids(repo) and not stored_sets.file_ids(tmp_path)


def test_a_set_under_the_name_of_another_is_refused(repo: Repo, tmp_path: Path) -> None:
    two, three = a_set(2), a_set(3)
    stored_sets.write_file(tmp_path, two)
    (tmp_path / f"{three.id}.json").write_text((tmp_path / f"{two.id}.json").read_text())
    stored_sets.write_sets(repo, [two])
    repo.git("update-ref", f"{SET_REFS}{three.id}", f"{SET_REFS}{two.id}")
    for read in (lambda: stored_sets.read_file(tmp_path, three.id), lambda: stored_sets.read_set(repo, three.id)):
        with pytest.raises(UnknownSetError, match="not what its name says"):
            read()
    assert stored_sets.known_sets(repo) == {two.id: two, three.id: None}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"id": 1}'])
def test_damage_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / f"{'0' * 40}.json").write_text(text)
    with pytest.raises(UnknownSetError):
        stored_sets.read_file(tmp_path, "0" * 40)
