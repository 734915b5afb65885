"""What may not be written or read is named, with the way out: an errno and a lock's name say nothing to a person."""

from __future__ import annotations

import errno
import os
import pwd
import sqlite3
from pathlib import Path

import pytest

from minipach.git.git_error import GitError
from minipach.project.permissions import SeenFolder, explain
from minipach.support.errors import Problem

WAY = "work where it may be written, or in a clone of your own: datalad clone"


def me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def test_a_file_system_that_may_only_be_read(tmp_path: Path) -> None:
    def read_only(place: Path, fix: str = f"{WAY} {tmp_path} <folder>") -> Problem:
        return Problem("access.read-only", str(place), "on a read-only file system", fix)

    lock = tmp_path / "state" / "lock"
    error = OSError(errno.EROFS, "Read-only file system", str(lock))
    assert explain(error, tmp_path) == read_only(tmp_path), "the nearest place that is there"
    lock.parent.mkdir()
    assert explain(error, tmp_path) == read_only(lock.parent)
    git = GitError(tmp_path / "edges", ["commit-tree"], 1, "error: unable to create file: Read-only file system\n")
    assert explain(git, tmp_path) == read_only(tmp_path / "edges")
    ledger = sqlite3.OperationalError("attempt to write a readonly database")
    assert explain(ledger, tmp_path) == read_only(tmp_path)
    assert explain(error, None) == read_only(lock.parent, "take another folder")


def test_local_state_that_was_removed_is_no_read_only_file_system(tmp_path: Path) -> None:
    state = tmp_path / ".git/minipach"
    state.mkdir(parents=True)
    ledger = sqlite3.connect(state / "ledger.sqlite", isolation_level=None)
    ledger.execute("create table t (x)")
    (state / "ledger.sqlite").unlink()
    with pytest.raises(sqlite3.Error) as caught:
        ledger.execute("insert into t values (1)")
    ledger.close()
    said = explain(caught.value, tmp_path)
    assert said is not None and (said.code, said.location) == ("project.state-removed", str(state))


def test_a_project_that_was_moved_is_named(tmp_path: Path) -> None:
    study = tmp_path / "study"
    assert SeenFolder.now(study) is None
    study.mkdir()
    seen = SeenFolder.now(study)
    assert seen is not None and seen.moved() is None
    study.rename(tmp_path / "moved")
    study.mkdir()  # by who did not know of the move
    said = seen.moved()
    assert said is not None and (said.code, said.location) == ("project.moved", str(study))


def test_what_somebody_may_not_write(tmp_path: Path) -> None:
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "lock"))
    mine = f"{me()} may not write there (its permissions forbid it)"
    fix = f"chmod u+rwX {tmp_path}, or {WAY} {tmp_path} <folder>"
    assert explain(error, tmp_path) == Problem("access.refused", str(tmp_path), mine, fix)
    of_root = GitError(Path("/"), ["hash-object"], 128, "insufficient permission for adding an object")
    assert str(explain(of_root, tmp_path)).startswith(f"/: {me()} may not write there (")


def test_git_works_in_what_is_anothers_only_if_told_to(tmp_path: Path) -> None:
    error = GitError(tmp_path, ["ls-files"], 128, f"fatal: detected dubious ownership in repository at '{tmp_path}'\n")
    said = explain(error, tmp_path)
    assert said is not None
    assert (said.code, said.location) == ("repo.of-other-user", str(tmp_path))
    assert said.message.startswith(f"is owned by {me()}, and git refuses")
    assert said.fix.startswith(f"git config --global --add safe.directory {tmp_path} ")


def test_other_errors_are_none_of_this(tmp_path: Path) -> None:
    assert explain(OSError(errno.ENOENT, "No such file", str(tmp_path)), tmp_path) is None
    assert explain(GitError(tmp_path, ["log"], 128, "fatal: bad object"), tmp_path) is None
    wrapped = OSError(errno.EIO, "Input/output error")
    wrapped.__cause__ = OSError(errno.EROFS, "Read-only file system", str(tmp_path))
    assert "read-only file system" in str(explain(wrapped, tmp_path))
