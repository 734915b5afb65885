"""The reader of objects, and what happens when its process ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.git.git_error import GitError
from minipach.git.object_reader import CatFile
from minipach.support.git_objects import blob_id
from tests.fixtures.git_files import repo
from tests.fixtures.leftovers import until
from tests.fixtures.repos import Files

ZERO = "0" * 40

__all__ = ["repo"]  # the fixture


def test_objects_are_read_by_id_and_by_path(repo: Files) -> None:
    assert repo.objects.read("HEAD:a.txt") == b"alpha"
    assert repo.objects.read("HEAD:odd/a b/c\td") == b"odd: a b/c\td"
    assert repo.objects.read(blob_id(b"beta")) == b"beta"
    assert repo.objects.read("HEAD:nothing") is None
    assert repo.objects.read(ZERO) is None
    assert repo.objects.read("HEAD:odd/new\nline") is None  # a request is a line: such a name can't be asked for
    assert repo.objects.read("HEAD:a.txt") == b"alpha"  # and the reader is still in step


def test_thousands_of_objects_are_read_in_order(repo: Files) -> None:
    """Requests run ahead of answers: the pipe between must not fill up on both sides."""
    big = repo.hash_blob(b"x" * 300_000)
    small = repo.hash_blob(b"small")
    names = [big, small, ZERO] * 700
    found = [None if data is None else len(data) for data in repo.objects.read_many(names)]
    assert found == [300_000, 5, None] * 700
    repo.git("repack", "-adq")
    assert list(repo.objects.read_many([small, "HEAD:a.txt", ZERO])) == [b"small", b"alpha", None]


def test_the_reader_is_started_again_when_it_has_ended(repo: Files) -> None:
    first = repo.objects
    repo.close()
    repo.close()
    assert not first.alive
    assert repo.objects.read("HEAD:a.txt") == b"alpha"


@pytest.mark.parametrize("does", ["exec <&-", "read name && echo 0123 blob 9 && echo cut"], ids=["at once", "midway"])
def test_a_reader_that_ends_is_an_error_of_gits(
    repo: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    (tmp_path / "git").write_text(f"#!/bin/sh\n{does}\necho >{tmp_path}/over\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    reader = CatFile(repo.path)
    with pytest.raises(GitError, match="the object reader ended"):
        reader.read(ZERO)
    if "read" not in does:
        until("nobody reads what we ask for", (tmp_path / "over").exists)
        with pytest.raises(GitError, match="the object reader ended"):
            reader.read(ZERO)
    reader.close()
