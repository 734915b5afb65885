"""An index that is written without a process is one that git reads, and from which it knows the files."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from minipach.git.index_file import write_index
from minipach.git.tree_entries import EXECUTABLE, FILE, SYMLINK, TreeEntry
from minipach.support.git_objects import blob_id
from tests.fixtures.repos import Files


def test_git_reads_the_index(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo")
    # names of each length up to two words: entries are padded to words
    for path in ["x" * n for n in range(1, 18)] + ["d/b", "d.x", "d-x", "\u00fc", "long/" + "y" * 200]:
        repo.put(path, path)
    (repo.path / "run").write_text("#!/bin/sh\n")
    (repo.path / "run").chmod(0o755)
    (repo.path / "link").symlink_to("run")
    repo.git("add", "run", "link")
    repo.commit()
    rows = repo.listing("HEAD")
    entries = []
    past = time.time() - 10
    for raw in rows:
        path = os.fsdecode(raw)
        info = (repo.path / path).lstat()
        link = stat.S_ISLNK(info.st_mode)
        data = os.readlink(repo.path / path).encode() if link else (repo.path / path).read_bytes()
        entries.append(
            TreeEntry(SYMLINK if link else EXECUTABLE if info.st_mode & 0o100 else FILE, blob_id(data), path)
        )
        os.utime(repo.path / path, (past, past), follow_symlinks=False)
    expected = repo.git("ls-files", "--stage", "-z")
    (repo.path / ".git/index").unlink()
    write_index(repo.path / ".git", repo.path, reversed(entries))
    assert repo.git("ls-files", "--stage", "-z") == expected
    assert repo.line("diff-files", "--name-only") == "", "times and sizes are known: git need not read the files"
    assert repo.line("status", "--porcelain") == ""
    assert repo.line("fsck", "--strict") == ""
    repo.put("x", "changed")
    assert repo.line("status", "--porcelain") == "M  x"
