"""Refs that are read from git's files are those that git itself reads."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from minipach.git.object_reader import CatFile
from minipach.git.ref_files import UnsureError, git_folder, read_head, read_ref, read_refs
from minipach.git.repo import Repo


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "file").write_text("x\n")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "one")
    for name in ("results/a", "results/b", "other"):
        git(tmp_path, "update-ref", f"refs/minipach/{name}", "HEAD")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "two")
    return tmp_path


def same(repo: Path) -> None:
    """What the files say is what git says."""
    folder = git_folder(repo)
    assert read_ref(folder, "HEAD") == git(repo, "rev-parse", "HEAD") == Repo(repo).head()
    for ref in ("refs/heads/main", "refs/minipach/other", "refs/minipach/results/a"):
        assert read_ref(folder, ref) == git(repo, "rev-parse", ref) == Repo(repo).resolve(ref)
    listed = git(repo, "for-each-ref", "--format=%(refname) %(objectname)", "refs/minipach/").splitlines()
    assert [f"{name} {value}" for name, value in read_refs(folder, "refs/minipach/").items()] == listed


def test_loose_packed_and_mixed_refs(repo: Path) -> None:
    same(repo)
    git(repo, "pack-refs", "--all")
    assert not (repo / ".git/refs/heads/main").exists()
    same(repo)
    git(repo, "commit", "-q", "--allow-empty", "-m", "three")
    git(repo, "update-ref", "refs/minipach/results/a", "HEAD")
    same(repo)
    git(repo, "update-ref", "-d", "refs/minipach/results/b")
    same(repo)
    (repo / ".git/refs/minipach/other.lock").touch()
    same(repo)


def test_what_is_not_there(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = git_folder(repo)
    assert read_ref(folder, "refs/heads/none") is None
    assert read_ref(folder, "refs/minipach/results") is None, "a folder of refs is none"
    assert read_refs(folder, "refs/none/") == {}
    empty = tmp_path_factory.mktemp("empty")
    git(empty, "init", "-q", "-b", "main")
    assert Repo(empty).head() is None and Repo(empty).branch() == "main"


def test_git_is_asked_where_the_files_do_not_say_it(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = git_folder(repo)
    for odd in ("refs/heads/../../config", "refs/heads/.x", "refs/heads/a b", "main", "refs/heads/x.lock", "refs/"):
        with pytest.raises(UnsureError):
            read_ref(folder, odd)
    with pytest.raises(UnsureError):
        read_refs(folder, "refs/remotes/*/minipach")
    git(repo, "symbolic-ref", "refs/heads/link", "refs/heads/main")
    with pytest.raises(UnsureError):
        read_ref(folder, "refs/heads/link")
    assert Repo(repo).resolve("refs/heads/link") == Repo(repo).head()
    tree = tmp_path_factory.mktemp("tree") / "second"
    git(repo, "worktree", "add", "-q", "--detach", str(tree), "HEAD~1")
    with pytest.raises(UnsureError):
        git_folder(tree)
    assert Repo(tree).head() == git(repo, "rev-parse", "HEAD~1") and Repo(tree).branch() is None
    (repo / ".git/HEAD").write_text("ref: refs/remotes/origin/main\n")
    with pytest.raises(UnsureError):
        read_head(folder)


def test_a_link_in_place_of_a_ref_names_another(repo: Path) -> None:
    git(repo, "-c", "core.preferSymlinkRefs=true", "symbolic-ref", "HEAD", "refs/heads/main")
    git(repo, "-c", "core.preferSymlinkRefs=true", "symbolic-ref", "refs/minipach/link", "refs/heads/main")
    assert (repo / ".git/HEAD").is_symlink() and (repo / ".git/refs/minipach/link").is_symlink()
    folder = git_folder(repo)
    assert Repo(repo).branch() == "main"
    for name in ("HEAD", "refs/minipach/link"):
        with pytest.raises(UnsureError):
            read_ref(folder, name)
        assert Repo(repo).resolve(name) == git(repo, "rev-parse", "main")
    with pytest.raises(UnsureError):
        read_refs(folder, "refs/minipach/")


def test_an_empty_ref_does_not_go_back_to_the_packed_one(repo: Path) -> None:
    git(repo, "pack-refs", "--all")
    (repo / ".git/refs/heads/main").touch()
    with pytest.raises(UnsureError):
        read_ref(git_folder(repo), "refs/heads/main")
    assert Repo(repo).head() is None


def test_a_detached_head(repo: Path) -> None:
    git(repo, "checkout", "-q", "--detach", "HEAD~1")
    assert Repo(repo).branch() is None
    assert Repo(repo).head() == read_head(git_folder(repo)) == git(repo, "rev-parse", "HEAD")


def test_the_object_reader_resolves_names_unless_it_is_at_something_else(repo: Path) -> None:
    git(repo, "repack", "-adq")  # what is loose needs no process
    reader = CatFile(repo)
    try:
        tree = git(repo, "rev-parse", "HEAD^{tree}")
        assert reader.resolve("HEAD^{tree}") == tree
        assert reader.resolve("HEAD:none") is None and reader.resolve("two\nlines") is None
        contents = reader.read_many(["HEAD:file", "HEAD:none", "HEAD:file"])
        assert next(contents) == b"x\n"
        answers: list[str | None] = []
        other = threading.Thread(target=lambda: answers.append(reader.resolve("HEAD^{tree}")))
        other.start()
        other.join()
        assert answers == [None], "the answers to the first question come first"
        assert list(contents) == [None, b"x\n"]
        assert reader.resolve("HEAD^{tree}") == tree
    finally:
        reader.close()
