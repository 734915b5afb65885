"""The location log: git-annex's record of the repositories that have a content, on the branch `git-annex`.

New lines are committed to that branch without git-annex, as a push from another clone would do; git-annex reads them
at its next start. Its lock of the journal is held meanwhile. `git annex setpresentkey` writes the log where the branch
or the journal is not as expected. What a private repository has (`annex.private`) is in no branch, but in its journal.

Sources: https://git-annex.branchable.com/internals/ (location log, journal, journal-private) and
https://git-annex.branchable.com/git-annex-setpresentkey/
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from minipach.git.annex_layout import is_plain, journal_name, log_path
from minipach.git.fast_import import Stream, committer
from minipach.git.git_error import GitError
from minipach.git.ref_files import UnsureError, git_folder, read_ref
from minipach.git.repo import Repo, annex, take_in_locations
from minipach.git.tree_entries import FILE
from minipach.model.repo_layout import BUILD_REFS

_BRANCH = "refs/heads/git-annex"
_SYNCED = "refs/heads/synced/git-annex"
_TRUST = "trust.log"
_BUILD = f"{BUILD_REFS}locations"
_LINE = re.compile(rb"(?P<time>[0-9]+(?:\.[0-9]+)?)s (?P<state>[01X]) (?P<uuid>.+)")
_PATIENCE = 5.0  # seconds that another process may hold the journal
_PAUSE = 0.01
_STALE = 30.0  # seconds: git holds the lock of a ref for moments, so an older one is of a killed process


def note_present(repo: Repo, keys: Collection[str], remote: str = "") -> None:
    """Record that the contents of plain keys are in this repository, or in a special remote of this id.

    Raises:
        GitError: They could not be recorded.
    """
    settings = repo.settings()
    ident = remote or settings.get("annex.uuid", "")
    private = _privacy_of_remotes(settings) if remote else settings.get("annex.private", "false")
    with contextlib.suppress(UnsureError, OSError, GitError, _BusyError):
        folder = git_folder(repo.path)
        with _journal_lock(folder / "annex"):
            if private == "true":
                _note_in_private(folder / "annex", ident, keys)
            elif private == "false":
                _commit(repo, folder, ident, keys)
            else:
                raise _BusyError
            return
    asked = "".join(f"{key} {ident} 1\n" for key in keys)
    annex(repo, "setpresentkey", "--batch", stdin=asked.encode())
    with contextlib.suppress(GitError):  # then the journal keeps it, and the next git-annex tries again
        take_in_locations(repo)  # commits the journal


def places_on_branch(repo: Repo, keys: Sequence[str]) -> dict[str, set[str]]:
    """Return the ids of the repositories that have contents, for plain keys whose log on the branch says it plainly.

    Keys are left out whose log git-annex must read: it waits in the journal, or is unusual. All are if a branch that
    was fetched is not merged yet, or some repositories are not trusted as usual.
    """
    try:
        folder = git_folder(repo.path)
        parent = read_ref(folder, _BRANCH)
    except UnsureError:
        return {}
    if parent is None or _has_unmerged(repo, parent):
        return {}
    journals = [folder / "annex" / name for name in ("journal", "journal-private")]
    waiting: set[str] = set()
    for journal in journals:
        with contextlib.suppress(FileNotFoundError):
            waiting |= set(os.listdir(journal))
    if _TRUST in waiting or repo.objects.read(f"{parent}:{_TRUST}") is not None:
        return {}
    asked = [key for key in keys if is_plain(key) and journal_name(log_path(key)) not in waiting]
    logs = repo.objects.read_many([f"{parent}:{log_path(key)}" for key in asked])
    read = {key: _present_in(log or b"") for key, log in zip(asked, logs, strict=True)}
    return {key: places for key, places in read.items() if places is not None}


def _has_unmerged(repo: Repo, commit: str) -> bool:
    """Return whether another clone's branch is here that this commit of the branch does not contain."""
    others = [ref for ref in repo.refs("refs/remotes/") if ref.endswith("/git-annex")]
    others += [ref for ref in repo.refs(_SYNCED) if ref == _SYNCED]
    return bool(others) and bool(repo.git("for-each-ref", f"--no-merged={commit}", "--count=1", *others))


