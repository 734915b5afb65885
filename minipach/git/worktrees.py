"""Slots: small worktrees of a pipeline's repo in which datum sets run, made, reset, and cleared up after a crash."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from minipach.git.annex_keys import MAX_POINTER, key_of_pointer
from minipach.git.child_environment import child_environment
from minipach.git.git_error import GitError
from minipach.git.ref_files import read_own_head
from minipach.git.repo import UNFILTERED, Repo, annex
from minipach.git.worktree_files import write_worktree
from minipach.model.launch_protocol import PFS, SCRATCH
from minipach.model.local_state import LocalState
from minipach.model.repo_layout import FOLDER, INPUTS, SLOT_BRANCH
from minipach.support.files import remove_tree

_PREFIX = "minipach-"
_ROUNDS = 20  # more attempts to remove a slot in which something still works
_PAUSE = 0.05  # seconds before each of them
_SMALL = 1 << 20  # bytes
_CONTAINER = re.compile(r"minipach-[0-9a-f]{16}")
_AGE = 10.0  # seconds that a fresh checkout pretends to be old
_without_pointers: set[str] = set()  # commits that have no unlocked annexed file


def slots_dir(repo: Repo) -> Path:
    """Return where a repo's slots are: beside its annex, so that outputs move there by a rename."""
    return LocalState.of(repo.common_dir).slots


class Owner:
    """A lock file that lives as long as the process which uses the slots; it dies with that process."""

    def __init__(self, repo: Repo) -> None:
        self.name = f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        folder = slots_dir(repo)
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{self.name}.lock"
        while True:
            self._file = self._path.open("w")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._file.fileno()), self._path.stat()):
                    break
            self._file.close()  # a clean-up came between, and took a file away that nobody held yet

    def release(self) -> None:
        """Give the slots up: the next clean-up may take them away."""
        self._path.unlink(missing_ok=True)
        self._file.close()


