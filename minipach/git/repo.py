"""The git and git-annex plumbing; no other module starts a git process."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Literal

from minipach.git import config_cache, network, settings
from minipach.git.child_environment import child_environment, environment_at
from minipach.git.loose_reader import LooseReader
from minipach.git.own_moves import note_moves
from minipach.git.ref_files import UnsureError, git_folder, read_head, read_ref, read_refs
from minipach.git.ref_transaction import run_transaction
from minipach.support.errors import Problem, UserError

GITLINK = "160000"
SYMLINK = "120000"
TREE = "040000"
FILE = "100644"
EXECUTABLE = "100755"

_EMPTY_KEY = "SHA256E-s0--e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

NO_REPOSITORY = "fatal: not a git repository"  # what git says where there is none, with exit code 128
_idents: dict[tuple[str | tuple[str, str], ...], str] = {}
_TRANSFERS = 8  # contents that go to a store at once
_CHUNK = 500  # requests written ahead of the answers: 500 lines of 41 bytes fit into a pipe's buffer


_REJECTED = re.compile(r"^ ?! \[[^\]]*\] +\S+ -> \S+ \((.+)\)$")  # the line of a push for a ref that stays


def reason_in(text: str) -> str:
    """Return the line of an error text in which git, ssh or a server says why; "" if there is none.

    That is seldom the last one: after a refused push git says that it failed, after ssh that nothing could be read.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    remarks = [line.removeprefix("remote: ").strip() for line in lines if line.startswith("remote: ")]
    for line in lines:
        if found := _REJECTED.match(line):
            return f"{found[1]}: {remarks[0]}" if remarks and "hook" in found[1] else found[1]
    for start in ("fatal: ", "error: "):
        for before, line in zip(["", *lines], lines, strict=False):
            if line.startswith(start):
                is_of_ssh = line.startswith("fatal: Could not read from remote") and before
                return (before if is_of_ssh else line.removeprefix(start)).removeprefix("remote: ").strip()
    return lines[-1].strip() if lines else ""


