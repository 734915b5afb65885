"""The fast-import writer: commits without an index, for any path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipach.git import fast_import
from minipach.git.fast_import import Stream, committer, quote
from minipach.git.git_error import GitError
from minipach.git.tree_entries import EXECUTABLE, FILE, GITLINK, SYMLINK
from minipach.support.git_objects import blob_id
from tests.fixtures.repos import Files

REF = "refs/minipach/build/test"
WHO = "C Ommitter <c@example.org> 1700000000 +0100"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A repository to add commits to; its branch stays."""
    made = Files.create(tmp_path_factory.mktemp("fastimport") / "repo")
    made.put("a.txt", "alpha")
    made.put("d/b.txt", "beta")
    made.commit()
    return made


def on(repo: Files, parent: str | None = "HEAD") -> Stream:
    return Stream(REF, repo.resolve(parent) if parent else None, WHO)


def test_commits_hang_on_each_other(repo: Files) -> None:
    stream = on(repo)
    stream.commit("first\n\nbody\n")
    stream.write(FILE, b"new", "n.txt")
    stream.commit("second", "A Uthor <a@example.org> 1600000000 +0000")
    stream.delete("a.txt")
    stream.put(EXECUTABLE, blob_id(b"beta"), "run")
    last = stream.run(repo)
    assert last == repo.resolve(REF)
    assert set(repo.listing(f"{last}^")) == {b"a.txt", b"d/b.txt", b"n.txt"}
    assert set(repo.listing(str(last))) == {b"d/b.txt", b"n.txt", b"run"}
    log = repo.line("log", "--reverse", "--format=%an %at, %cn %ct: %s", f"HEAD..{last}")
    assert log.splitlines() == [
        "C Ommitter 1700000000, C Ommitter 1700000000: first",
        "A Uthor 1600000000, C Ommitter 1700000000: second",
    ]
    assert repo.line("rev-parse", f"{last}~2") == repo.head()


def test_content_of_many_paths_is_sent_once(repo: Files) -> None:
    stream = on(repo)
    stream.commit("first")
    shared, other = stream.blob(b"shared\n"), stream.blob(b"")
    for path in ("x", "d/y"):
        stream.put(FILE, shared, path)
    stream.commit("second")
    stream.put(EXECUTABLE, shared, "x")
    stream.put(FILE, other, "z")
    last = stream.run(repo)
    modes = {path: meta.split()[0].decode() for path, meta in repo.listing(str(last)).items()}
    assert [modes[path] for path in (b"x", b"d/y", b"z")] == [EXECUTABLE, FILE, FILE]
    assert [repo.objects.read(f"{last}:{path}") for path in ("x", "d/y", "z")] == [b"shared\n", b"shared\n", b""]
    assert repo.line("rev-list", "--count", f"HEAD..{last}") == "2"


def test_without_a_commit_nothing_happens(repo: Files) -> None:
    assert on(repo).run(repo) == repo.head()
    assert on(repo, None).run(repo) is None


@pytest.mark.parametrize("count", [1, 30, 300])
def test_what_is_kept_is_compressed(tmp_path: Path, count: int) -> None:
    """Small packs are not, since git takes them apart at once, and compresses then."""
    repo = Files.create(tmp_path / "repo")
    stream = Stream(REF, None, WHO)
    stream.commit("many")
    for n in range(count):
        stream.write(FILE, f"{n} ".encode() * 1000, f"a/b/{n}.txt")
    commit = stream.run(repo)
    assert len(repo.listing(str(commit))) == count
    assert bool(list((repo.path / ".git/objects/pack").glob("*.pack"))) == (count >= 100)
    size = sum(p.stat().st_size for p in (repo.path / ".git/objects").rglob("*") if p.is_file())
    assert size < count * 500 + 5000


def test_without_a_parent_history_begins_here(repo: Files) -> None:
    stream = on(repo, None)
    stream.commit("root")
    stream.write(FILE, b"x", "x")
    new = stream.run(repo)
    assert repo.line("rev-list", "--count", str(new)) == "1"
    assert set(repo.listing(str(new))) == {b"x"}


@pytest.mark.parametrize("parent", ["HEAD", None])
def test_what_a_kill_left_on_the_ref_does_not_count(repo: Files, parent: str | None) -> None:
    left = on(repo)
    left.commit("left over")
    left.write(FILE, b"x", "left")
    left.run(repo)
    stream = on(repo, parent)
    stream.commit("new")
    stream.write(FILE, b"x", "x")
    new = str(stream.run(repo))
    assert b"left" not in repo.listing(new)
    assert repo.line("rev-list", "--count", new) == ("2" if parent else "1")


def test_every_kind_of_entry_is_kept(repo: Files) -> None:
    stream = on(repo)
    stream.commit("kinds")
    stream.write(SYMLINK, b"../away", "d/link")
    stream.put(GITLINK, "1" * 40, "inputs/images")
    stream.write(EXECUTABLE, b"#!/bin/sh\n", "run")
    stream.write(FILE, b"", "empty")
    new = str(stream.run(repo))
    found = {e.path: (e.mode, e.sha) for e in repo.ls_tree(new, recursive=True)}
    assert found["d/link"] == (SYMLINK, blob_id(b"../away"))
    assert found["inputs/images"] == (GITLINK, "1" * 40)
    assert found["run"][0] == EXECUTABLE
    assert found["empty"] == (FILE, blob_id(b""))


