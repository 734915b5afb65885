"""A worktree that is written without a process is one of git's and git-annex's."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from minipach.git.git_error import GitError
from minipach.git.loose_objects import LooseObjects
from minipach.git.plain_attributes import system_attributes
from minipach.git.repo import Repo
from minipach.git.tree_entries import GITLINK
from minipach.git.worktree_files import write_worktree
from minipach.git.worktrees import Slot, remove_slot, slots_dir
from minipach.model.repo_layout import SLOT_BRANCH
from tests.fixtures.repos import Files


@pytest.fixture
def repo(tmp_path: Path) -> Files:
    made = Files.create(tmp_path / "repo", annex=True)
    made.in_git(".gitattributes", "* annex.backend=SHA256E -text\n/code/** annex.largefiles=nothing -ident\n")
    made.in_git("code/run.sh", "#!/bin/sh\r\n$Id$\n")
    (made.path / "code/run.sh").chmod(0o755)
    made.in_git("code/run.sh", "#!/bin/sh\r\n$Id$\n")
    made.in_git("d/\u00fc b", "text")
    (made.path / "link").symlink_to("code/run.sh")
    made.git("add", "link")
    made.put("big.bin", b"\0" * 5000)
    made.git("update-index", "--add", "--cacheinfo", f"{GITLINK},{'1' * 40},inputs/images")
    made.commit()
    assert made.objects.alive
    slots_dir(made).mkdir(parents=True)
    return made


def test_it_is_a_worktree_of_git_and_git_annex(repo: Files) -> None:
    base = repo.line("rev-parse", "HEAD")
    path = slots_dir(repo) / "minipach-1-x.0"
    assert write_worktree(repo, path, base, SLOT_BRANCH)
    here = Repo(path, own=True)
    assert here.line("status", "--porcelain", "--untracked-files=all") == ""
    assert here.line("diff-files", "--name-only") == ""
    assert here.git("ls-files", "--stage") == repo.git("ls-files", "--stage")
    assert here.line("rev-parse", "HEAD") == base
    assert here.line("symbolic-ref", "HEAD") == SLOT_BRANCH
    assert repo.line("for-each-ref", SLOT_BRANCH) == "", "a ref that only this worktree has"
    assert os.access(path / "code/run.sh", os.X_OK)
    assert (path / "code/run.sh").read_bytes() == b"#!/bin/sh\r\n$Id$\n"
    assert (path / "big.bin").read_bytes() == b"\0" * 5000
    assert (path / "inputs/images").is_dir()
    assert f"worktree {path}" in repo.line("worktree", "list", "--porcelain")
    (path / "new.bin").write_bytes(b"\1" * 5000)
    here.git("annex", "add", "--quiet", "new.bin")
    here.git("commit", "--quiet", "-m", "new")
    assert here.line("annex", "fsck", "--quiet") == ""
    assert repo.line("rev-parse", "HEAD") == base
    remove_slot(repo, path)
    assert repo.line("fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".gitattributes", "*.sh text eol=crlf\n"),
        ("d/.gitattributes", "* ident\n"),
        ("d/.gitattributes", "[attr]odd filter=other\n"),
        ("d/.gitattributes", '"a b" working-tree-encoding=UTF-16\n'),
        ("d/unlocked", "/annex/objects/SHA256E-s5--0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"),
    ],
)
def test_what_is_converted_is_left_to_git(repo: Files, path: str, content: str) -> None:
    repo.in_git(path, content)
    slot = slots_dir(repo) / "minipach-1-x.0"
    assert not write_worktree(repo, slot, repo.commit(), SLOT_BRANCH)
    assert not slot.exists()
    assert not (repo.path / ".git/worktrees").exists()


@pytest.mark.parametrize(
    "setting", [("core.fileMode", "false"), ("core.ignoreCase", "true"), ("extensions.worktreeConfig", "true")]
)
def test_unusual_settings_are_left_to_git(repo: Files, setting: tuple[str, str]) -> None:
    repo.git("config", *setting)
    assert not write_worktree(repo, slots_dir(repo) / "minipach-1-x.0", repo.line("rev-parse", "HEAD"), SLOT_BRANCH)


def test_rules_of_the_clone_are_left_to_git(repo: Files) -> None:
    with (repo.path / ".git/info/attributes").open("a") as file:
        file.write("*.sh text eol=crlf\n")
    assert not write_worktree(repo, slots_dir(repo) / "minipach-1-x.0", repo.line("rev-parse", "HEAD"), SLOT_BRANCH)


def test_a_slot_that_a_kill_left_half_made_is_made_again(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    base = repo.line("rev-parse", "HEAD")
    slot = Slot(repo, slots_dir(repo) / "minipach-1-x.0")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("write_index", "os.path.relpath"):
        with monkeypatch.context() as patch:
            patch.setattr(f"minipach.git.worktree_files.{step}", killed)
            with pytest.raises(KeyboardInterrupt):
                slot.reset(base)
        slot.reset(base)
        assert slot.head() == base
        assert slot.repo.line("status", "--porcelain") == ""
        slot.remove()


def hostile(repo: Repo, rows: list[tuple[str, str, bytes]]) -> str:
    """Return a commit of a tree that git would not make: (mode, name, text of a file, or of one in a folder)."""
    store = LooseObjects(repo.path / ".git")

    def tree(mode: str, name: str, sha: str) -> bytes:
        return f"{mode} {name}\0".encode() + bytes.fromhex(sha)

    data = b""
    for mode, name, text in rows:
        sha = store.add("blob", text)
        data += tree(mode, name, store.add("tree", tree("100644", "new.sh", sha)) if mode == "40000" else sha)
    return repo.commit_tree(store.add("tree", data), "hostile")


@pytest.mark.parametrize("kind", ["behind a link", "above", "hook", "backslash"])
def test_a_hostile_tree_writes_nothing_elsewhere(repo: Files, tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    rows = {
        "behind a link": [("120000", "a", os.fsencode(victim)), ("40000", "a", b"evil")],
        "above": [("40000", "..", b"evil")],
        "hook": [("40000", ".GIT", b"evil")],
        "backslash": [("100644", "a\\.git\\hooks", b"evil")],
    }[kind]
    base = hostile(repo, rows)
    path = slots_dir(repo) / "minipach-1-x.0"
    assert not write_worktree(repo, path, base, SLOT_BRANCH)
    assert not path.exists()
    with contextlib.suppress(GitError):
        Slot(repo, path).reset(base)
    assert not list(victim.iterdir())
    assert not [file for file in repo.path.rglob("new.sh") if file != path / "a/new.sh"]


def test_attributes_of_the_system_are_left_to_git(repo: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = (tmp_path / "none", tmp_path / "gitattributes")
    places[1].write_text("* ident\n")
    monkeypatch.setattr("minipach.git.worktree_files.system_attributes", lambda _: tuple(map(str, places)))
    assert system_attributes("")[0] == "/etc/gitattributes"
    assert not write_worktree(repo, slots_dir(repo) / "minipach-1-x.0", repo.line("rev-parse", "HEAD"), SLOT_BRANCH)
