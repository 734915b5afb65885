"""`minipach.git.merging`: a merge of git that is killed is taken back, and made again. Plain git repos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from minipach.git import crash_cleanup
from minipach.git.checkout import InTheWay, is_cut_short
from minipach.git.git_error import GitError
from minipach.git.merging import NotMergedError, merge, settle
from minipach.git.settings import FAST_FORWARD, MERGE
from minipach.model.messages import SUBJECT
from tests.fixtures.repos import Files

WAYS = {"forward": FAST_FORWARD, "merge": (*MERGE, "-m", f"{SUBJECT}merge x")}
OLD = {"a": "old", "deep/b": "old", "middle": "old", "y": "old", "z": "old"}
NEW = {"a": "new", "deep/b": "new", "middle": "new", "added/c": "new", "z": "new"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A repo with OLD checked out on `main`, and NEW on `theirs`."""
    made = Files.create(tmp_path / "repo")
    made.put(".gitattributes", "middle filter=middle\n")
    for name, text in OLD.items():
        made.put(name, text)
    made.commit()
    made.git("switch", "--quiet", "-c", "theirs")
    made.git("rm", "--quiet", "y")
    for name, text in NEW.items():
        made.put(name, text)
    made.commit()
    made.git("switch", "--quiet", "main")
    return made


def prepared(files: Files, way: str) -> tuple[str, str]:
    """The commit that is checked out, and that of the others. A merge has commits of both sides."""
    if way == "merge":
        files.put("mine", "mine")
        files.commit()
    return str(files.head()), str(files.resolve("theirs"))


def contents(files: Files, names: Sequence[str]) -> dict[str, str]:
    return {name: (files.path / name).read_text() for name in names if (files.path / name).exists()}


@pytest.mark.parametrize("way", WAYS)
def test_a_merge_that_is_killed_is_taken_back_and_made_again(files: Files, way: str) -> None:
    here, there = prepared(files, way)
    files.git("config", "filter.middle.smudge", "kill -9 $PPID")  # git writes the file
    with pytest.raises(GitError):
        merge(files, there, WAYS[way])
    files.git("config", "--unset", "filter.middle.smudge")
    assert (files.common_dir / "index.lock").exists() or files.line("status", "--porcelain") == "", "git was killed"
    settle(files)
    assert files.head() == here
    assert contents(files, [*OLD, *NEW]) == OLD
    assert files.line("status", "--porcelain") == ""
    merge(files, there, WAYS[way])
    assert contents(files, [*OLD, *NEW]) == NEW
    assert files.line("status", "--porcelain") == ""
    assert not is_cut_short(files)


@pytest.mark.parametrize("way", WAYS)
def test_the_process_itself_is_killed_with_git(files: Files, way: str) -> None:
    """The next one finds the journal, the lock and half of the files."""
    _, there = prepared(files, way)
    files.git("config", "filter.middle.smudge", "kill -9 $PPID")
    pid = os.fork()
    if pid == 0:  # a child that never comes to clear up
        try:
            crash_cleanup.clear = lambda *_: os._exit(9) if is_cut_short(files) else None
            merge(files, there, WAYS[way])
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    files.git("config", "--unset", "filter.middle.smudge")
    assert is_cut_short(files) and (files.common_dir / "index.lock").exists()
    assert contents(files, [*OLD, *NEW]) not in (OLD, NEW)
    merge(files, there, WAYS[way])
    assert contents(files, [*OLD, *NEW]) == NEW
    assert files.line("status", "--porcelain") == ""


def test_a_merge_that_waits_for_its_commit_is_taken_back(files: Files) -> None:
    here, there = prepared(files, "merge")
    hook = files.common_dir / "hooks/commit-msg"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nkill -9 $PPID\n")
    hook.chmod(0o755)
    with pytest.raises(GitError):
        merge(files, there, WAYS["merge"])
    hook.unlink()
    settle(files)
    assert files.head() == here
    assert files.resolve("MERGE_HEAD") is None
    assert contents(files, [*OLD, *NEW]) == OLD
    assert files.line("status", "--porcelain") == ""


def test_a_conflict_leaves_all_as_it_was(files: Files) -> None:
    files.put("deep/b", "mine")
    here = files.commit()
    with pytest.raises(NotMergedError) as caught:
        merge(files, "theirs", WAYS["merge"])
    assert caught.value.files == ("deep/b",)
    assert files.head() == here
    assert contents(files, [*OLD, *NEW]) == OLD | {"deep/b": "mine"}
    assert files.line("status", "--porcelain") == ""
    assert not is_cut_short(files)


@pytest.mark.parametrize("name", ["z", "added/c"])
def test_uncommitted_changes_are_in_the_way_and_stay(files: Files, name: str) -> None:
    (files.path / name).parent.mkdir(exist_ok=True)
    (files.path / name).write_text("new")  # also if they are the same
    with pytest.raises(InTheWay):
        merge(files, str(files.resolve("theirs")))
    assert (files.path / name).read_text() == "new"
    assert not is_cut_short(files)


def test_a_merge_that_somebody_has_begun_since_stays(files: Files) -> None:
    """The journal of ours is older, and its merge is not the one that waits."""
    files.put("deep/b", "mine")
    files.commit()
    files.git("config", "filter.middle.smudge", "kill -9 $PPID")
    with pytest.raises(GitError):
        merge(files, str(files.resolve("theirs")), WAYS["merge"])
    files.git("config", "--unset", "filter.middle.smudge")
    settle(files)
    files.git("merge", "--quiet", "theirs", ok=(0, 1))
    (files.common_dir / "minipach" / "checkout").write_text(f"{files.resolve('theirs')} {files.head()} merge\n")
    (files.path / "deep/b").write_text("both")
    files.git("add", "deep/b")
    settle(files)
    assert files.resolve("MERGE_HEAD") == files.resolve("theirs")
    assert (files.path / "deep/b").read_text() == "both"
