"""The private clones of workers: how they begin, and when their stores are set up."""

from __future__ import annotations

from pathlib import Path

from minipach.executors.clones import Clones
from minipach.executors.transfer import Transfer
from minipach.git.repo import Repo
from minipach.model.local_state import LocalState
from tests.fixtures.projects import Study


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
