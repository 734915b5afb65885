"""New datasets without a process: the second and each later one of a pass is made as the first one was.

git and git-annex have made the `.git` folder of the first one. The next one gets a copy of what does not depend on
the dataset (settings, hooks, attributes), a UUID of its own, and a `git-annex` branch with its `uuid.log`.
git-annex makes all its other files when it needs them, as in a clone.

Sources: https://git-annex.branchable.com/internals/ (uuid.log, annex.uuid, annex.version) and
https://git-scm.com/docs/gitrepository-layout
"""

from __future__ import annotations

import os
import stat
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from minipach.git import config_text
from minipach.git.index_file import write_index
from minipach.git.loose_objects import LooseObjects, Tree, commit_text
from minipach.git.own_moves import note_moves
from minipach.git.plain_settings import is_plain
from minipach.git.ref_files import UnsureError, git_folder, read_head, read_ref
from minipach.git.repo import Repo
from minipach.git.tree_entries import EXECUTABLE, FILE, SYMLINK, TreeEntry

_OWN = {  # what belongs to one dataset
    *("objects", "refs", "logs", "annex", "minipach", "worktrees", "modules", "config", "HEAD"),
    *("index", "packed-refs", "ORIG_HEAD", "COMMIT_EDITMSG", "FETCH_HEAD", "gc.pid"),
}
_FOLDERS = ("objects/info", "objects/pack", "refs/heads", "refs/tags", "annex/objects")
_AGE = 10.0  # seconds that new files pretend to be old: git looks into those that are as young as its index
_OTHER_WAYS = ("core.filemode=false", "core.ignorecase=true", "core.symlinks=false", "annex.crippledfilesystem=true")


@dataclass(frozen=True)
class GitFolder:
    """The parts of a `.git` folder that do not depend on the dataset. files: contents and modes, by their paths."""

    device: int
    branch: str
    config: bytes
    files: Mapping[str, tuple[bytes, int]]

    @classmethod
    def of(cls, repo: Repo) -> GitFolder | None:
        """Read a dataset that git and git-annex have just made. Return None if its copies could be wrong."""
        try:
            folder = git_folder(repo.path)
            settings = repo.settings()
            config = (folder / "config").read_bytes()
            known = config_text.values(config)
            unusual = any(
                f"{key}={settings.get(key)}" in _OTHER_WAYS for key in (w.partition("=")[0] for w in _OTHER_WAYS)
            )
            if unusual or not is_plain(settings) or not {"annex.uuid", "annex.version"} <= known.keys():
                return None
            head = read_head(folder)
            if not head.startswith("ref: refs/heads/"):
                return None
            return cls(os.stat(folder).st_dev, head.removeprefix("ref: "), config, _files(folder))
        except (UnsureError, config_text.NotPlainConfigError, OSError):
            return None

    def copy_to(self, top: Path, described: str, author: str, committer: str, files: Mapping[str, bytes]) -> None:
        """Make a dataset in an empty folder. Raises OSError and NotPlainError.

        described: for git-annex · author, committer: `Name <mail> seconds zone` · files: those of the first commit.
        """
        folder = top / ".git"
        for name in _FOLDERS:
            (folder / name).mkdir(parents=True)
        for path, (data, mode) in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
            os.chmod(folder / path, mode)
        ident = str(uuid.uuid4())
        (folder / "config").write_bytes(config_text.changed(self.config, {"annex.uuid": ident}))
        (folder / "HEAD").write_text(f"ref: {self.branch}\n")
        store = LooseObjects(folder)
        log = f"{ident} {described} timestamp={time.time():.6f}s\n".encode()
        store.write_ref(
            "refs/heads/git-annex", _commit(top, store, {"uuid.log": log}, author, committer, "branch created\n")
        )
        new = _commit(top, store, files, author, committer, "[DATALAD] new dataset\n")
        note_moves(folder, [f"update HEAD {new}"])
        store.write_ref(self.branch, new)
        past = time.time() - _AGE
        for path, data in files.items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_bytes(data)
            os.utime(top / path, (past, past))


def _files(folder: Path) -> dict[str, tuple[bytes, int]]:
    found = {}
    for here, folders, names in os.walk(folder):
        at_top = here == str(folder)
        if at_top:
            folders[:] = [name for name in folders if name not in _OWN]
        for name in names:
            if at_top and (name in _OWN or name.endswith(".lock")):
                continue
            path = Path(here, name)
            info = path.lstat()
            if not stat.S_ISREG(info.st_mode):
                raise UnsureError
            found[str(path.relative_to(folder))] = path.read_bytes(), stat.S_IMODE(info.st_mode)
    return found


def _commit(
    top: Path, store: LooseObjects, files: Mapping[str, bytes], author: str, committer: str, message: str
) -> str:
    tree = Tree(Repo(top), store, None)
    for path, data in files.items():
        tree.set(path, FILE, store.add("blob", data))
    return store.add("commit", commit_text(tree.store(), [], author, committer, message))


def commit_all(repo: Repo, shown: Collection[str], author: str, committer: str, message: str) -> bool:
    """Commit all files of a new dataset of texts, and write its index; False: git must do it.

    shown: paths that git does not ignore. A folder with another one is git's to look at.
    """
    folder = git_folder(repo.path)
    paths = _all_files(repo.path)
    if os.path.lexists(folder / "index") or any(path not in shown for path in paths):
        return False
    head = read_head(folder).removeprefix("ref: ")
    parent = read_ref(folder, head)
    if parent is None:
        return False
    store = LooseObjects(folder)
    entries = []
    for path in paths:
        there = repo.path / path
        info = there.lstat()
        if stat.S_ISLNK(info.st_mode):
            mode, data = SYMLINK, os.fsencode(os.readlink(there))
        else:
            mode, data = EXECUTABLE if info.st_mode & 0o100 else FILE, there.read_bytes()
        entries.append(TreeEntry(mode, store.add("blob", data), path))
    tree = Tree(repo, store, None)
    for entry in entries:
        tree.set(entry.path, entry.mode, entry.sha)
    new = store.add("commit", commit_text(tree.store(), [parent], author, committer, message))
    write_index(folder, repo.path, entries)
    note_moves(folder, [f"update HEAD {new}"])
    store.write_ref(head, new)
    return True


def _all_files(top: Path) -> list[str]:
    found = []
    for here, folders, names in os.walk(top):
        if here == str(top):
            folders.remove(".git")
        links = [name for name in folders if os.path.islink(os.path.join(here, name))]
        found += [os.path.relpath(os.path.join(here, name), top) for name in (*names, *links)]
    return found
