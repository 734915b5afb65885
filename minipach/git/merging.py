"""Merges by git itself, with the user's settings and hooks, which a kill at any moment leaves mendable.

git writes the files first, then the index, then the branch. The checkout's journal says so before it begins: what a
kill cuts short is taken back by `settle`, and the same merge can be made again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from minipach.git import crash_cleanup
from minipach.git.checkout import InTheWay, is_cut_short, recover, taken_back
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.settings import FAST_FORWARD

_USAGE = 129  # of git, to an option that it does not know


class NotMergedError(GitError):
    """git did not merge, and the checkout is as it was. files: those in conflict."""

    def __init__(self, error: GitError, files: Sequence[str]) -> None:
        self.files = tuple(files)
        super().__init__(error.repo, ("merge",), error.code, error.stderr, error.stdout)


def settle(repo: Repo) -> tuple[str, ...]:
    """Clear up what a kill left: locks of git, and a checkout that was brought along by half.

    For the holder of the project's lock, or of the pipeline. Return the paths that are left since somebody changed
    them.
    """
    crash_cleanup.clear(repo)
    if not is_cut_short(repo):
        return ()
    crash_cleanup.begin(repo)
    left = recover(repo)
    crash_cleanup.end(repo)
    return left


def merge(repo: Repo, there: str, how: Sequence[str] = FAST_FORWARD) -> None:
    """Merge a commit into what is checked out. how: the command of git without the commit.

    Raises:
        InTheWay: Files have uncommitted changes, and would be written.
        NotMergedError: git did not merge.
    """
    settle(repo)
    here = repo.head()
    if here is None:  # git refuses to overwrite files, and writes them all
        repo.git(*how, there)
        return
    if changed := _changed_here(repo, there):  # git refuses, too, but leaves pointers of git-annex in their place
        raise InTheWay(changed)
    crash_cleanup.begin(repo)
    try:
        outcome = _outcome(repo, here, there, how)
        with taken_back(repo, here, outcome) if outcome else contextlib.nullcontext():
            _merge(repo, there, how)
    except NotMergedError:
        with contextlib.suppress(GitError):  # else the next `settle` does it
            settle(repo)
        raise
    crash_cleanup.end(repo)


def _merge(repo: Repo, there: str, how: Sequence[str]) -> None:
    try:
        repo.git(*how, there)
    except GitError as error:
        files = os.fsdecode(repo.git("diff", "--name-only", "-z", "--diff-filter=U", ok=(0, 1))).split("\0")
        repo.git("merge", "--abort", ok=(0, 128))
        raise NotMergedError(error, [file for file in files if file]) from None


def _outcome(repo: Repo, here: str, there: str, how: Sequence[str]) -> str | None:
    """Return a commit with the tree that the checkout has after the merge; None where git is older than 2.38."""
    if repo.succeeds("merge-base", "--is-ancestor", here, there):
        return there
    unrelated = [word for word in how if word == "--allow-unrelated-histories"]
    words = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", *unrelated)
    # by the name with which git labels conflicts: files with these are known as git's own
    tree = os.fsdecode(repo.git(*words, "HEAD", there, ok=(0, 1, _USAGE))).split("\0")[0]
    if not tree:
        return None
    return repo.commit_tree(tree, "merged\n", [here])


def _changed_here(repo: Repo, there: str) -> list[str]:
    """Return files with uncommitted changes that a merge would write to."""
    here = repo.git("diff", "--name-only", "-z", "HEAD") + repo.git("ls-files", "--others", "-z")
    theirs = repo.git("diff", "--name-only", "-z", f"HEAD...{there}", ok=(0, 128))
    return sorted(os.fsdecode(path) for path in set(here.split(b"\0")) & set(theirs.split(b"\0")) if path)