def test_a_folder_gives_way_to_a_file_and_back(repo: Files) -> None:
    stream = on(repo)
    stream.commit("file")
    stream.delete("d")
    stream.write(FILE, b"now a file", "d")
    stream.commit("folder")
    stream.delete("d")
    stream.write(FILE, b"x", "d/e/f")
    new = str(stream.run(repo))
    assert set(repo.listing(f"{new}^")) == {b"a.txt", b"d"}
    assert set(repo.listing(new)) == {b"a.txt", b"d/e/f"}


def test_to_delete_what_is_not_there_is_no_harm(repo: Files) -> None:
    stream = on(repo)
    stream.commit("x")
    stream.delete("nothing/here")
    assert repo.listing(str(stream.run(repo))) == repo.listing("HEAD")


def test_messages_are_kept_as_they_are(repo: Files) -> None:
    stream = on(repo)
    message = 'umläut "quoted" \\ back\n\ndata 5\n# hash\n\udcff'
    stream.commit(message)
    new = str(stream.run(repo))
    stored = repo.git("cat-file", "commit", new)
    assert stored.split(b"\n\n", 1)[1] == os.fsencode(message)


def test_content_is_bytes_of_any_kind(repo: Files) -> None:
    data = b"\x00\nM 100644 inline evil\ndata 3\nabc\n\xff" * 50
    stream = on(repo)
    stream.commit("x")
    stream.write(FILE, data, "x")
    stream.write(FILE, b"after", "y")
    new = str(stream.run(repo))
    assert repo.read(new, "x") == data
    assert repo.read(new, "y") == b"after"
    assert b"evil" not in repo.listing(new)


def test_a_missing_object_is_an_error_and_no_commit(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo")
    stream = Stream(REF, None, WHO)
    stream.commit("x")
    stream.put(FILE, "1" * 40, "x")
    with pytest.raises(GitError):
        stream.run(repo)
    assert repo.resolve(REF) is None


def test_the_committer_is_gits_own(repo: Files) -> None:
    assert committer(repo).startswith("A Tester <tester@example.org> ")
    stream = Stream(REF, repo.head(), committer(repo))
    stream.commit("x")
    assert repo.line("log", "-1", "--format=%cn <%ce>", str(stream.run(repo))) == "A Tester <tester@example.org>"


# Paths

HOSTILE = [
    b"a b",
    b" a ",
    b'"',
    b'"a"',
    b"a\\nb",
    b"a\nb",
    b"\n",
    b"\\",
    b'\\"\n',
    b"\xff\xfe/\xc3(",
    "é/é".encode(),
    "e\u0301".encode(),
    b"-d",
    b"inline",
    b"\t\r\x01\x7f",
    b"$(touch x)/`y`",
    b"M 100644 inline x\ndata 1\nx",
    b"x" * 200 + b"/" + b"y" * 200,
]


def test_hostile_paths_are_written_as_they_are(repo: Files) -> None:
    stream = on(repo, None)
    stream.commit("hostile")
    for path in HOSTILE:
        stream.write(FILE, path, os.fsdecode(path))
    new = str(stream.run(repo))
    assert repo.listing(new) == {p: f"100644 blob {blob_id(p)}".encode() for p in HOSTILE}
    stream = on(repo, new)
    stream.commit("gone")
    for path in HOSTILE:
        stream.delete(os.fsdecode(path))
    assert repo.listing(str(stream.run(repo))) == {}


_part = st.binary(min_size=1, max_size=10).filter(
    lambda b: not {0, ord("/")} & set(b) and b not in (b".", b"..") and b"git" not in b.lower()
)
_path = st.lists(_part, min_size=1, max_size=3).map(b"/".join)


@settings(max_examples=30, deadline=None)
@given(st.sets(_path, min_size=1, max_size=6))
def test_any_path_survives(repo: Files, paths: set[bytes]) -> None:
    files = {p for p in paths if not any(o.startswith(p + b"/") for o in paths)}
    stream = on(repo, None)
    stream.commit("any")
    for path in files:
        stream.put(FILE, blob_id(b"alpha"), os.fsdecode(path))
    new = str(stream.run(repo))
    assert repo.listing(new) == dict.fromkeys(files, f"100644 blob {blob_id(b'alpha')}".encode())


@given(_path)
def test_a_quoted_path_is_one_line(path: bytes) -> None:
    found = quote(os.fsdecode(path))
    assert b"\n" not in found
    assert found[:1] == found[-1:] == b'"'


def test_a_long_stream_is_kept_in_a_file(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def filled(stream: Stream) -> Stream:
        for number in range(3):
            stream.commit(f"commit {number}", WHO)
            stream.delete("a.txt")
            for file in range(60):
                stream.write(FILE, b"%d %d" % (number, file), f"many/{file}")
        stream.commit("the last")
        stream.put(EXECUTABLE, blob_id(b"beta"), "run")
        return stream

    short = filled(on(repo)).run(repo)
    monkeypatch.setattr(fast_import, "_IN_MEMORY", 500)
    before = set(repo.path.rglob("*"))
    stream = filled(Stream(REF, repo.resolve("HEAD"), WHO, repo.common_dir))
    assert sum(map(len, stream._parts)) < 500 and len(stream._commits) == 1, "nothing grows with its length"
    assert set(repo.path.rglob("*")) == before, "a kill leaves no file"
    with pytest.raises(ValueError, match="before"):
        stream.blob(b"")
    assert stream.run(repo) == short == repo.resolve(REF)
