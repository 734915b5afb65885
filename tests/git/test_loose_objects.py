"""Objects that are written without a process are those which git would write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.git import fast_import
from minipach.git.fast_import import Stream
from minipach.git.loose_objects import LooseObjects, NotPlainError, loose_sizes
from minipach.git.repo import Repo
from minipach.git.tree_entries import EXECUTABLE, FILE, GITLINK, SYMLINK
from minipach.support.git_objects import blob_id
from tests.fixtures.repos import Files

REF = "refs/minipach/build/test"
WHO = "C Ommitter <c@example.org> 1700000000 +0100"


@pytest.fixture
def repo(tmp_path: Path) -> Files:
    made = Files.create(tmp_path / "repo")
    for path in ("a.txt", "d/b.txt", "d/e/f.txt", "d.x/g.txt", "d-x"):
        made.put(path, path)
    made.commit()
    return made


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, ...]]]:
    made: list[tuple[str, ...]] = []
    git = Repo.git

    def counting(self: Repo, *args: str, **options: object) -> bytes:
        made.append(args)
        return git(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Repo, "git", counting)
    yield made


def changes(repo: Files) -> Stream:
    """Commits with each kind of change: folders in place of files, and files in place of folders, too."""
    stream = Stream(REF, repo.head(), WHO)
    stream.commit("first\n\nbody \xe4\n", "A Uthor <a@example.org> 1600000000 +0000")
    shared = stream.blob(b"shared\n")
    stream.put(FILE, shared, "n/1")
    stream.put(EXECUTABLE, shared, "n/2")
    stream.write(SYMLINK, b"n/1", "link")
    stream.put(GITLINK, "1" * 40, "inputs/images")
    stream.write(FILE, b"", "d/b.txt/now a folder")
    stream.committer = "Another <other@example.org> 1700000000 +0100"  # each commit has that of its time
    stream.commit("second")
    stream.merge(str(repo.head()))
    stream.delete("d/e/f.txt")
    stream.delete("not there/at all")
    stream.delete("a.txt/below a file")
    stream.write(FILE, b"now a file", "d.x")
    stream.put(FILE, blob_id(b"a.txt"), '\u00fc \udce4"\\')
    stream.committer = WHO
    return stream


def test_git_and_we_make_the_same_commit(repo: Files, calls: list[tuple[str, ...]]) -> None:
    base = repo.head()
    ours = changes(repo).run(repo)
    assert [args for args in calls if "fast-import" in args or "update-ref" in args] == []
    assert repo.line("fsck", "--strict", "--no-dangling") == ""
    repo.git("update-ref", "-d", REF)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_import, "_ONE_BY_ONE", 0)
        theirs = changes(repo).run(repo)
    assert any("fast-import" in args for args in calls)
    assert ours == theirs != base


def test_what_is_there_already_is_not_written_again(repo: Files) -> None:
    repo.git("gc", "--quiet", "--prune=now")
    stream = Stream(REF, repo.head(), WHO)
    stream.commit("x")
    stream.write(FILE, b"a.txt", "copy.txt")
    stream.write(FILE, b"new", "d/new.txt")
    stream.run(repo)
    loose = {f"{p.parent.name}{p.name}" for p in (repo.path / ".git/objects").glob("[0-9a-f][0-9a-f]/*")}
    assert blob_id(b"a.txt") not in loose
    assert blob_id(b"new") in loose
    assert len(loose) == 4, "a blob, two trees, a commit"


def test_a_ref_of_others_is_left_to_git(repo: Files, calls: list[tuple[str, ...]]) -> None:
    stream = Stream("refs/heads/other", repo.head(), WHO)
    stream.commit("x")
    stream.write(FILE, b"new", "new.txt")
    assert stream.run(repo) == repo.resolve("refs/heads/other")
    assert any("fast-import" in args for args in calls)


def test_a_ref_that_somebody_has_locked_does_not_move(repo: Files) -> None:
    lock = repo.path / ".git" / f"{REF}.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("")
    with pytest.raises(OSError, match="exists"):
        LooseObjects.of(repo).set_ref(REF, str(repo.head()))
    assert lock.exists(), "it is not ours to remove"
    assert repo.resolve(REF) is None


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/minipach/../heads/main", "refs/minipach/a.lock", "HEAD"])
def test_only_refs_of_our_own_are_written(repo: Files, ref: str) -> None:
    with pytest.raises(NotPlainError):
        LooseObjects.of(repo).set_ref(ref, str(repo.head()))


@pytest.mark.parametrize("path", [".git/hooks/x", "a/../b", "a//b", "./a", "d/.GIT/x"])
def test_a_path_that_no_tree_may_have_is_left_to_git(repo: Files, path: str) -> None:
    stream = Stream(REF, repo.head(), WHO)
    stream.commit("x")
    stream.write(FILE, b"new", path)
    with pytest.raises(NotPlainError):
        stream._store(repo)
    assert repo.resolve(REF) is None


@pytest.mark.parametrize(
    "setting", ["core.sharedRepository=group", "core.fsync=all", "core.fsyncMethod=batch", "core.fsyncObjectFiles=true"]
)
def test_a_setting_that_asks_for_another_way_is_followed(repo: Files, setting: str) -> None:
    repo.git("config", *setting.split("="))
    with pytest.raises(NotPlainError):
        LooseObjects.of(repo)


def test_objects_have_the_modes_of_git(repo: Files) -> None:
    sha = LooseObjects.of(repo).add("blob", b"new")
    assert (repo.path / ".git/objects" / sha[:2] / sha[2:]).stat().st_mode & 0o777 == 0o444
    assert not [name for name in os.listdir(repo.path / ".git/objects" / sha[:2]) if name.startswith("tmp")]


@pytest.mark.parametrize("mask", [0o027, 0o077])
def test_the_umask_holds_for_objects_as_in_git(repo: Files, mask: int) -> None:
    before = os.umask(mask)
    try:
        ours, gits = LooseObjects.of(repo).add("blob", b"new"), repo.hash_blob(b"other")
    finally:
        os.umask(before)
    modes = [(repo.path / ".git/objects" / sha[:2] / sha[2:]).stat().st_mode & 0o777 for sha in (ours, gits)]
    assert modes == [0o444 & ~mask] * 2


def test_sizes_of_loose_objects(repo: Files) -> None:
    texts = [b"", b"x", os.urandom(100_000), b"text " * 50_000]
    shas = [repo.hash_blob(text) for text in texts]
    stored = LooseObjects(repo.path / ".git").add("blob", b"stored here " * 9000)
    assert loose_sizes(repo.path / ".git", [*shas, stored, "0" * 40]) == {
        **{sha: len(text) for sha, text in zip(shas, texts, strict=True)},
        stored: 108_000,
    }
    (repo.path / ".git/objects" / stored[:2] / stored[2:]).chmod(0o644)
    (repo.path / ".git/objects" / stored[:2] / stored[2:]).write_bytes(b"damaged")
    assert loose_sizes(repo.path / ".git", [stored]) == {}
