"""`core.sharedRepository` holds for what minipach writes, too."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
from pathlib import Path

import pytest

from minipach.git.shared_modes import mask_of
from minipach.project.permissions import explain
from tests.fixtures.projects import MINIPACH, Study


@pytest.mark.parametrize(
    ("setting", "mask", "wanted"),
    [
        (None, 0o022, 0o022),
        ("umask", 0o077, 0o077),
        ("false", 0o077, 0o077),
        ("0", 0o077, 0o077),
        ("group", 0o022, 0o002),
        ("true", 0o077, 0o007),
        ("1", 0o077, 0o007),
        ("all", 0o077, 0o002),
        ("World", 0o077, 0o002),
        ("2", 0o027, 0o002),
        ("0660", 0o022, 0o007),
        ("0640", 0o022, 0o027),
        ("nonsense", 0o022, 0o022),
    ],
)
def test_new_files_are_as_accessible_as_the_repository(setting: str | None, mask: int, wanted: int) -> None:
    assert oct(mask_of(setting, mask)) == oct(wanted)


@pytest.mark.slow
def test_the_group_can_write_ledger_logs_locks_and_slots(study: Study) -> None:
    study.copier()
    study.put("images/a.txt", "alpha\n")
    study.ok("git", "config", "core.sharedRepository", "group")
    done = subprocess.call(["sh", "-c", 'umask 022; exec "$@"', "sh", *MINIPACH, "schedule"], cwd=study.root)
    assert done == 0
    checked = set()
    for repo in (study.root, study.root / "edges"):
        folder = repo / ".git" / "minipach"
        for path in [folder, *folder.rglob("*")]:
            if "cache" in path.relative_to(repo).parts or path.is_symlink():
                continue  # a cache is signed by one user; another one makes it again
            made, wanted = path.stat(), stat.S_IWGRP | stat.S_IRGRP
            assert made.st_mode & wanted == wanted, (path, oct(made.st_mode))
            checked.add(path.name)
    assert checked >= {"ledger.sqlite", "lock", "logs", "slots"}


def test_a_database_of_another_user_is_no_file_system_that_may_only_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / ".git" / "minipach" / "ledger.sqlite"
    ledger.parent.mkdir(parents=True)
    ledger.touch()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, how: path != ledger and access(path, how))
    found = explain(sqlite3.OperationalError("attempt to write a readonly database"), tmp_path)
    assert str(found).startswith(f"{ledger}: ")
    assert "read-only file system" not in str(found)
