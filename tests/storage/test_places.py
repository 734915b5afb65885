"""Which stores have contents: asked of them, without a question to git-annex for each content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.git.repo import Repo, take_in_locations
from minipach.storage.places import note_places
from tests.fixtures.repos import Files

NOWHERE = "SHA256E-s3--" + "a" * 64


@pytest.fixture
def repo(tmp_path: Path) -> Files:
    """A repo whose contents have been moved to a store by another clone: nothing here knows of it."""
    repo = Files.create(tmp_path / "edges", annex=True)
    (tmp_path / "store").mkdir()
    options = ("type=directory", f"directory={tmp_path}/store", "encryption=none")
    repo.git("annex", "initremote", "lab", *options)
    repo.in_git("first", "1")
    repo.commit()
    return repo


def moved(repo: Files, *names: str) -> list[str]:
    """Contents that another clone has sent to the store. This clone knows no place of them."""
    there = repo.path.parent / "there"
    repo.git("clone", "--quiet", ".", str(there))
    other = Files(there)
    other.git("annex", "init", "--quiet")
    other.git("annex", "enableremote", "lab", f"directory={repo.path.parent}/store")
    other.git("config", "remote.lab.annex-verified", "verified")
    keys = []
    for name in names:
        (there / name).write_bytes(os.urandom(9))
        other.git("annex", "add", "--quiet", name)
        keys.append(other.line("annex", "lookupkey", name))
    other.git("annex", "move", "--quiet", "--to=lab", *names)
    other.commit()
    repo.git("pull", "--quiet", str(there), "HEAD")
    return keys


def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands of git-annex from now on."""
    seen: list[str] = []
    git = Repo.git

    def noting(self: Repo, *args: str, **options: object) -> bytes:
        seen.extend(args[1:2] if args[0] == "annex" else ())
        return git(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Repo, "git", noting)
    return seen


def test_a_store_is_asked_once(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = moved(repo, "a", "b")
    with monkeypatch.context() as patch:
        seen = asked(patch)
        assert note_places(repo, {first, second}) == set()
    assert "checkpresentkey" in seen and not {"whereis", "setpresentkey"} & set(seen)
    assert repo.line("annex", "find", "--in=lab").split() == ["a", "b"]
    with monkeypatch.context() as patch:
        seen = asked(patch)
        assert note_places(repo, {first, second}) == set()
    assert seen == ["contentlocation"]
    (lost,) = [path for path in Path(repo.path.parent, "store").rglob("*") if path.name == first and path.is_file()]
    lost.parent.chmod(0o755)
    lost.unlink()
    assert note_places(repo, {first, second}) == set(), "the store has said that it is there"


def test_a_content_in_no_store(repo: Files) -> None:
    (first,) = moved(repo, "a")
    assert note_places(repo, {first, NOWHERE}) == {NOWHERE}


def test_a_place_that_a_fetched_branch_names(repo: Files, tmp_path: Path) -> None:
    """No store has it, but another clone does."""
    other = Files.create(tmp_path / "other", annex=True)
    ident = other.line("config", "annex.uuid")
    other.git("annex", "setpresentkey", NOWHERE, ident, "1")
    take_in_locations(other)
    repo.git("fetch", "--quiet", str(other.path), "git-annex:refs/remotes/other/git-annex")
    repo.git("annex", "merge", "--quiet")
    assert note_places(repo, {NOWHERE}) == set()


def test_a_key_that_is_not_plain(repo: Files) -> None:
    key = "WORM-s3-m1--a_b"
    folder = repo.path.parent / "content"
    folder.write_text("abc")
    repo.git("annex", "setkey", key, str(folder))
    repo.git("annex", "move", "--quiet", "--to=lab", f"--key={key}")
    ident = repo.line("config", "remote.lab.annex-uuid")
    repo.git("annex", "setpresentkey", key, ident, "0")
    assert note_places(repo, {key}) == set()
    assert repo.line("annex", "whereis", "--quiet", "--format=${uuid}\\n", f"--key={key}").split() == [ident]