def _present_in(log: bytes) -> set[str] | None:
    """Return the repositories that have the content of a log; None if it is not of the usual form."""
    newest: dict[str, tuple[float, bool]] = {}
    for row in log.splitlines():
        found = _LINE.fullmatch(row)
        if found is None:
            return None
        ident, time_of = os.fsdecode(found["uuid"]), float(found["time"])
        if ident in newest and newest[ident][0] == time_of:
            return None
        if ident not in newest or time_of > newest[ident][0]:
            newest[ident] = time_of, found["state"] == b"1"
    return {ident for ident, (_, present) in newest.items() if present}


def _privacy_of_remotes(settings: Mapping[str, str]) -> str:
    """Return "false" if no remote is private; else something else."""
    private = [value for key, value in settings.items() if key.endswith(".annex-private")]
    return "false" if all(value == "false" for value in private) else "unknown"


class _BusyError(Exception):
    """git-annex must do it: another process writes to the branch or about a key, or the time is not the usual one."""


@contextlib.contextmanager
def _journal_lock(folder: Path) -> Iterator[None]:
    """Hold git-annex's lock of its journal. Raises _BusyError if another process keeps it."""
    file = os.open(folder / "journal.lck", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _BusyError from None
                time.sleep(_PAUSE)
        yield
    finally:
        os.close(file)


def _note_in_private(folder: Path, ident: str, keys: Collection[str]) -> None:
    """Write the logs of a private repository: whole files, as git-annex does."""
    if not ident or os.environ.get("GIT_ANNEX_VECTOR_CLOCK"):
        raise _BusyError
    journal = folder / "journal-private"
    journal.mkdir(exist_ok=True)
    line = f"{time.time():.6f}s 1 {ident}\n".encode()
    part = folder / f"minipach-log.{os.getpid()}"
    try:
        for key in keys:
            file = journal / journal_name(log_path(key))
            try:
                old = file.read_bytes()
            except FileNotFoundError:
                old = b""
            others = _without(old, ident, line)
            if others is not None:
                part.write_bytes(others + line)
                os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def _commit(repo: Repo, folder: Path, ident: str, keys: Collection[str]) -> None:
    paths = sorted({log_path(key) for key in keys})
    with contextlib.suppress(FileNotFoundError):
        if {journal_name(path) for path in paths} & set(os.listdir(folder / "annex/journal")):
            raise _BusyError
    parent = read_ref(folder, _BRANCH)
    if parent is None or not ident or os.environ.get("GIT_ANNEX_VECTOR_CLOCK"):
        raise _BusyError
    _clear_stale(folder / f"{_BUILD}.lock")
    line = f"{time.time():.6f}s 1 {ident}\n".encode()
    stream = Stream(_BUILD, parent, committer(repo))
    stream.commit("update\n")
    fresh, written = stream.blob(line), 0
    for path, old in zip(paths, repo.objects.read_many([f"{parent}:{path}" for path in paths]), strict=True):
        others = _without(old or b"", ident, line)
        if others is None:
            continue
        written += 1
        if others:
            stream.write(FILE, others + line, path)
        else:
            stream.put(FILE, fresh, path)
    if not written:
        return
    new = stream.run(repo)
    assert new is not None
    _clear_stale(folder / f"{_BRANCH}.lock")
    repo.update_refs([f"update {_BRANCH} {new} {parent}"])  # with its log, and with the user's hook
    (folder / _BUILD).unlink(missing_ok=True)


def _without(log: bytes, ident: str, line: bytes) -> bytes | None:
    """Return a log without the lines of one repository; None if it says already that the content is there.

    Raises _BusyError for a log that is not of the usual form, or that has a later line of the repository.
    """
    others, newest, present = [], 0.0, False
    for row in log.splitlines(keepends=True):
        found = _LINE.fullmatch(row.rstrip(b"\n"))
        if found is None:
            raise _BusyError
        if found["uuid"] != ident.encode():
            others.append(row)
        elif float(found["time"]) >= newest:
            newest, present = float(found["time"]), found["state"] == b"1"
    if present:
        return None
    if newest >= float(line.partition(b"s")[0]):
        raise _BusyError
    return b"".join(others)


def _clear_stale(lock: Path) -> None:
    """Remove the lock of a ref that a killed process has left."""
    with contextlib.suppress(FileNotFoundError):
        if time.time() - lock.stat().st_mtime > _STALE:
            lock.unlink()
