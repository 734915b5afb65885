"""Loose objects are read as git reads them; all others are git's to find."""

from __future__ import annotations

import subprocess
import zlib
from pathlib import Path

import pytest

from minipach.git.fast_import import Stream
from minipach.git.git_error import GitError
from minipach.git.loose_objects import LooseObjects
from minipach.git.loose_reader import LooseReader
from minipach.git.ref_files import UnsureError
from minipach.git.repo import Repo
from minipach.git.tree_entries import FILE, GITLINK
from minipach.support.git_objects import blob_id
from tests.fixtures.repos import Files


@pytest.fixture
def repo(tmp_path: Path) -> Files:
    made = Files.create(tmp_path / "repo")
    for path in ("a.txt", "d/e/\u00fc f.txt", b"d/odd\xff", "empty"):
        made.put(path, "" if path == "empty" else f"text of {path!r}")
    made.git("update-index", "--add", "--cacheinfo", f"{GITLINK},{'1' * 40},sub")
    made.commit()
    return made


def by_git(repo: Repo, name: str) -> tuple[str, str, bytes] | None:
    header, _, data = repo.git("cat-file", "--batch", stdin=f"{name}\n".encode(errors="surrogateescape")).partition(
        b"\n"
    )
    sha, *rest = header.decode(errors="surrogateescape").rsplit(" ", 2)
    return None if rest[-1] == "missing" else (sha, rest[0], data[:-1])


@pytest.mark.parametrize(
    "name",
    [
        *("HEAD", "HEAD^{tree}", "HEAD^{commit}", "refs/heads/main", "refs/heads/main^{tree}", "HEAD:"),
        *("HEAD:a.txt", "refs/heads/main:d", "HEAD:d/e/\u00fc f.txt", "HEAD:d/odd\udcff", "HEAD:empty"),
        *("HEAD:nothing", "HEAD:d/nothing", "HEAD:a.txt/below", "refs/heads/none", "refs/heads/none:a.txt"),
    ],
)
def test_an_object_is_found_by_its_name_as_git_finds_it(repo: Files, name: str) -> None:
    expected = by_git(repo, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", None)
        assert LooseReader(repo.path).find(name) == expected
        assert repo.objects.read(name) == (expected and expected[2])
        if expected:
            assert LooseReader(repo.path).find(expected[0]) == expected


@pytest.mark.parametrize(
    "name", ["HEAD~1", "main", "HEAD:./a.txt", "HEAD:sub", ":a.txt", "HEAD^{blob}", "HEAD:a\nb", ""]
)
def test_what_is_no_plain_name_is_gits(repo: Files, name: str) -> None:
    with pytest.raises(UnsureError):
        LooseReader(repo.path).find(name)


def test_what_is_packed_is_gits(repo: Files) -> None:
    repo.git("repack", "-adq")
    with pytest.raises(UnsureError):
        LooseReader(repo.path).find("HEAD:a.txt")
    assert repo.objects.read("HEAD:a.txt") == b"text of 'a.txt'"


def test_a_tag_is_gits(repo: Files) -> None:
    repo.git("tag", "-a", "-m", "one", "v1")
    with pytest.raises(UnsureError):
        LooseReader(repo.path).find("refs/tags/v1^{tree}")
    assert repo.objects.read("refs/tags/v1:a.txt") == b"text of 'a.txt'"


@pytest.mark.parametrize("data", [zlib.compress(b"blob 5\0other"), zlib.compress(b"blob 9\0short"), b"no object", b""])
def test_a_damaged_object_is_gits(repo: Files, data: bytes) -> None:
    sha = blob_id(b"text of 'a.txt'")
    file = repo.path / ".git/objects" / sha[:2] / sha[2:]
    file.chmod(0o644)
    file.write_bytes(data)
    with pytest.raises(UnsureError):
        LooseReader(repo.path).find(sha)


@pytest.mark.parametrize("data", [b"garbage", b"100644 a.txt", b"100644 a.txt\0short", b"odd a.txt\0" + b"1" * 20])
def test_a_malformed_tree_is_an_error_of_gits(repo: Files, data: bytes) -> None:
    """Git stores such a tree, if another clone has it."""
    commit = repo.commit_tree(LooseObjects.of(repo).add("tree", data), "malformed")
    asked = (lambda: repo.ls_tree(commit), lambda: repo.paths(commit), lambda: repo.names(commit))
    for ask in asked:
        with pytest.raises(GitError):
            ask()
    assert LooseReader(repo.path).resolve(f"{commit}:b.txt") is None
    stream = Stream("refs/minipach/build/test", commit, "a <a@example.org> 1 +0000")
    stream.commit("second")
    stream.put(FILE, stream.blob(b"text"), "new")
    with pytest.raises(GitError):
        stream.run(repo)


def test_a_linked_work_tree_and_another_format_are_gits(repo: Files, tmp_path: Path) -> None:
    repo.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    other = tmp_path / "other"
    subprocess.run(["git", "init", "--quiet", "--object-format=sha256", other], check=True)
    (other / "a.txt").write_text("a")
    for args in (("add", "a.txt"), ("-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "-m", "one")):
        subprocess.run(["git", "-C", other, *args], check=True)
    for top in (tmp_path / "linked", other):
        with pytest.raises(UnsureError):
            LooseReader(top).find("HEAD:a.txt")
        assert Repo(top).objects.read("HEAD:a.txt") in (b"a", b"text of 'a.txt'")


def test_a_process_begins_at_the_first_object_that_is_not_loose(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[object] = []
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **more: begun.append(args) or start(*args, **more))
    kept = repo.hash_blob(b"kept")
    repo.git("repack", "-adq")
    loose = repo.hash_blob(b"loose")
    begun.clear()
    reader = repo.objects
    assert (reader.read(loose), begun) == (b"loose", [])
    assert list(reader.read_many([loose, "HEAD:a.txt", kept, loose])) == [
        b"loose",
        b"text of 'a.txt'",
        b"kept",
        b"loose",
    ]
    assert list(reader.read_many(["HEAD:a.txt", kept])) == [b"text of 'a.txt'", b"kept"]
    assert len(begun) == 1
    reader.close()
    assert not reader.alive
