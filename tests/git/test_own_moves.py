"""The moves that minipach made itself, told apart from those of others."""

from __future__ import annotations

from pathlib import Path

from minipach.git.own_moves import is_own_move, note_moves
from minipach.git.repo import Repo
from minipach.model.local_state import LocalState
from tests.fixtures.projects import run


def test_chain_of_moves(tmp_path: Path) -> None:
    note_moves(tmp_path, ["create refs/heads/x a", "update refs/heads/x b a", "update refs/minipach/base z y", "start"])
    note_moves(tmp_path, ["update HEAD c b", "delete refs/heads/x c"])
    assert is_own_move(tmp_path, "a", "c") and is_own_move(tmp_path, "b", "c") and is_own_move(tmp_path, None, "b")
    assert not is_own_move(tmp_path, "c", "a") and not is_own_move(tmp_path, "y", "z")
    assert not is_own_move(tmp_path, "x", "c") and not is_own_move(tmp_path, None, "d")


def test_file_stays_small(tmp_path: Path) -> None:
    file = LocalState.of(tmp_path).own_moves
    file.parent.mkdir()
    file.write_text("".join(f"{n:040x} {n + 1:040x}\n" for n in range(5000)))
    note_moves(tmp_path, [f"update refs/heads/x {5001:040x} {5000:040x}"])
    assert len(file.read_text().splitlines()) == 1000
    assert is_own_move(tmp_path, f"{4990:040x}", f"{5001:040x}")


def test_each_transaction_is_noted_before_it(tmp_path: Path) -> None:
    for arguments in (("init", "-q", "-b", "main"), ("commit", "-q", "--allow-empty", "-m", "one")):
        run("git", *arguments, cwd=tmp_path)
    repo = Repo(tmp_path)
    head = repo.head()
    assert head is not None
    new = repo.commit_tree(repo.line("rev-parse", "HEAD^{tree}"), "two", [head])
    repo.update_refs([f"update refs/heads/main {new} {head}"])
    assert is_own_move(repo.common_dir, head, new) and repo.head() == new
