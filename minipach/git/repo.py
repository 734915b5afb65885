"""The git and git-annex plumbing. Only this module starts processes of git, and `object_reader` the reader."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Literal

from minipach.git import config_cache, network, settings
from minipach.git.child_environment import child_environment, environment_at
from minipach.git.git_error import NO_REPOSITORY, GitError
from minipach.git.loose_reader import LooseReader
from minipach.git.object_reader import CatFile
from minipach.git.own_moves import note_moves
from minipach.git.ref_files import UnsureError, git_folder, read_head, read_ref, read_refs
from minipach.git.ref_transaction import run_transaction
from minipach.git.small_trees import SmallTrees, small_listing
from minipach.git.tree_entries import TREE, TreeEntry, parse_ls_tree
from minipach.support.errors import Problem, UserError

_EMPTY_KEY = "SHA256E-s0--e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_idents: dict[tuple[str | tuple[str, str], ...], str] = {}
TRANSFERS = 8  # contents that go to a store at once
# options of git: without git-annex's filter, which looks through the whole index each time it starts
UNFILTERED = ("-c", "filter.annex.process=", "-c", "filter.annex.clean=", "-c", "filter.annex.smudge=")


class Repo:
    """One git repository, found by its work tree (or bare folder). own: it is a checkout of minipach's own."""

    def __init__(self, path: Path, *, own: bool = False) -> None:
        self.path = path
        self.own = own
        self._cat: CatFile | None = None
        self._loose = LooseReader(path)

    def __repr__(self) -> str:
        return f"Repo({str(self.path)!r})"

    def git(
        self,
        *args: str,
        stdin: bytes | IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
        ok: Iterable[int] = (0,),
    ) -> bytes:
        """Run git here and return its stdout; GitError unless the exit code is in `ok`.

        stdin: what it reads. A file is read from where it stands.
        """
        command = ["git", *settings.complete(args)]
        there = environment_at(self.path, env, own=self.own)
        limit = network.limit_of(args)
        file = None if isinstance(stdin, bytes | None) else stdin
        data = stdin if isinstance(stdin, bytes) else None
        if limit is not None and file is None:
            done = network.run_within(command, limit, cwd=self.path, stdin=data, env=there)
        else:
            done = subprocess.run(
                command,
                cwd=self.path,
                input=data,
                stdin=None if data is not None else file or subprocess.DEVNULL,
                capture_output=True,
                env=there,
                check=False,
            )
        if done.returncode not in ok or (done.returncode == 128 and NO_REPOSITORY in os.fsdecode(done.stderr)):
            raise GitError(self.path, args, done.returncode, os.fsdecode(done.stderr), done.stdout)
        return done.stdout

    def line(self, *args: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
        """Return the output of a git command less its last newline."""
        return os.fsdecode(self.git(*args, stdin=stdin, env=env)).rstrip("\n")

    def succeeds(self, *args: str) -> bool:
        """Return whether a git command exits with 0."""
        try:
            self.git(*args)
        except GitError:
            return False
        return True

    def resolve(self, rev: str) -> str | None:
        """Return the object id that `rev` names, or None."""
        base = rev.removesuffix("^{commit}")
        if base == "HEAD" or (base == rev and rev.startswith("refs/")):
            with contextlib.suppress(UnsureError):
                return read_ref(git_folder(self.path), base)
        with contextlib.suppress(GitError):  # the reader ended: git says why
            if found := self._quick.resolve(rev):
                return found
        out = self.git("rev-parse", "--verify", "--quiet", "--end-of-options", rev, ok=(0, 1, 128))
        return out.decode().strip() or None

    def branch(self) -> str | None:
        """Return the branch that is checked out (short name), or None on a detached HEAD."""
        with contextlib.suppress(UnsureError):
            head = read_head(git_folder(self.path))
            return head.removeprefix("ref: refs/heads/") if head.startswith("ref: ") else None
        out = os.fsdecode(self.git("symbolic-ref", "--quiet", "HEAD", ok=(0, 1))).strip()
        return out.removeprefix("refs/heads/") or None

    def head(self) -> str | None:
        """Return the commit checked out, or None in a repository without commits."""
        return self.resolve("HEAD^{commit}")

    @cached_property
    def common_dir(self) -> Path:
        """The folder that all worktrees share (`.git` of the main one)."""
        with contextlib.suppress(UnsureError):
            return Path(os.path.realpath(git_folder(self.path)))
        return Path(os.path.realpath(self.path / self.line("rev-parse", "--git-common-dir")))

    @property
    def objects(self) -> CatFile:
        """The long-lived object reader of this repository."""
        if self._cat is None or not self._cat.alive:
            self._cat = CatFile(self.path)
        return self._cat

    @property
    def _quick(self) -> CatFile | LooseReader:
        """The reader that starts no process unless somebody has asked for one."""
        return self._cat if self._cat is not None and self._cat.alive else self._loose

    def close(self) -> None:
        """End the object reader, if one runs."""
        if self._cat is not None:
            self._cat.close()
            self._cat = None

    def ls_tree(self, treeish: str, *paths: str, recursive: bool = False) -> list[TreeEntry]:
        """Return the entries of a tree, with full paths; with `recursive` only what is not a tree."""
        with contextlib.suppress(GitError):  # the reader ended: git says why
            found = small_listing(self._quick, treeish, paths, recursive=recursive)
            if found is not None:
                return found
        args = ["ls-tree", "-z", "--full-tree"] + (["-r"] if recursive else []) + [treeish]
        if paths:
            args += ["--", *paths]
        return list(parse_ls_tree(self.git(*args)))

    def small_listing(self, treeish: str) -> list[TreeEntry] | None:
        """Return all files of a small tree, read without a process of its own; None: git must list them."""
        with contextlib.suppress(GitError):
            return small_listing(self._quick, treeish, (), recursive=True)
        return None

    def names(self, treeish: str) -> list[str]:
        """Return the names at the root of a tree, without what they stand for: quick for a large folder."""
        with contextlib.suppress(GitError, LookupError):
            return [entry.path for entry in SmallTrees(self._quick).listed(f"{treeish}^{{tree}}", "")]
        out = os.fsdecode(self.git("ls-tree", "-z", "--full-tree", "--name-only", treeish))
        return out.split("\0")[:-1]

    def paths(self, treeish: str) -> list[str]:
        """Return the paths of all files of a tree, without what they stand for."""
        with contextlib.suppress(GitError):  # the reader ended: git says why
            if (found := small_listing(self._quick, treeish, (), recursive=True)) is not None:
                return [entry.path for entry in found]
        return os.fsdecode(self.git("ls-tree", "-r", "-z", "--name-only", "--full-tree", treeish)).split("\0")[:-1]

    def small_changes(self, old: str, new: str) -> list[tuple[str, TreeEntry | None, TreeEntry | None]] | None:
        """Return what differs between two commits, as (path, old entry, new entry), as git sorts it; None: ask git."""
        with contextlib.suppress(GitError, LookupError):
            found = SmallTrees(self._quick).changes(f"{old}^{{tree}}", f"{new}^{{tree}}", "")
            return sorted(found, key=lambda row: os.fsencode(row[0]))
        return None

    def config(self, key: str, file: str | None = None) -> str | None:
        """Return a git setting of this repository, or of one file (a path, or `blob:REV:PATH`)."""
        if file is None:
            with contextlib.suppress(GitError):
                return self.settings().get(config_cache.canonical(key))
            return None
        where = ["--blob", file[5:]] if file.startswith("blob:") else ["--file", file]
        try:
            out = self.git("config", *where, "--get", key, ok=(0, 1))
        except GitError:
            return None
        return os.fsdecode(out).rstrip("\n") if out else None

    def settings(self) -> Mapping[str, str]:
        """Return all git settings of this repository, by canonical key; of several values, the last."""
        env = environment_at(self.path, own=self.own)
        return config_cache.settings_of(self.path, env, lambda: self.git("config", "-z", "--list", "--show-origin"))

    def ident(self, who: Literal["AUTHOR", "COMMITTER"]) -> str:
        """Return who writes a commit now: `Name <mail> seconds zone`. GitError if git does not know."""
        env = environment_at(self.path, own=self.own)
        own = {k: v for k, v in self.settings().items() if k.partition(".")[0] in ("user", "author", "committer")}
        given = {k: v for k, v in env.items() if k == "EMAIL" or k.startswith(("GIT_AUTHOR_", "GIT_COMMITTER_"))}
        where = (who, *sorted(own.items()), *sorted(given.items()))
        if where not in _idents:
            _idents[where] = self.line("var", f"GIT_{who}_IDENT")
        found = _idents[where]
        if given.get(f"GIT_{who}_DATE"):
            return found
        return f"{found.rsplit(' ', 2)[0]} {int(time.time())} {time.strftime('%z')}"

    def config_of_user(self, key: str) -> str | None:
        """Return a git setting as the user has it, also one that is neutralised in our own calls."""
        done = subprocess.run(
            ["git", "config", "--get", key], cwd=self.path, env=child_environment(), capture_output=True, check=False
        )
        return os.fsdecode(done.stdout).rstrip("\n") if done.returncode == 0 else None

    def hash_blob(self, data: bytes) -> str:
        """Store `data` as a blob and return its id."""
        return self.line("hash-object", "-w", "--stdin", stdin=data)

    def write_tree(self, entries: Iterable[TreeEntry]) -> str:
        """Store the tree that holds exactly `entries` (full paths, no trees among them)."""
        index = self.common_dir / "minipach-index"
        with private_index(index) as env:
            self.git("read-tree", "--empty", env=env)
            info = b"".join(f"{e.mode} {e.sha}\t".encode() + os.fsencode(e.path) + b"\0" for e in entries)
            self.git("update-index", "-z", "--index-info", stdin=info, env=env)
            return self.line("write-tree", "--missing-ok", env=env)

    def commit_tree(
        self, tree: str, message: str, parents: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> str:
        """Store a commit of `tree` and return its id; no ref moves."""
        args = ["commit-tree", "--no-gpg-sign", tree]
        for parent in parents:
            args += ["-p", parent]
        return self.line(*args, "-F", "-", stdin=os.fsencode(message), env=env)

    def update_refs(self, lines: Sequence[str]) -> None:
        """Run one transaction of `git update-ref --stdin`: all of the lines, or none (GitError)."""
        if lines:
            note_moves(self.common_dir, lines)
            if self._moved(lines):
                return
            text = "start\n" + "".join(f"{line}\n" for line in lines) + "prepare\ncommit\n"
            self.git("update-ref", "--stdin", stdin=text.encode())

    def _moved(self, lines: Sequence[str]) -> bool:
        """Run a transaction without a process; False: git must do it."""
        try:
            folder, given = git_folder(self.path), self.settings()
            return run_transaction(folder, lines, given, self._kind, lambda: self.ident("COMMITTER"))
        except (UnsureError, GitError):
            return False
        except OSError as error:
            raise GitError(self.path, ["update-ref"], 1, str(error)) from None

    def _kind(self, sha: str) -> str | None:
        """Return the kind of a loose object; None: git must look."""
        with contextlib.suppress(UnsureError):
            found = self._loose.find(sha)
            return None if found is None else found.kind
        return None

    def refs(self, prefix: str) -> dict[str, str]:
        """Return all refs below `prefix` with the objects that they point to."""
        with contextlib.suppress(UnsureError):
            return read_refs(git_folder(self.path), prefix)
        out = self.line("for-each-ref", "--format=%(objectname) %(refname)", prefix)
        return {name: sha for sha, _, name in (row.partition(" ") for row in out.splitlines())}


@contextlib.contextmanager
def private_index(path: Path) -> Iterator[dict[str, str]]:
    """Yield the environment for a private index file of git; remove the file afterwards."""
    own = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        yield {"GIT_INDEX_FILE": str(own)}
    finally:
        for leftover in (own, own.with_name(own.name + ".lock")):
            leftover.unlink(missing_ok=True)


def is_dataset(path: Path) -> bool:
    """Return whether `path` is the top of an installed git repository of its own."""
    return (path / ".git").exists()


def has_folder(repo: Repo, commit: str, path: str) -> bool:
    """Return whether a commit has files below a path."""
    return any(entry.mode == TREE for entry in repo.ls_tree(commit, f":(top,literal){path}"))


_NO_IDENTITY = Problem(
    "git.no-identity",
    "git",
    "no identity for commits",
    "git config --global user.name 'Your Name' && git config --global user.email you@example.org",
)
_ASKS_WHO = re.compile(r"me who you are|auto-detect email address|no (email|name) was given|empty ident name")


def need_identity(repo: Repo) -> None:
    """Raise UserError unless git knows who commits here."""
    try:
        repo.ident("COMMITTER")
        repo.ident("AUTHOR")
    except GitError:
        raise UserError(_NO_IDENTITY) from None


def explain_identity(error: Exception) -> Problem | None:
    """Return the problem where git failed since it does not know who commits; None: that isn't it."""
    return _NO_IDENTITY if isinstance(error, GitError) and _ASKS_WHO.search(error.stderr) else None


def has_annex(repo: Repo) -> bool:
    """Return whether git-annex is initialised in a repository. A plain `git clone` does not do it."""
    return repo.config("annex.uuid") is not None


def lacks_objects(repo: Repo, *revisions: str) -> bool:
    """Return whether objects of commits are missing, as after a `git gc --prune=now` while they were made."""
    try:
        found = repo.git("rev-list", "--objects", "--missing=print", "--no-object-names", *revisions)
    except GitError:
        return True
    return any(line.startswith(b"?") for line in found.splitlines())


def need_annex(repo: Repo) -> None:
    """Initialise git-annex where a plain `git clone` left it out. UserError if that fails or isn't wanted."""
    if has_annex(repo):
        return
    fix = f"git -C {shlex.quote(str(repo.path))} annex init"
    if repo.config("annex.autoinit") in ("false", "no", "off", "0"):
        raise UserError(
            Problem(
                "annex.not-initialised",
                str(repo.path),
                "git-annex is not initialised here, and annex.autoinit is off",
                fix,
            )
        )
    try:
        annex(repo, "init", "--quiet")
    except GitError as error:
        problem = f"git-annex can't be initialised: {error.reason}"
        raise UserError(Problem("annex.not-initialised", str(repo.path), problem, fix)) from None


def annex(repo: Repo, *args: str, stdin: bytes | None = None, ok: Iterable[int] = (0,)) -> bytes:
    """Run `git annex` in a repository."""
    return repo.git("annex", *args, stdin=stdin, ok=ok)


def at_once(repo: Repo, contents: int = TRANSFERS, most: int = TRANSFERS) -> tuple[str, ...]:
    """Return the option by which git-annex transfers several contents at once, unless annex.jobs says how many.

    A store needs some 50 ms for each small content, most of it without work for anybody.

    Args:
        repo: The repository.
        contents: How many there are: each job begins with git processes of its own.
        most: How many at most.
    """
    jobs = min(most, contents)
    return () if jobs < 2 or repo.config("annex.jobs") else (f"-J{jobs}",)


def take_in_locations(repo: Repo) -> None:
    """Merge what fetched git-annex branches say of where contents are, as after a plain `git pull`."""
    # any question about a key does it (but not in batch mode); `git annex merge` would merge synced/* into the branch
    # that is checked out, too
    annex(repo, "whereis", "-c", "annex.merge-annex-branches=true", f"--key={_EMPTY_KEY}", ok=(0, 1))
