"""The location log says what git-annex would say, whatever the branch and the journal hold."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minipach.git import location_log
from minipach.git.annex_layout import journal_name, log_path
from minipach.git.location_log import note_present, places_on_branch
from minipach.git.repo import Repo, take_in_locations
from tests.fixtures.repos import Files

OTHER = "11111111-2222-3333-4444-555555555555"


def key_of(number: int) -> str:
    return f"SHA256E-s1--{hashlib.sha256(str(number).encode()).hexdigest()}.dat"


@pytest.fixture
def repo(tmp_path: Path) -> Files:
    repo = Files.create(tmp_path / "edges", annex=True)
    repo.in_git("first", "1")
    repo.commit()
    return repo


def present(repo: Files, key: str, ident: str, state: str = "1") -> None:
    """git-annex's own line for a key, committed."""
    repo.git("annex", "setpresentkey", key, ident, state)
    take_in_locations(repo)


def here(repo: Repo, key: str) -> list[str]:
    said = repo.git("annex", "whereis", "--json", f"--key={key}", ok=(0, 1))
    rows: list[dict[str, Any]] = json.loads(said)["whereis"]
    return sorted("here" if row["here"] else row["uuid"] for row in rows)


def count_processes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """All git commands from now on."""
    seen: list[tuple[str, ...]] = []
    git = Repo.git

    def noting(self: Repo, *args: str, **options: Any) -> bytes:
        seen.append(args)
        return git(self, *args, **options)

    monkeypatch.setattr(Repo, "git", noting)
    return seen


