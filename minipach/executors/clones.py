"""Private clones of a project's repos, made as sets need them: of workers that have no filesystem with the project."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from minipach.git.fast_import import Stream
from minipach.git.git_error import GitError
from minipach.git.repo import Repo, annex, is_dataset, need_identity
from minipach.model.local_state import LocalState
from minipach.model.repo_layout import DATALAD_CONFIG, STORE_SECTION
from minipach.storage.special_remotes import enable
from minipach.storage.store import Store, confirm, confirmed_place, is_confirmed, stores_in, write
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted, suggest

REMOTE = "origin"
_DATASET_ID = "datalad.dataset.id"
_log = logging.getLogger("minipach.executors")
_ANOTHER = "take another folder: minipach -C FOLDER worker --clone URL"
# Without a commit on the branch that is checked out, git-annex asks git twice for each content that it transfers.
_BRANCH = "minipach-worker"
_STORES_LOCK = ".minipach-stores.lock"
_NOBODY = "minipach <minipach> 0 +0000"
_PAUSE = 10.0  # seconds between two looks at how much the clones hold
_EMPTY_COMMIT = "a worker's clone: nothing is checked out\n"
_SETTINGS = {
    "annex.private": "true",  # nobody else need ever know of this clone
    "annex.hardlink": "false",
    "gc.auto": "0",  # several processes fetch into it, and what they have fetched has no ref yet
    "remote.origin.fetch": "+refs/heads/git-annex:refs/remotes/origin/git-annex",
}
_ANNEX_BRANCH = "+refs/heads/git-anne*:refs/remotes/origin/git-anne*"  # a pattern, since not every repo has an annex


def address(text: str) -> str:
    """Return where the project is, as git takes it from anywhere.

    `ssh://lab/data/project`, `lab:data/project`, a folder.
    """
    if not text:
        raise UserError(
            Problem("option.not-an-address", "--clone", "where is the project? ssh://HOST/PATH, HOST:PATH or a folder")
        )
    is_ssh = re.match(r"[^/]+:", text) is not None and not os.path.exists(text)
    return text if "://" in text or is_ssh else os.path.abspath(text)


class Clones:
    """The clones below one folder. url: where the project is, for git (its repos are below)."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.url = url.rstrip("/")

    @property
    def logs(self) -> Path:
        """The folder of the logs of sets that run here, each named after its set."""
        return LocalState.in_root(self.root).logs

    def top(self) -> Repo:
        """Return the clone of the superdataset, by which the folder is known.

        UserError where it is something else's.
        """
        if is_dataset(self.root):
            repo = Repo(self.root)
            found = repo.config(f"remote.{REMOTE}.url")
            ready = LocalState.in_root(self.root).ready.is_file()
            other_branch = repo.head() is not None and repo.branch() != _BRANCH
            if not ready and (found is None or other_branch):
                raise UserError(
                    Problem(
                        "clone.foreign-repository",
                        str(self.root),
                        "a repository, but not a worker's clone",
                        _ANOTHER,
                    )
                )
            if ready and found != self.url:
                raise UserError(
                    Problem(
                        "clone.of-another-project",
                        str(self.root),
                        f"a worker's clone of {found}, not of {self.url}",
                        _ANOTHER,
                    )
                )
        elif self.root.is_dir() and any(self.root.iterdir()):
            raise UserError(
                Problem("clone.folder-not-empty", str(self.root), "not empty, and not a worker's clone", _ANOTHER)
            )
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            repo = self.clone("")
        except GitError as error:
            raise UserError(Problem("clone.failed", self.url, f"can't be cloned: {error.reason}")) from None
        need_identity(repo)
        return repo

    def use_stores(self, names: Sequence[str], notify: Callable[[str], None]) -> None:
        """Send contents to these stores of the project from now on, and to no others.

        To name a store is to confirm it. Its address is kept, so that another one needs another confirmation.

        Raises:
            UserError: The project has no such store, or it is elsewhere now.
        """
        top = self.top()
        for name in stores_in(top, "--local").keys() - set(names):
            top.git("config", "--local", "--remove-section", f"{STORE_SECTION}.{name}")
        if not names:
            return
        commit = self._fetched_head(top)
        file = f"{commit}:{DATALAD_CONFIG}"
        known = stores_in(top, "--blob", file) if top.resolve(file) else {}
        for name in names:
            if name not in known:
                raise UserError(Problem("store.not-found", name, "no store of this project", suggest(name, known)))
            store = known[name]
            before = confirmed_place(top, name)
            if before is not None and not is_confirmed(top, store):
                problem = f"it is at {store.place} now, and was at {before} when it was confirmed"
                fix = f"git -C {quoted(self.root)} config --remove-section {STORE_SECTION}.{name}, if you expect it"
                raise UserError(Problem("store.not-confirmed", name, problem, fix))
            confirm(top, store)
            write(top, store, "--local")
            notify(f"contents go to the store {name}: {store.place}")
        self.enable_stores(self.clone(""))

    @property
    def stores(self) -> list[Store]:
        """The stores that contents go to."""
        return list(stores_in(Repo(self.root), "--local").values())

    def _fetched_head(self, repo: Repo) -> str:
        """Return the commit that is checked out in the project."""
        commit = repo.line("ls-remote", REMOTE, "HEAD").split("\t")[0]
        repo.git("fetch", "--quiet", "--no-write-fetch-head", REMOTE, "HEAD")
        return commit

    def _enable_stores(self, repo: Repo) -> None:
        """Set up the confirmed stores in a clone. What can't be done now is tried again for the next set."""
        for store in self.stores:
            try:
                if repo.config(_DATASET_ID) is None:
                    file = f"blob:{self._fetched_head(repo)}:{DATALAD_CONFIG}"
                    repo.git("config", _DATASET_ID, repo.config(_DATASET_ID, file) or "")
                enable(repo, store)
            except UserError as error:
                _log.warning("%s", error)

    def enable_stores(self, repo: Repo) -> None:
        """Set up the confirmed stores in a clone, unless they are: before contents go there or come from there."""
        with self.lock(_STORES_LOCK):  # clones are made meanwhile
            self._enable_stores(repo)

    def clone(self, path: str) -> Repo:
        """Return the clone of a repo of the project, made if need be. GitError where the address has none.

        Its stores are set up only when they are needed (`enable_stores`): inputs may have all contents in the project.
        """
        path = "" if path == "." else path
        where = self.root / path if path else self.root
        repo = Repo(where)
        if LocalState.in_root(where).ready.is_file():  # without the lock: stores of others may be being set up
            return repo
        with self.lock():
            if LocalState.in_root(where).ready.is_file():
                return repo
            where.mkdir(parents=True, exist_ok=True)
            repo.git("init", "--quiet")
            repo.git("config", f"remote.{REMOTE}.url", f"{self.url}/{path}" if path else self.url)
            for name, value in _SETTINGS.items():
                repo.git("config", name, value)
            repo.git("fetch", "--quiet", "--no-write-fetch-head", REMOTE, "HEAD", _ANNEX_BRANCH)
            annex(repo, "init", "--quiet", "minipach worker")  # it merges the git-annex branch that was fetched
            self._check_out_nothing(repo)
            LocalState.in_root(where).ready.parent.mkdir(exist_ok=True)
            LocalState.in_root(where).ready.touch()
            return repo

    def _check_out_nothing(self, repo: Repo) -> None:
        """Make an empty commit, and its branch the one that is checked out."""
        stream = Stream(f"refs/heads/{_BRANCH}", None, _NOBODY)
        stream.commit(_EMPTY_COMMIT)
        stream.run(repo)
        repo.git("symbolic-ref", "HEAD", f"refs/heads/{_BRANCH}")

    def refresh(self, repo: Repo) -> None:
        """Learn what the project knows of where contents are, and its commits."""
        repo.git("fetch", "--quiet", "--no-write-fetch-head", REMOTE, "HEAD", _ANNEX_BRANCH, ok=(0, 1, 128))
        annex(repo, "merge", "--quiet", ok=(0, 1))

    def known(self) -> list[Path]:
        """Return the clones that there are."""
        found = []
        for name, folders, _ in os.walk(self.root):  # what goes meanwhile is left out
            if LocalState.in_root(Path(name)).ready.is_file():
                found.append(Path(name))
            folders[:] = [folder for folder in folders if folder != ".git"]
        return found

    @contextmanager
    def lock(self, name: str = ".minipach-clones.lock") -> Iterator[None]:
        """Keep the other processes of this worker from changing the clones."""
        with (self.root / name).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class ContentCache:
    """The contents in the clones, of which at most so many bytes are kept."""

    def __init__(self, clones: Clones, most: int) -> None:
        self._clones = clones
        self._most = most
        self._look_after = 0.0

    def trim(self) -> None:
        """Drop what is too much. Where less than half was there a moment ago, nothing is looked at."""
        if time.monotonic() >= self._look_after:
            total = trim(self._clones, self._most)
            self._look_after = time.monotonic() + (_PAUSE if total < self._most / 2 else 0)


def trim(clones: Clones, most: int) -> int:
    """Drop what was not used for longest, until the clones hold at most so many bytes. Return how many they held.

    Only what git-annex finds elsewhere goes.
    """
    found = []
    for path in clones.known():
        for name, _, contents in os.walk(path / ".git" / "annex" / "objects"):
            for content in contents:
                try:
                    stat = os.stat(f"{name}/{content}")
                except OSError:
                    continue
                found.append((stat.st_atime, stat.st_size, content, path))
    total = left = sum(size for _, size, _, _ in found)
    for _, size, key, path in sorted(found):
        if left <= most:
            break
        annex(Repo(path), "drop", "--quiet", "--key", key, ok=(0, 1))
        left -= size
    return total


def touch(path: Path) -> None:
    """Note that a content was used."""
    with contextlib.suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
