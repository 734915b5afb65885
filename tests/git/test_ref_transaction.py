"""Refs that are moved without a process are moved as git moves them; whatever is unusual is git's to do."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.git.git_error import GitError
from minipach.git.ref_transaction import run_transaction
from minipach.git.repo import Repo
from tests.fixtures.repos import Files

MAIN = "refs/heads/main"
RESULT = "refs/minipach/results/a"
ZERO = "0" * 40


@pytest.fixture
def repo(tmp_path: Path) -> Files:
    """Two commits on a branch that is checked out; a result ref at the first one."""
    made = Files.create(tmp_path / "repo")
    made.put("a.txt", "a")
    made.commit("one")
    made.git("update-ref", RESULT, "HEAD")
    made.put("a.txt", "b")
    made.commit("two")
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, ...]]]:
    """The transactions that git ran."""
    calls: list[tuple[str, ...]] = []
    git = Repo.git

    def counting(self: Repo, *args: str, **more: object) -> bytes:
        if args[0] == "update-ref":
            calls.append(args)
        return git(self, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Repo, "git", counting)
    yield calls


def state(repo: Repo) -> dict[str, object]:
    """Refs, logs (without the times), locks, and what git finds wrong."""
    folder = repo.path / ".git"
    logs = {
        str(path.relative_to(folder)): re.sub(r"> \d+ \+\d+", ">", path.read_text())
        for path in sorted((folder / "logs").rglob("*"))
        if path.is_file()
    }
    locks = [str(path) for path in folder.rglob("*.lock")]
    refs = repo.line("for-each-ref", "--format=%(objectname) %(refname)")
    return {"refs": refs, "logs": logs, "locks": locks, "fsck": repo.line("fsck", "--no-dangling")}


def ids(repo: Repo) -> tuple[str, str]:
    return repo.line("rev-parse", "main~1"), repo.line("rev-parse", "main")


def lines_of(repo: Repo, name: str) -> list[str]:
    one, two = ids(repo)
    return {
        "moved back": [f"update {MAIN} {one} {two}", f"delete {RESULT}", f"update refs/minipach/published {two}"],
        "created": [f"create refs/heads/minipach {two}", f"update refs/heads/a/b.c {one} {ZERO}"],
        "deleted": [f"delete {RESULT} {one}"],
    }[name]


@pytest.mark.parametrize("name", ["moved back", "created", "deleted"])
def test_refs_and_logs_are_those_that_git_would_leave(
    repo: Files, tmp_path: Path, asked: list[tuple[str, ...]], name: str
) -> None:
    other = Repo(tmp_path / "other")
    shutil.copytree(repo.path, other.path, symlinks=True)
    lines = lines_of(repo, name)
    other.git("update-ref", "--stdin", stdin="".join(f"{line}\n" for line in lines).encode())
    asked.clear()
    repo.update_refs(lines)
    assert asked == []
    assert state(repo) == state(other)
    assert re.fullmatch(r".*> \d+ [+-]\d{4}\n", (repo.path / ".git/logs/HEAD").read_text().splitlines(True)[-1]) or (
        name != "moved back"
    )


@pytest.mark.parametrize(
    "line",
    [
        f"update {MAIN} {{one}} {{one}}",
        f"create {RESULT} {{two}}",
        f"delete {RESULT} {{two}}",
        f"update {RESULT}/below {{two}}",
        "update refs/minipach/results {one}",
        "update refs/heads/blob {blob}",
        f"update refs/heads/none {'1' * 40}",
        "update refs/heads/.odd {one}",
        "update refs/heads/a.lock {one}",
        "nonsense",
    ],
)
def test_an_error_is_gits_and_changes_nothing(repo: Files, asked: list[tuple[str, ...]], line: str) -> None:
    one, two = ids(repo)
    line = line.format(one=one, two=two, blob=repo.line("rev-parse", "HEAD:a.txt"))
    before = state(repo)
    for lines in ([line], [f"create refs/heads/new {one}", line]):
        asked.clear()
        with pytest.raises(GitError):
            repo.update_refs(lines)
        assert len(asked) == 1
        assert state(repo) == before


@pytest.mark.parametrize(
    "what",
    ["hook", "hooks elsewhere", "fsync", "all logs", "packed", "log of a result", "HEAD", "reftable name", "link"],
)
def test_what_is_unusual_is_moved_by_git(repo: Files, tmp_path: Path, asked: list[tuple[str, ...]], what: str) -> None:
    one, two = ids(repo)
    seen = tmp_path / "seen"
    hook = tmp_path / "hooks/reference-transaction" if what == "hooks elsewhere" else repo.path / ".git/hooks"
    if what.startswith("hook"):
        hook = hook if what == "hooks elsewhere" else hook / "reference-transaction"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho $1 >>{seen}\n")
        hook.chmod(0o755)
    match what:
        case "hooks elsewhere":
            repo.git("config", "core.hooksPath", str(hook.parent))
        case "fsync":
            repo.git("config", "core.fsync", "all")
        case "all logs":
            repo.git("config", "core.logAllRefUpdates", "always")
        case "packed":
            repo.git("pack-refs", "--all")
        case "log of a result":
            (repo.path / ".git/logs/refs/minipach/results").mkdir(parents=True)
            (repo.path / ".git/logs" / RESULT).touch()
        case "link":
            repo.git("-c", "core.preferSymlinkRefs=true", "symbolic-ref", "HEAD", MAIN)
        case "reftable name":
            repo.git("config", "extensions.noop", "true")
    lines = [f"update HEAD {one} {two}"] if what == "HEAD" else [f"update {MAIN} {one} {two}", f"delete {RESULT}"]
    asked.clear()
    repo.update_refs(lines)
    assert len(asked) == 1
    assert repo.resolve(MAIN) == one and repo.branch() == "main"
    assert repo.line("log", "-1", "-g", "--format=%H") == one, "the log of HEAD"
    assert what == "HEAD" or repo.resolve(RESULT) is None
    assert not what.startswith("hook") or "committed" in seen.read_text()


@pytest.mark.parametrize("name", [f"{RESULT}.lock", "HEAD.lock", "packed-refs.lock"])
def test_a_lock_of_another_is_respected(repo: Files, name: str) -> None:
    one, two = ids(repo)
    (repo.path / ".git" / name).touch()
    before = state(repo)
    with pytest.raises(GitError, match="lock"):
        repo.update_refs([f"update {MAIN} {one} {two}", f"delete {RESULT}"])
    assert state(repo) == before


def test_a_lock_that_another_takes_meanwhile_stays(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the rename on, the name of the lock is another process's."""
    one, two = ids(repo)
    replace = os.replace

    def replacing(old: str, new: str) -> None:
        replace(old, new)
        Path(old).write_text("another's")

    monkeypatch.setattr(os, "replace", replacing)
    repo.update_refs([f"update {MAIN} {one} {two}"])
    assert (repo.path / f".git/{MAIN}.lock").read_text() == "another's"


def test_a_failure_midway_is_an_error_of_gits(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = ids(repo)
    monkeypatch.setattr(os, "replace", lambda *args: os.stat("/nowhere"))
    with pytest.raises(GitError, match="nowhere"):
        repo.update_refs([f"update {MAIN} {one} {two}"])
    assert repo.resolve(MAIN) == two
    assert list((repo.path / ".git").rglob("*.lock")) == []


def test_refs_of_the_other_format_are_left_to_git(repo: Files) -> None:
    """Not every git can make such a repository, so its setting alone is looked at."""
    settings = {"extensions.refstorage": "reftable", "core.repositoryformatversion": "1"}
    folder = repo.path / ".git"
    assert not run_transaction(
        folder, [f"create {MAIN}x {'1' * 40}"], settings, lambda _: "commit", lambda: "A <a> 1 +0000"
    )
    assert list(folder.rglob("*.lock")) == []