@pytest.mark.parametrize("count", [2, 40])
def test_contents_are_recorded_as_present(repo: Files, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    keys = [key_of(number) for number in range(count)]
    present(repo, keys[0], OTHER)
    repo.objects  # noqa: B018 - the reader that a worker has
    with monkeypatch.context() as patch:
        seen = count_processes(patch)
        note_present(repo, keys)
    assert not any("annex" in args for args in seen)
    assert here(repo, keys[0]) == [OTHER, "here"]
    assert here(repo, keys[-1]) == ["here"]
    assert not repo.refs("refs/minipach/build/")
    before = repo.resolve("refs/heads/git-annex")
    note_present(repo, keys)
    assert repo.resolve("refs/heads/git-annex") == before, "nothing is new"


def test_the_branch_moves_as_git_moves_it(repo: Files, tmp_path: Path) -> None:
    """The log of the branch has the move, and a hook of the user hears of it."""
    key, log = key_of(1), repo.path / ".git/logs/refs/heads/git-annex"
    note_present(repo, [key])
    before, after = log.read_text().splitlines()[-1].split(" ")[:2]
    assert (before, after) == (repo.line("rev-parse", "git-annex^"), repo.line("rev-parse", "git-annex"))
    hook = repo.path / ".git/hooks/reference-transaction"
    hook.write_text(f"#!/bin/sh\n[ $1 != committed ] || cat >>'{tmp_path}/heard'\n")
    hook.chmod(0o755)
    note_present(repo, [key_of(2)])
    new = repo.line("rev-parse", "git-annex")
    assert new != after and f"{after} {new} refs/heads/git-annex" in (tmp_path / "heard").read_text().splitlines()


def test_a_content_that_was_dropped_is_present_again(repo: Files) -> None:
    key, ident = key_of(1), repo.line("config", "annex.uuid")
    present(repo, key, ident)
    present(repo, key, ident, "0")
    assert here(repo, key) == []
    note_present(repo, [key])
    assert here(repo, key) == ["here"]
    log = repo.git("cat-file", "-p", f"git-annex:{log_path(key)}").splitlines()
    assert len(log) == 1 and log[0].endswith(ident.encode())


@pytest.mark.parametrize(
    "why",
    [
        "journal",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("odd line", "later", "clock", "lock", "ref lock")),
    ],
)
def test_git_annex_does_it_where_something_is_unusual(repo: Files, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """Its journal has the key, its log is odd or later, or another process holds a lock (git's is left by a kill)."""
    key, ident = key_of(1), repo.line("config", "annex.uuid")
    monkeypatch.setattr(location_log, "_PATIENCE", 0.05)
    process = None
    if why == "journal":
        repo.git("-c", "annex.alwayscommit=false", "annex", "setpresentkey", key, OTHER, "1")
    elif why == "odd line":
        present(repo, key, OTHER)
        monkeypatch.setattr(location_log, "_LINE", location_log.re.compile(b"(?!)"))
    elif why == "later":
        present(repo, key, ident, "0")
        monkeypatch.setattr(location_log.time, "time", lambda: 1.0)
    elif why == "clock":
        monkeypatch.setenv("GIT_ANNEX_VECTOR_CLOCK", "12345")
    elif why == "lock":
        code = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(); input()"
        journal = str(repo.path / ".git/annex/journal.lck")
        process = subprocess.Popen(
            [sys.executable, "-c", code, journal], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stdout.readline()
    else:
        os.close(os.open(repo.path / ".git/refs/heads/git-annex.lock", os.O_CREAT | os.O_EXCL))
    seen = count_processes(monkeypatch)
    git = Repo.git

    def released(self: Repo, *args: str, **options: Any) -> bytes:
        if "setpresentkey" in args:
            if process is not None:
                process.communicate("\n")
            (repo.path / ".git/refs/heads/git-annex.lock").unlink(missing_ok=True)
        return git(self, *args, **options)

    monkeypatch.setattr(Repo, "git", released)
    note_present(repo, [key])
    assert any("setpresentkey" in args for args in seen)
    monkeypatch.undo()
    if why == "clock":
        assert repo.git("cat-file", "-p", f"git-annex:{log_path(key)}") == f"12345s 1 {ident}\n".encode()
    assert here(repo, key) == sorted(["here"] + ([OTHER] if why in ("journal", "odd line") else []))


def test_the_lock_of_the_journal_is_free_afterwards(repo: Files) -> None:
    note_present(repo, [key_of(1)])
    code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    subprocess.run([sys.executable, "-c", code, str(repo.path / ".git/annex/journal.lck")], check=True)


def test_what_git_annex_writes_later_keeps_our_lines(repo: Files) -> None:
    """Its own index is older than the branch then."""
    present(repo, key_of(1), OTHER)
    note_present(repo, [key_of(1), key_of(2)])
    repo.git("annex", "setpresentkey", key_of(3), OTHER, "1")
    assert [here(repo, key_of(n)) for n in (1, 2, 3)] == [[OTHER, "here"], ["here"], [OTHER]]


def test_a_lock_that_a_kill_left_does_not_stay(repo: Files) -> None:
    """A young one may be that of another git: the journal has the line then."""
    locks = [repo.path / f".git/{ref}.lock" for ref in ("refs/heads/git-annex", location_log._BUILD)]
    for lock in locks:
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    note_present(repo, [key_of(1)])
    assert all(lock.exists() for lock in locks)
    for lock in locks:
        os.utime(lock, (1, 1))
    note_present(repo, [key_of(2)])
    assert not any(lock.exists() for lock in locks)
    assert [here(repo, key_of(n)) for n in (1, 2)] == [["here"], ["here"]]


def test_a_private_repository_notes_it_in_its_journal_alone(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notes are those of git-annex, which wrote one of them itself."""
    repo.git("config", "annex.private", "true")
    keys, ident = [key_of(number) for number in range(3)], repo.line("config", "annex.uuid")
    repo.git("annex", "setpresentkey", keys[0], ident, "0")
    repo.git("annex", "setpresentkey", keys[1], ident, "1")
    before = repo.resolve("refs/heads/git-annex")
    journal = repo.path / ".git/annex/journal-private"
    names = {journal_name(log_path(key)) for key in keys}
    with monkeypatch.context() as patch:
        seen = count_processes(patch)
        note_present(repo, keys)
    assert not seen
    assert repo.resolve("refs/heads/git-annex") == before
    assert set(os.listdir(journal)) == names
    assert all(here(repo, key) == ["here"] for key in keys)
    lines = [(journal / name).read_text().count("\n") for name in sorted(names)]
    assert lines == [1, 1, 1]


@pytest.mark.parametrize("private", [False, True])
def test_contents_of_a_remote_are_recorded(repo: Files, monkeypatch: pytest.MonkeyPatch, private: bool) -> None:
    """Where a remote is private, git-annex keeps that in its journal."""
    if private:
        repo.git("config", "remote.lab.annex-uuid", OTHER)
        repo.git("config", "remote.lab.annex-private", "true")
    keys = [key_of(1), key_of(2)]
    seen = count_processes(monkeypatch)
    note_present(repo, keys, OTHER)
    assert any("setpresentkey" in args for args in seen) == private
    assert [here(repo, key) for key in keys] == [[OTHER], [OTHER]]
    assert (repo.resolve(f"git-annex:{log_path(keys[0])}") is None) == private


def test_the_branch_says_what_git_annex_says(repo: Files) -> None:
    ident = repo.line("config", "annex.uuid")
    gone, both, unknown, waits = map(key_of, range(4))
    for key, state in ((gone, "1"), (gone, "0"), (both, "1")):
        present(repo, key, OTHER, state)
    present(repo, both, ident)
    assert places_on_branch(repo, [gone, both, unknown]) == {gone: set(), both: {OTHER, ident}, unknown: set()}
    repo.git("-c", "annex.alwayscommit=false", "annex", "setpresentkey", waits, OTHER, "1")
    assert places_on_branch(repo, [both, waits, "URL--http&c%%a"]).keys() == {both}, "git-annex must read the others"
    take_in_locations(repo)
    assert places_on_branch(repo, [waits]) == {waits: {OTHER}}
    repo.git("annex", "untrust", "here")
    assert here(repo, both) == [OTHER] and places_on_branch(repo, [both]) == {}, "it is not trusted any more"
    for log in (b"1s 1 a\n1s 0 a\n", b"<<<<\n", b"1s 1\n"):
        assert location_log._present_in(log) is None
    assert location_log._present_in(b"2s 0 a\n1s 1 a\n3s X b\n1.5s 1 c\n") == {"c"}


@pytest.mark.parametrize("ref", ["refs/remotes/lab/git-annex", "refs/heads/synced/git-annex"])
def test_a_branch_that_is_not_merged_yet_may_say_otherwise(repo: Files, tmp_path: Path, ref: str) -> None:
    """Another clone has dropped the content from a store."""
    key = key_of(1)
    present(repo, key, OTHER)
    other = Files(tmp_path / "other")
    repo.git("clone", "--quiet", ".", str(other.path))
    other.git("annex", "init", "--quiet")
    present(other, key, OTHER, "0")
    repo.git("fetch", "--quiet", str(other.path), f"git-annex:{ref}")
    assert places_on_branch(repo, [key]) == {}
    take_in_locations(repo)
    assert places_on_branch(repo, [key]) == {key: set()} and here(repo, key) == []


def test_without_a_branch_git_annex_is_asked(tmp_path: Path) -> None:
    assert places_on_branch(Files.create(tmp_path / "plain"), [key_of(1)]) == {}
