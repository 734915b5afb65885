"""What may not be written or read is named, with the way out: an errno and a lock's name say nothing to a person."""

from __future__ import annotations

import errno
import os
import pwd
import sqlite3
from pathlib import Path

from minipach.git.repo import GitError
from minipach.project.permissions import explain

WAY = "work where it may be written, or in a clone of your own: datalad clone"


def me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def test_a_file_system_that_may_only_be_read(tmp_path: Path) -> None:
    said = f"on a read-only file system; {WAY} {tmp_path} <folder>"
    lock = tmp_path / "state" / "lock"
    error = OSError(errno.EROFS, "Read-only file system", str(lock))
    assert explain(error, tmp_path) == f"{tmp_path}: {said}", "the nearest place that is there"
    lock.parent.mkdir()
    assert explain(error, tmp_path) == f"{lock.parent}: {said}"
    git = GitError(tmp_path / "edges", ["commit-tree"], 1, "error: unable to create file: Read-only file system\n")
    assert explain(git, tmp_path) == f"{tmp_path / 'edges'}: {said}"
    ledger = sqlite3.OperationalError("attempt to write a readonly database")
    assert explain(ledger, tmp_path) == f"{tmp_path}: {said}"
    assert explain(error, None) == f"{lock.parent}: on a read-only file system; take another folder"


def test_what_somebody_may_not_write(tmp_path: Path) -> None:
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "lock"))
    mine = f"{tmp_path}: {me()} may not write there (its permissions forbid it; chmod u+rwX)"
    assert explain(error, tmp_path) == f"{mine}; {WAY} {tmp_path} <folder>"
    of_root = GitError(Path("/"), ["hash-object"], 128, "insufficient permission for adding an object")
    assert str(explain(of_root, tmp_path)).startswith(f"/: {me()} may not write there (")


def test_git_works_in_what_is_anothers_only_if_told_to(tmp_path: Path) -> None:
    error = GitError(tmp_path, ["ls-files"], 128, f"fatal: detected dubious ownership in repository at '{tmp_path}'\n")
    said = explain(error, tmp_path)
    assert said is not None
    assert said.startswith(f"{tmp_path}: is owned by {me()}, and git refuses")
    assert f"git config --global --add safe.directory {tmp_path} " in said


def test_other_errors_are_none_of_this(tmp_path: Path) -> None:
    assert explain(OSError(errno.ENOENT, "No such file", str(tmp_path)), tmp_path) is None
    assert explain(GitError(tmp_path, ["log"], 128, "fatal: bad object"), tmp_path) is None
    wrapped = OSError(errno.EIO, "Input/output error")
    wrapped.__cause__ = OSError(errno.EROFS, "Read-only file system", str(tmp_path))
    assert "read-only file system" in str(explain(wrapped, tmp_path))
