"""The branches of a repository, read from its files: a look at a hundred repositories starts no process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.model.repo_layout import RESULTS_BRANCH

_HEADS = "refs/heads/"


@dataclass(frozen=True, slots=True)
class GitFolders:
    """The folders of a repository that have its refs. own: of this working tree · common: of all its working trees."""

    own: Path
    common: Path

    @property
    def heads(self) -> Path:
        """The folder of branches."""
        return self.common / "refs" / "heads"

    @property
    def reftable(self) -> Path:
        """The folder of the other format of refs; mostly there is none."""
        return self.common / "reftable"


def folders_of(top: Path) -> GitFolders | None:
    """Return the folders of the repository with this working tree, or None if there is none."""
    git = top / ".git"
    try:
        if not git.is_dir():
            word, _, where = git.read_text(errors="surrogateescape").rstrip("\n").partition(": ")
            if word != "gitdir":
                return None
            git = top / where
        if not (git / "HEAD").exists():
            return None
        common = _text(git / "commondir")
    except OSError:
        return None
    git = Path(os.path.realpath(git))
    return GitFolders(git, Path(os.path.realpath(git / common.rstrip("\n"))) if common else git)


def counts(ref: str) -> bool:
    """Return whether a pipeline can take input from a ref. `triggers/hook` has the same rule."""
    if ref in ("refs/heads/git-annex", RESULTS_BRANCH) or ref.startswith("refs/heads/synced/"):
        return False
    return ref == "HEAD" or ref.startswith(_HEADS)


def read_tips(top: Path) -> dict[str, str] | None:
    """Return what `HEAD` and the branches that count point to; None if there is no repository.

    The value of `HEAD` is `ref: refs/heads/NAME` on a branch.
    """
    folders = folders_of(top)
    if folders is None:
        return None
    found = {}
    if head := _text(folders.own / "HEAD"):
        found["HEAD"] = head.strip()
    if folders.reftable.is_dir():
        return _by_git(top)
    loose = dict(_loose(folders.heads, _HEADS))  # before the packed ones: git packs first, and then removes
    found |= _packed(folders.common / "packed-refs") | loose
    return {ref: value for ref, value in found.items() if counts(ref) and value}


def _by_git(top: Path) -> dict[str, str] | None:
    repo = Repo(top)
    try:
        found = {ref: sha for ref, sha in repo.refs(_HEADS).items() if counts(ref)}
        branch, head = repo.branch(), repo.head()
    except GitError:
        return None
    return {"HEAD": f"ref: {_HEADS}{branch}" if branch else head or "", **found}


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _loose(folder: Path, prefix: str) -> Iterator[tuple[str, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir():
            yield from _loose(folder / entry.name, f"{prefix}{entry.name}/")
        elif not entry.name.endswith(".lock"):
            yield prefix + entry.name, _text(folder / entry.name).strip()


def _packed(file: Path) -> dict[str, str]:
    found = {}
    for line in _text(file).splitlines():
        sha, _, ref = line.partition(" ")
        if ref.startswith(_HEADS):
            found[ref] = sha
    return found