class Slot:
    """One worktree, at one base commit at a time."""

    def __init__(self, main: Repo, path: Path) -> None:
        self.main = main
        self.repo = Repo(path, own=True)
        self.path = path

    def head(self) -> str:
        """Return the commit that the slot is at."""
        return read_own_head(self.path, SLOT_BRANCH) or self.repo.line("rev-parse", "HEAD")

    @property
    def place(self) -> int:
        """A number of its own among its owner's slots; two owners begin to count anywhere."""
        owner, _, number = self.path.name.rpartition(".")
        return zlib.crc32(os.fsencode(owner)) + (int(number) if number.isdecimal() else 0)

    def reset(self, base: str) -> None:
        """Make the worktree equal to `base`, with no staged inputs and nothing left over; make it if need be."""
        if not self.path.exists():
            self._make(base)
            return
        clear_scratch(self.path)
        inputs = self.path / INPUTS
        if inputs.is_dir():
            remove_tree(inputs)
        try:
            self.repo.git("reset", "--quiet", "--hard", base)
            self.repo.git("clean", "-ffdxq")
            self._fill(base)
        except GitError:  # a git that was killed here left a lock, or half a worktree
            self.remove()
            self._make(base)

    def _make(self, base: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if self.path.parent == slots_dir(self.main):
                raise
            raise OSError(f"{self.path.parent}: can't be made: {error.strerror}; see minipach.scratch") from error
        if self.path.parent == slots_dir(self.main) and write_worktree(self.main, self.path, base, SLOT_BRANCH):
            _without_pointers.add(base)
            return
        # git-annex's filter runs here, too: it makes of a worktree what DataLad takes for a dataset with an annex
        Repo(self.main.path, own=True).git("worktree", "add", "--quiet", "--force", "--detach", str(self.path), base)
        # git-annex asks git for the branch, twice for each file that it adds, unless there is one: then it asks once.
        # So HEAD has one, of a kind that only this worktree has and nobody sees.
        self.repo.git("update-ref", SLOT_BRANCH, base)
        self.repo.git("symbolic-ref", "HEAD", SLOT_BRANCH)
        names = self._names()
        self._fill(base, names)
        self._age(names)

    def _names(self) -> list[bytes]:
        """Return the files of the index."""
        top = os.fsencode(self.path)
        return [os.path.join(top, name) for name in self.repo.git("ls-files", "-z").split(b"\0")[:-1]]

    def _fill(self, base: str, names: Iterable[bytes] | None = None) -> None:
        """Give unlocked annexed files their content, which git leaves to a hook of git-annex."""
        if base in _without_pointers:
            return
        if any(_is_pointer(name) for name in (self._names() if names is None else names)):
            annex(self.repo, "smudge", "--update")
        else:
            _without_pointers.add(base)

    def _age(self, names: Iterable[bytes]) -> None:
        """Make what was just checked out older than git's index.

        What is as young as the index could have been changed since: git would look into each such file whenever it is
        asked, with a process of git-annex to help it.
        """
        past = time.time() - _AGE
        for file in names:
            with contextlib.suppress(OSError):  # not checked out, by somebody's configuration: then git doesn't look
                found = os.lstat(file)
                # an unlocked file may share its content with the annex, which knows it by its time; or be long
                if stat.S_ISLNK(found.st_mode) or (found.st_nlink == 1 and found.st_size <= _SMALL):
                    os.utime(file, (past, past), follow_symlinks=False)
        self.repo.git(*UNFILTERED, "update-index", "-q", "--refresh", ok=(0, 1))

    def remove(self) -> None:
        """Take the worktree away, its registration included."""
        self.repo.close()
        remove_slot(self.main, self.path)


def remove_slot(main: Repo, path: Path) -> None:
    """Remove a worktree's folder and git's entry for it, whatever state a crash left them in."""
    if path.exists():
        clear_scratch(path)
        remove_tree(path)
    for _ in range(_ROUNDS):  # a process that was killed may still finish a system call, and so make another file
        if not path.exists():
            break
        kill_inside(path)
        time.sleep(_PAUSE)
        remove_tree(path)
    # `git worktree prune` would also drop a person's worktree whose disk isn't mounted just now
    remove_tree(main.common_dir / "worktrees" / path.name)


def _is_pointer(name: bytes) -> bool:
    """Return whether a file is an unlocked annexed one whose content git left out."""
    with contextlib.suppress(OSError):
        found = os.lstat(name)
        if stat.S_ISREG(found.st_mode) and found.st_size <= MAX_POINTER:
            with open(name, "rb") as file:
                return key_of_pointer(file.read()) is not None
    return False


def clear_scratch(path: Path) -> None:
    """Remove what a killed launcher left, and end the command or podman container that it may have left running."""
    for scratch in (path / FOLDER).glob(SCRATCH):
        kill_inside(path)
        _remove_container(scratch / "container")
        remove_tree(scratch)


def _remove_container(noted: Path) -> None:
    """End the container that a launcher has noted: by the name that launchers make, and by no other."""
    if noted.is_symlink() or not noted.is_file():
        return
    name = noted.read_bytes()[:100].decode(errors="replace").strip()
    for runtime in ("podman", "docker"):
        if _CONTAINER.fullmatch(name) and shutil.which(runtime):
            subprocess.run([runtime, "rm", "--force", name], env=child_environment(), capture_output=True, check=False)


def left_behind(repo: Repo) -> list[Path]:
    """Return the slots of owners that are gone."""
    folder = slots_dir(repo)
    if not folder.is_dir():
        return []
    # git registers a worktree before it makes its folder: a kill between the two leaves the entry alone
    names = {p.name for there in (folder, repo.common_dir / "worktrees") if there.is_dir() for p in there.iterdir()}
    slots = [folder / n for n in sorted(names) if n.startswith(_PREFIX) and not n.endswith(".lock")]
    return [path for path in slots if not _held(folder / f"{path.name.rpartition('.')[0]}.lock")]


def clean_up(repo: Repo) -> int:
    """Remove the slots of owners that are gone, end what still runs in them, and return how many there were."""
    left = left_behind(repo)
    for path in left:
        kill_inside(path)
        remove_slot(repo, path)
    for lock in slots_dir(repo).glob("*.lock"):
        _held(lock, remove=True)
    return len(left)


def _held(lock: Path, *, remove: bool = False) -> bool:
    """Return whether somebody holds it. remove: take it away if not, while it is ours."""
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if remove:
                lock.unlink(missing_ok=True)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def kill_inside(*folders: Path) -> None:
    """End every process whose working directory is in one of the folders.

    Also end every command whose /pfs is there, with what it started. Linux; elsewhere there is no way to ask.
    """
    inside = [os.path.realpath(folder) for folder in folders]
    scratch = [os.fsencode(f"{PFS}={place}/{FOLDER}/{SCRATCH.rstrip('*')}") for place in inside]
    for entry in Path("/proc").glob("[0-9]*") if inside else ():
        try:
            where = os.readlink(entry / "cwd")
            found = any(where == place or where.startswith(place + "/") for place in inside)
            if not found:
                variables = (entry / "environ").read_bytes()
                found = any(word in variables for word in scratch)
            if found and int(entry.name) != os.getpid():
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue  # gone meanwhile, or another user's


@contextlib.contextmanager
def temporary_worktree(repo: Repo, rev: str) -> Iterator[Repo]:
    """Yield a worktree; remove it afterwards."""
    owner = Owner(repo)
    path = slots_dir(repo) / f"{owner.name}.tmp"
    try:
        Repo(repo.path, own=True).git("worktree", "add", "--quiet", "--detach", str(path), rev)
        yield Repo(path, own=True)
    finally:
        remove_slot(repo, path)
        owner.release()
