"""The private clones of workers: how they begin, and when their stores are set up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.executors import clones as clones_module
from minipach.executors.clones import Clones, ContentCache, trim
from minipach.executors.stored_sets import UnknownSetError, write_sets
from minipach.executors.transfer import Transfer
from minipach.git.repo import Repo
from minipach.model.local_state import LocalState
from minipach.model.repo_layout import RESULT_REFS, SET_REFS
from tests.fixtures.projects import Study
from tests.fixtures.work_sets import a_set


def test_a_clone_has_an_empty_commit_checked_out(study: Study, tmp_path: Path) -> None:
    """Without one, git-annex starts two processes of git for each content that it fetches."""
    clones = Clones(tmp_path / "worker", f"file://{study.root}")
    clones.top()
    repo = clones.clone("images")
    head = repo.head()
    assert head is not None and repo.ls_tree(head) == []
    assert repo.git("status", "--porcelain") == b""

    # killed just before it was ready: it is taken over
    LocalState.in_root(clones.root).ready.unlink()
    assert Clones(clones.root, clones.url).top().head() is not None


def test_a_store_is_set_up_in_a_clone_when_contents_need_it(study: Study, tmp_path: Path) -> None:
    study.put("images/b", "content of b")
    study.ok("datalad", "save", "-r", "-m", "inputs")
    assert study.minipach("store", "add", "lab", "--dir", str(tmp_path / "store")).code == 0
    source = Repo(study.root / "images")
    key = source.line("annex", "lookupkey", "b")
    source.git("annex", "copy", "--quiet", "--to=lab", "b")
    clones = Clones(tmp_path / "worker", f"file://{study.root}")
    clones.use_stores(["lab"], lambda _line: None)
    repo = clones.clone("images")
    assert repo.config("remote.lab.annex-uuid") is None

    source.git("annex", "drop", "--quiet", "--force", "b")  # from now on, only the store has it
    found = Transfer(clones)._located(repo, {key})
    assert found[key].read_bytes() == b"content of b"


def test_clones_are_found_while_git_annex_removes_folders(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of git-annex that went away at that moment ended the process that pushes results."""
    clones = Clones(tmp_path / "worker", f"file://{study.root}")
    clones.top()
    clones.clone("images")
    looked_at = []
    scandir = os.scandir

    def noting(path: str) -> Iterator[os.DirEntry[str]]:
        looked_at.append(os.fspath(path))
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", noting)
        found = clones.known()
    assert found == [clones.root, clones.root / "images"]
    assert not any(".git" in path for path in looked_at), "thousands of folders of contents"


def test_contents_are_counted_again_only_where_they_may_be_too_many(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clones = Clones(tmp_path / "worker", f"file://{study.root}")
    clones.top()
    counts = []
    monkeypatch.setattr(clones_module, "trim", lambda *given: counts.append(given) or trim(*given))
    for _ in range(3):
        ContentCache(clones, 1).trim()
    large = ContentCache(clones, 10**9)
    for _ in range(3):
        large.trim()
    assert len(counts) == 4


def test_a_set_that_waits_to_be_pushed_keeps_its_result(study: Study, tmp_path: Path) -> None:
    """Its set is fetched again meanwhile: Redis gave it to this worker twice."""
    clones = Clones(tmp_path / "worker", f"file://{study.root}")
    clones.top()
    repo, origin = clones.clone("images"), Repo(study.root / "images")
    work = a_set(1, repo=str(origin.path), base=origin.head() or "")
    write_sets(origin, [work])
    fetched: list[str] = []
    assert Transfer(clones).fetch_set(repo, work.id, fetched) == work
    assert fetched == [SET_REFS + work.id]

    result = RESULT_REFS + work.id
    repo.update_refs([f"update {result} {repo.head()}"])
    fetched = []
    Transfer(clones).fetch_set(repo, work.id, fetched)
    assert fetched == [SET_REFS + work.id], "the project has no result"
    assert repo.resolve(result) == repo.head()
    with pytest.raises(UnknownSetError):
        Transfer(clones).fetch_set(repo, "0" * 40, [])
