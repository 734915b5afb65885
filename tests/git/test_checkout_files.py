"""Checkouts without a process are written as git writes them. Unusual ones are left to git."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from minipach.git.checkout_files import PathChange, staged_paths, write_paths
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.tree_entries import EXECUTABLE, FILE, GITLINK, SYMLINK
from minipach.support.git_objects import NO_OBJECT
from tests.fixtures.repos import Files

ABSENT = "000000"
KEY = "SHA256E-s3--ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def repo(tmp_path: Path) -> Files:
    made = Files.create(tmp_path / "repo")
    for path in ("a.txt", "d/b.txt", "e/only", ".minipach/.gitattributes"):
        made.put(path, "" if path.startswith(".m") else path)
    made.commit()
    return made


def changes_of(repo: Repo) -> list[PathChange]:
    blob, text = repo.hash_blob(b"new\r\n$Id$\n"), repo.hash_blob(b"a.txt")
    return [
        PathChange("a.txt", FILE, EXECUTABLE, text, blob),
        PathChange("d/e/\u00fc new", ABSENT, FILE, NO_OBJECT, blob),
        PathChange("link", ABSENT, SYMLINK, NO_OBJECT, text),
        PathChange("e/only", FILE, ABSENT, repo.line("rev-parse", "HEAD:e/only"), NO_OBJECT),
        PathChange("inputs/images", ABSENT, GITLINK, NO_OBJECT, "1" * 40),
        PathChange(".gitmodules", ABSENT, FILE, NO_OBJECT, repo.hash_blob(b"")),
    ]


def test_index_and_files_are_those_that_git_would_leave(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = changes_of(repo)
    known = dict(repo.settings())
    before = os.umask(0o027)
    with monkeypatch.context() as patch:
        patch.setattr(Repo, "git", None)
        patch.setattr(subprocess, "Popen", None)
        patch.setattr(Repo, "settings", lambda self: known)
        try:
            assert write_paths(repo, changes)
        finally:
            os.umask(before)
    assert repo.line("diff-files", "--name-only") == ""
    assert repo.line("fsck", "--no-dangling") == ""
    staged = repo.git("ls-files", "--stage", "-z")
    modes = {p: stat.S_IMODE((repo.path / p).lstat().st_mode) for p in ("a.txt", "d/e/\u00fc new", "d/e", ".git/index")}
    assert modes == {"a.txt": 0o750, "d/e/\u00fc new": 0o640, "d/e": 0o750, ".git/index": 0o640}
    assert (repo.path / "link").readlink() == Path("a.txt")
    assert (repo.path / "inputs/images").is_dir() and not (repo.path / "e").exists()
    assert (repo.path / "a.txt").read_bytes() == b"new\r\n$Id$\n"
    assert not (repo.path / ".git/index.lock").exists()
    info = [f"{c.new_mode.replace(ABSENT, '0')} {c.new}\t{c.path}\0" for c in changes]
    repo.git("reset", "--quiet", "--hard")
    repo.git("update-index", "-z", "--index-info", stdin="".join(info).encode())
    assert repo.git("ls-files", "--stage", "-z") == staged


def test_what_differs_from_a_commit_is_what_git_says(repo: Files) -> None:
    head = repo.head() or ""
    assert staged_paths(repo, head) == set()
    (repo.path / "a.txt").write_text("not staged")
    assert staged_paths(repo, head) == set()
    repo.put("new", "n")
    repo.git("rm", "--quiet", "d/b.txt")
    repo.git("update-index", "--chmod=+x", "e/only")
    repo.git("update-index", "--add", "--cacheinfo", f"{GITLINK},{'1' * 40},sub")
    named = repo.line("diff-index", "--cached", "--name-only", "HEAD").split("\n")
    assert staged_paths(repo, head) == set(named) == {"new", "d/b.txt", "e/only", "sub"}
    repo.git("update-index", "--assume-unchanged", "a.txt")
    assert staged_paths(repo, head) is None


def hook(repo: Repo) -> None:
    (repo.path / ".git/hooks").mkdir(exist_ok=True)
    (repo.path / ".git/hooks/post-index-change").write_text("#!/bin/sh\n")


def attributes_of_user(repo: Repo) -> None:
    (repo.path.parent / "xdg/git").mkdir(parents=True)
    (repo.path.parent / "xdg/git/attributes").write_text("*.txt text\n")
    os.environ["XDG_CONFIG_HOME"] = str(repo.path.parent / "xdg")


def changed_within_the_second(repo: Repo) -> None:
    """Change a file as an editor could within the second in which git wrote the index: same size, same time."""
    file = repo.path / "d/b.txt"
    info = file.stat()
    file.write_text("D/B.TXT")
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    second = info.st_mtime_ns // 10**9 * 10**9
    os.utime(repo.path / ".git/index", ns=(second, second))


UNUSUAL: dict[str, Callable[[Repo], object]] = {
    "hook": hook,
    "line ends": lambda r: r.git("config", "core.autocrlf", "input"),
    "modes": lambda r: r.git("config", "core.fileMode", "false"),
    "index of version 4": lambda r: r.git("update-index", "--index-version=4"),
    "setting of the index": lambda r: r.git("config", "index.version", "4"),
    "flushing": lambda r: r.git("config", "core.fsync", "all"),
    "own attributes": lambda r: (
        (r.path / ".git/info").mkdir(exist_ok=True),
        (r.path / ".git/info/attributes").write_text("* ident\n"),
    ),
    "attributes": lambda r: (r.path / ".gitattributes").write_text("*.txt eol=crlf\n"),
    "attributes below": lambda r: (r.path / "d/.gitattributes").write_text("* text=auto\n"),
    "attributes of the user": attributes_of_user,
    "assumed": lambda r: r.git("update-index", "--assume-unchanged", "d/b.txt"),
    "sparse": lambda r: r.git("sparse-checkout", "set", "--no-cone", "/*"),
    "locked": lambda r: (r.path / ".git/index.lock").touch(),
    "changed within the second": changed_within_the_second,
    "a link above": lambda r: (r.path / "d/e").symlink_to("../e"),
    "attributes that are a folder": lambda r: (r.path / ".gitattributes").mkdir(),
    "attributes that are a loop": lambda r: (r.path / ".gitattributes").symlink_to(".gitattributes"),
    "names of another system": lambda r: r.git("config", "core.protectHFS", "true"),
    "an index elsewhere": lambda r: (
        (r.path / ".git/index").rename(r.path / ".git/other"),
        (r.path / ".git/index").symlink_to("other"),
    ),
    "a folder in the way": lambda r: (r.path / "link").mkdir(),
}


@pytest.mark.parametrize("what", UNUSUAL)
def test_what_is_unusual_is_left_to_git(repo: Files, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(repo.path.parent / "none"))
    changes = changes_of(repo)
    UNUSUAL[what](repo)
    before = (repo.git("ls-files", "--stage", "-z"), sorted(repo.path.rglob("*")))
    assert not write_paths(repo, changes)
    assert (repo.git("ls-files", "--stage", "-z"), sorted(repo.path.rglob("*"))) == before


@pytest.mark.parametrize(
    ("path", "mode", "data"),
    [
        (".git/config", FILE, b"evil"),
        ("d/.GIT/hooks/x", EXECUTABLE, b"evil"),
        ("GIT~1", FILE, b"evil"),
        ("a\\.git\\hooks", FILE, b"evil"),
        ("gi7eba~1", SYMLINK, b"elsewhere"),
        (".gitmodules", SYMLINK, b"elsewhere"),
        (".gitattributes", FILE, b"* text\n"),
        ("unlocked", FILE, f"/annex/objects/{KEY}\n".encode()),
        ("../out", FILE, b"evil"),
        ("a.txt/below", FILE, b"a file is a folder"),
    ],
)
def test_a_special_file_is_left_to_git(repo: Files, path: str, mode: str, data: bytes) -> None:
    assert not write_paths(repo, [PathChange(path, ABSENT, mode, NO_OBJECT, repo.hash_blob(data))])
    assert repo.line("status", "--porcelain") == ""
    assert not (repo.path / ".git/index.lock").exists()


def test_a_failure_is_one_of_gits_and_leaves_the_index(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = changes_of(repo)
    before = (repo.path / ".git/index").read_bytes()
    monkeypatch.setattr(os, "symlink", lambda *args: os.stat("/nowhere"))
    with pytest.raises(GitError, match="nowhere"):
        write_paths(repo, changes)
    assert (repo.path / ".git/index").read_bytes() == before
    assert not (repo.path / ".git/index.lock").exists()


def test_no_part_of_a_file_stays_where_the_disk_is_full(repo: Files) -> None:
    blob = repo.hash_blob(b"x" * 100_000)
    change = PathChange("new", ABSENT, FILE, NO_OBJECT, blob)
    repo.objects.read(blob)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(GitError):
            write_paths(repo, [change])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert repo.line("status", "--porcelain") == ""
    assert write_paths(repo, [change])