class GitError(Exception):
    """A git command failed: its arguments and what it printed."""

    def __init__(self, repo: Path, args: Sequence[str], code: int, stderr: str, stdout: bytes = b"") -> None:
        self.repo, self.code, self.stderr, self.stdout = repo, code, stderr.strip(), stdout
        super().__init__(f"{repo}: git {' '.join(args[:4])} failed ({code}): {self.stderr}")

    @property
    def reason(self) -> str:
        """The line in which git says why it failed; else its exit code. It may have an address with credentials."""
        return reason_in(self.stderr) or f"exit code {self.code}"


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One line of a git tree: octal mode, object id, and the path as text (surrogates keep odd bytes)."""

    mode: str
    sha: str
    path: str


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
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        ok: Iterable[int] = (0,),
    ) -> bytes:
        """Run git here and return its stdout; GitError unless the exit code is in `ok`."""
        command = ["git", *settings.complete(args)]
        there = environment_at(self.path, env, own=self.own)
        limit = network.limit_of(args)
        if limit is not None:
            done = network.run_within(command, limit, cwd=self.path, stdin=stdin, env=there)
        else:
            done = subprocess.run(
                command,
                cwd=self.path,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
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
            found = _small_listing(self._quick, treeish, paths, recursive=recursive)
            if found is not None:
                return found
        args = ["ls-tree", "-z", "--full-tree"] + (["-r"] if recursive else []) + [treeish]
        if paths:
            args += ["--", *paths]
        return list(parse_ls_tree(self.git(*args)))

    def names(self, treeish: str) -> list[str]:
        """Return the names at the root of a tree, without what they stand for: quick for a large folder."""
        with contextlib.suppress(GitError, LookupError):
            return [entry.path for entry in _SmallTrees(self._quick).listed(f"{treeish}^{{tree}}", "")]
        out = os.fsdecode(self.git("ls-tree", "-z", "--full-tree", "--name-only", treeish))
        return out.split("\0")[:-1]

    def paths(self, treeish: str) -> list[str]:
        """Return the paths of all files of a tree, without what they stand for."""
        with contextlib.suppress(GitError):  # the reader ended: git says why
            if (found := _small_listing(self._quick, treeish, (), recursive=True)) is not None:
                return [entry.path for entry in found]
        return os.fsdecode(self.git("ls-tree", "-r", "-z", "--name-only", "--full-tree", treeish)).split("\0")[:-1]

    def small_changes(self, old: str, new: str) -> list[tuple[str, TreeEntry | None, TreeEntry | None]] | None:
        """Return what differs between two commits, as (path, old entry, new entry), as git sorts it; None: ask git."""
        with contextlib.suppress(GitError, LookupError):
            found = _SmallTrees(self._quick).changes(f"{old}^{{tree}}", f"{new}^{{tree}}", "")
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


def parse_ls_tree(data: bytes) -> Iterator[TreeEntry]:
    """Yield entries of `git ls-tree -z` output."""
    for row in data.split(b"\0"):
        if row:
            meta, _, path = row.partition(b"\t")
            mode, _kind, sha = meta.split()
            yield TreeEntry(mode.decode(), sha.decode(), os.fsdecode(path))


def parse_tree(data: bytes) -> Iterator[TreeEntry]:
    """Yield entries of a raw tree object (SHA-1): `mode SP name NUL 20-bytes`, names without folders."""
    at = 0
    while at < len(data):
        space = data.index(b" ", at)
        nul = data.index(b"\0", space)
        mode = data[at:space].decode().rjust(6, "0")
        yield TreeEntry(mode, data[nul + 1 : nul + 21].hex(), os.fsdecode(data[space + 1 : nul]))
        at = nul + 21


_MOST_TREES = 40  # of a listing that starts no process
_MOST_BYTES = 100_000
_LITERAL = (":(top,literal)", ":(literal)")


def _small_listing(
    objects: CatFile | LooseReader, treeish: str, paths: Sequence[str], *, recursive: bool
) -> list[TreeEntry] | None:
    """Return what `git ls-tree` lists, read from the trees; None: git must do it."""
    wanted = [path.removeprefix(word) for path in paths for word in _LITERAL if path.startswith(word)]
    if len(wanted) < len(paths) or any(not path or path.endswith("/") or "//" in path for path in wanted):
        return None
    if any(other.startswith(f"{path}/") for path in wanted for other in wanted):
        return None
    trees = _SmallTrees(objects)
    top = f"{treeish}^{{tree}}"
    try:
        found = [entry for path in wanted if (entry := trees.at(top, path))] if paths else trees.listed(top, "")
        if recursive:
            found = [below for entry in found for below in trees.below(entry)]
    except LookupError:
        return None
    ordered = {_in_order(entry): entry for entry in found}
    return [ordered[key] for key in sorted(ordered)]


def _in_order(entry: TreeEntry) -> bytes:
    return os.fsencode(entry.path) + (b"/" if entry.mode == TREE else b"")


class _SmallTrees:
    """The trees of one listing. Each method raises LookupError for what is large or missing."""

    def __init__(self, objects: CatFile | LooseReader) -> None:
        self._objects = objects
        self._known: dict[str, list[TreeEntry]] = {}
        self._bytes = 0

    def listed(self, name: str, above: str) -> list[TreeEntry]:
        """Return the entries of a tree. above: its path."""
        if name not in self._known:
            data = self._objects.read_if_free(name) if len(self._known) < _MOST_TREES else None
            self._bytes += len(data or b"")
            if data is None or self._bytes > _MOST_BYTES:
                raise LookupError
            self._known[name] = list(parse_tree(data))
        prefix = f"{above}/" if above else ""
        return [TreeEntry(entry.mode, entry.sha, prefix + entry.path) for entry in self._known[name]]

    def at(self, top: str, path: str) -> TreeEntry | None:
        """Return the entry at a path, if there is one."""
        name, above = top, ""
        for part in path.split("/"):
            here = f"{above}/{part}" if above else part
            entry = next((e for e in self.listed(name, above) if e.path == here), None)
            if entry is None or (entry.mode != TREE and here != path):
                return None
            name, above = entry.sha, here
        return entry

    def changes(
        self, old: str | None, new: str | None, above: str
    ) -> Iterator[tuple[str, TreeEntry | None, TreeEntry | None]]:
        """Yield what differs between two trees below a path: files and gitlinks, with their entries."""
        before = {entry.path: entry for entry in (self.listed(old, above) if old else ())}
        after = {entry.path: entry for entry in (self.listed(new, above) if new else ())}
        for path in sorted(before.keys() | after.keys()):
            one, two = before.get(path), after.get(path)
            if one is not None and two is not None and (one.mode, one.sha) == (two.mode, two.sha):
                continue
            trees = [entry.sha if entry is not None and entry.mode == TREE else None for entry in (one, two)]
            if any(trees):
                yield from self.changes(trees[0], trees[1], path)
            files = [entry if entry is not None and entry.mode != TREE else None for entry in (one, two)]
            if any(files):
                yield path, files[0], files[1]

    def below(self, entry: TreeEntry) -> Iterator[TreeEntry]:
        """Yield the files below an entry, or the entry itself."""
        if entry.mode != TREE:
            yield entry
            return
        for inside in self.listed(entry.sha, entry.path):
            yield from self.below(inside)


class CatFile:
    """The objects of a repository by their names: loose ones are read here, all others by one process.

    The process (`git cat-file --batch`) begins when it is needed for the first time.
    """

    def __init__(self, repo: Path) -> None:
        self._repo = repo
        self._loose = LooseReader(repo)
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = threading.Lock()  # held until all answers to what was asked are read
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether it answers: no process was needed yet, or it still runs."""
        return not self._closed and (self._process is None or self._process.poll() is None)

    def close(self) -> None:
        """End the process, if one was needed."""
        self._closed = True
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                self._in.close()
            self._out.close()
            self._process.wait()

    def read(self, name: str) -> bytes | None:
        """Return the content of one object, named by id or `REV:PATH` (no newline in it); None if missing."""
        if "\n" in name:
            return None
        return next(iter(self.read_many([name])))

    def read_many(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """Yield the contents of many objects, in order."""
        done = 0
        for name in names:
            try:
                found = self._loose.find(name)
            except UnsureError:
                break  # the others are asked for at once
            yield None if found is None else found.data
            done += 1
        for start in range(done, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            with self._asked:
                self._ask(chunk)
                for _ in chunk:
                    answer = self._answer()
                    yield None if answer is None else answer[1]

    def resolve(self, name: str) -> str | None:
        """Return the id of an object; None if it is missing, or if the process is at something else."""
        answer = self._answer_if_free(name)
        return None if answer is None else answer[0]

    def read_if_free(self, name: str) -> bytes | None:
        """Return the content of an object; None if it is missing, or if the process is at something else."""
        answer = self._answer_if_free(name)
        return None if answer is None else answer[1]

    def _answer_if_free(self, name: str) -> tuple[str, bytes] | None:
        with contextlib.suppress(UnsureError):
            found = self._loose.find(name)
            return None if found is None else (found.sha, found.data)
        if "\n" in name or not self._asked.acquire(blocking=False):
            return None
        try:
            self._ask([name])
            return self._answer()
        finally:
            self._asked.release()

    def _ask(self, names: Sequence[str]) -> None:
        if self._process is None:
            self._process = self._begin()
        try:
            self._in.write(b"".join(os.fsencode(n) + b"\n" for n in names))
            self._in.flush()
        except BrokenPipeError:  # as such it would look as if nobody read our own output any more
            raise _reader_ended() from None

    def _begin(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["git", "cat-file", "--batch"],
            cwd=self._repo,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment_at(self._repo),
            start_new_session=True,  # Ctrl-C is for us to handle; it must not end the reader first
        )
        assert process.stdin is not None and process.stdout is not None
        self._in: IO[bytes] = process.stdin
        self._out: IO[bytes] = process.stdout
        return process

    def _answer(self) -> tuple[str, bytes] | None:
        """Return the id and the content of the next object that was asked for; None if it is missing."""
        header = self._out.readline()
        if not header:
            raise _reader_ended()
        if header.endswith((b" missing\n", b" ambiguous\n")):
            return None
        size = int(header.rsplit(b" ", 1)[1])
        data = self._out.read(size + 1)
        if len(data) <= size:
            raise _reader_ended()
        return header.partition(b" ")[0].decode(), data[:-1]


def _reader_ended() -> GitError:
    return GitError(Path(), ["cat-file"], -1, "the object reader ended")


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


def at_once(repo: Repo, contents: int = _TRANSFERS) -> tuple[str, ...]:
    """Return the option by which git-annex transfers several contents at once, unless annex.jobs says how many.

    A store needs some 50 ms for each small content, most of it without work for anybody.

    Args:
        repo: The repository.
        contents: How many there are: each job begins with git processes of its own.
    """
    jobs = min(_TRANSFERS, contents)
    return () if jobs < 2 or repo.config("annex.jobs") else (f"-J{jobs}",)


def take_in_locations(repo: Repo) -> None:
    """Merge what fetched git-annex branches say of where contents are, as after a plain `git pull`."""
    # any question about a key does it (but not in batch mode); `git annex merge` would merge synced/* into the branch
    # that is checked out, too
    annex(repo, "whereis", "-c", "annex.merge-annex-branches=true", f"--key={_EMPTY_KEY}", ok=(0, 1))
