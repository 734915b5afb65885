"""The git plumbing, with real repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipach.git.git_error import GitError
from minipach.git.repo import Repo, need_identity, private_index
from minipach.git.tree_entries import EXECUTABLE, FILE, GITLINK, SYMLINK, TreeEntry
from minipach.project.permissions import explain
from minipach.support.git_objects import blob_id
from tests.fixtures.git_files import HOSTILE, repo
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files, tree_of

__all__ = ["repo"]  # the fixture
ZERO = "0" * 40


def test_a_tree_is_listed_with_full_paths(repo: Files) -> None:
    entries = {e.path: e.mode for e in repo.ls_tree("HEAD", recursive=True) if not e.path.startswith("odd/")}
    assert entries == {"a.txt": FILE, "d/b.txt": FILE, "d/run.sh": EXECUTABLE, "link": SYMLINK}
    assert [e.path for e in repo.ls_tree("HEAD")] == ["a.txt", "d", "link", "odd"]
    assert [e.path for e in repo.ls_tree("HEAD", "d/")] == ["d/b.txt", "d/run.sh"]


def test_hostile_names_are_listed_as_they_are(repo: Files) -> None:
    found = {os.fsencode(e.path) for e in repo.ls_tree("HEAD", "odd/", recursive=True)}
    assert found == {b"odd/" + path for path in HOSTILE}


def test_revisions_are_resolved_or_none(repo: Files) -> None:
    head = repo.head()
    assert head == repo.resolve("HEAD") == repo.resolve("main^{commit}") == repo.line("rev-parse", "HEAD")
    assert repo.resolve("nothing") is None
    assert repo.resolve("HEAD:nothing") is None
    assert repo.resolve("--all") is None  # a name that looks like an option is a name


def test_a_repository_without_commits_has_a_branch_and_no_head(tmp_path: Path) -> None:
    empty = Files.create(tmp_path / "empty")
    assert empty.head() is None
    assert empty.branch() == "main"


def test_a_detached_head_is_no_branch(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo")
    repo.put("a")
    repo.commit()
    repo.git("checkout", "--quiet", "--detach")
    assert repo.branch() is None


def test_a_failing_command_says_what_git_said(repo: Files) -> None:
    with pytest.raises(GitError) as caught:
        repo.git("show", "nothing")
    assert caught.value.code == 128
    assert "nothing" in caught.value.stderr
    assert str(repo.path) in str(caught.value)
    assert repo.git("show", "nothing", ok=(128,)) == b""
    assert not repo.succeeds("show", "nothing")
    assert repo.succeeds("show", "HEAD")


def test_refs_move_all_together_or_not_at_all(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo")
    one, two = repo.commit("one"), repo.commit("two")
    repo.update_refs([f"create refs/minipach/a {one}", f"create refs/minipach/b {one}"])
    with pytest.raises(GitError):
        repo.update_refs([f"update refs/minipach/a {two} {one}", f"update refs/minipach/b {two} {two}"])
    assert repo.refs("refs/minipach/") == {"refs/minipach/a": one, "refs/minipach/b": one}
    repo.update_refs([f"update refs/minipach/a {two} {one}", f"delete refs/minipach/b {one}"])
    assert repo.refs("refs/minipach/") == {"refs/minipach/a": two}
    repo.update_refs([])


def test_settings_are_read_from_the_repository_a_file_or_a_commit(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo")
    repo.git("config", "minipach.jobs", "3")
    repo.put(".datalad/config", '[minipach "x"]\n\tname = a = b\n')
    repo.commit()
    assert repo.config("minipach.jobs") == "3"
    assert repo.config("minipach.other") is None
    assert repo.config("minipach.x.name", str(repo.path / ".datalad/config")) == "a = b"
    assert repo.config("minipach.x.name", "blob:HEAD:.datalad/config") == "a = b"
    assert repo.config("minipach.x.name", "blob:HEAD:nothing") is None


def test_a_tree_is_written_without_touching_the_index(repo: Files) -> None:
    before = (repo.path / ".git" / "index").read_bytes()
    blob = repo.hash_blob(b"new")
    tree = repo.write_tree(
        [TreeEntry(FILE, blob, "x/y"), TreeEntry(GITLINK, "1" * 40, "sub"), TreeEntry(SYMLINK, blob, "l")]
    )
    assert {e.path: e.mode for e in repo.ls_tree(tree, recursive=True)} == {"x/y": FILE, "sub": GITLINK, "l": SYMLINK}
    assert (repo.path / ".git" / "index").read_bytes() == before
    assert not list(repo.common_dir.glob("minipach-*"))


# No part of a path may be ".", ".." or (in any case, also as Windows or HFS+ would read it) ".git".
_part = st.binary(min_size=1, max_size=12).filter(
    lambda b: not {0, ord("/"), ord("\\")} & set(b) and b".git" not in b.lower() and b not in (b".", b"..")
)
_paths = st.lists(_part, min_size=1, max_size=3).map(b"/".join).filter(lambda p: b"git" not in p.lower())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(_paths, min_size=1, max_size=5))
def test_a_tree_keeps_any_path(repo: Files, paths: set[bytes]) -> None:
    files = {p for p in paths if not any(o.startswith(p + b"/") for o in paths)}
    tree = tree_of(repo, {os.fsdecode(p): p for p in files})
    assert repo.listing(tree) == {p: f"100644 blob {blob_id(p)}".encode() for p in files}


def test_an_index_of_ones_own_is_gone_afterwards(tmp_path: Path) -> None:
    with private_index(tmp_path / "index") as env:
        where = Path(env["GIT_INDEX_FILE"])
        where.touch()
        where.with_name(where.name + ".lock").touch()
    assert not list(tmp_path.iterdir())


def test_a_commit_has_the_tree_parents_and_message_asked_for(repo: Files) -> None:
    head = repo.line("rev-parse", "HEAD")
    tree = repo.line("rev-parse", "HEAD:d")
    commit = repo.commit_tree(tree, "title\n\n# no comment\n", [head])
    assert repo.line("log", "-1", "--format=%T %P%n%B", commit) == f"{tree} {head}\ntitle\n\n# no comment"
    assert repo.line("rev-parse", "HEAD") == head


def test_worktrees_share_one_folder(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo")
    repo.commit()
    repo.git("worktree", "add", "--quiet", str(tmp_path / "tree"), "--detach")
    assert Repo(tmp_path / "tree").common_dir == repo.common_dir == repo.path / ".git"


def test_who_commits_must_be_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = Files.create(tmp_path / "repo")
    need_identity(repo)
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    repo.git("config", "user.useConfigOnly", "true")
    with refused("git.no-identity", "git", "git config --global user.name"):
        need_identity(repo)


@pytest.mark.parametrize("data", [b"", b"alpha", b"\0\r\n" * 100])
def test_blob_ids_are_gits(repo: Files, data: bytes) -> None:
    assert blob_id(data) == repo.hash_blob(data)


# A repository that is broken


def test_git_never_goes_on_in_the_repository_around(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "around"], cwd=tmp_path, check=True)
    around = Repo(tmp_path / "around")
    around.git("commit", "-q", "--allow-empty", "-m", "begin")
    inner = Repo(around.path / "inner")
    (inner.path / ".git").mkdir(parents=True)  # as an interrupted clone leaves it, or as nobody may enter it
    for question in (inner.head, inner.branch, lambda: inner.names("HEAD"), lambda: inner.objects.read("HEAD:")):
        with pytest.raises(GitError):
            question()
    with pytest.raises(GitError) as found:
        inner.head()
    said = explain(found.value, tmp_path)
    assert said is not None and (said.code, said.location) == ("repo.broken", f"{inner.path}/.git")
