"""Refs, moved together without a process, as `git update-ref --stdin` moves them in a plain repository.

The steps are those of git: a lock for each ref, a look at the old values, the logs, and then one rename for each ref.
What a killed git leaves behind is what a kill leaves here, and `crash_cleanup` removes it. Whatever is unusual is
git's to do.

Source: https://git-scm.com/docs/gitrepository-layout and refs/files-backend.c of git
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.git.plain_settings import is_plain, runs_hook
from minipach.git.ref_files import UnsureError, read_head, read_ref
from minipach.support.git_objects import NO_OBJECT

_OURS = re.compile(r"refs/(?:heads|minipach)/[0-9A-Za-z_][0-9A-Za-z_+=-]*(?:[./][0-9A-Za-z_][0-9A-Za-z_+=-]*)*")
_ID = re.compile(r"[0-9a-f]{40}")
_BRANCH = "refs/heads/"
_HOOK = "reference-transaction"
_USUAL_LOGS = (None, "true")  # of core.logAllRefUpdates: branches and HEAD have a log


@dataclass(frozen=True, slots=True)
class _Move:
    """A ref that moves. new: None: it is deleted · old: what it must be now; None: anything."""

    ref: str
    new: str | None
    old: str | None


def run_transaction(
    folder: Path,
    lines: Sequence[str],
    settings: Mapping[str, str],
    kind: Callable[[str], str | None],
    who: Callable[[], str],
) -> bool:
    """Run lines of `git update-ref --stdin`: all of them, or none; False: git must do it, and nothing has changed.

    Args:
        folder: the `.git` of the main working tree, whose refs are files.
        lines: `update REF NEW [OLD]`, `create REF NEW` and `delete REF [OLD]`.
        settings: those of the repository.
        kind: returns the kind of an object, or None.
        who: returns who moves them: `Name <mail> seconds zone`.

    Raises:
        OSError: A ref could not be moved, and others may have moved.
    """
    moves = [_move(line) for line in lines]
    if not _is_usual(folder, settings) or len({move.ref for move in moves if move}) < len(lines):
        return False
    known = [move for move in moves if move is not None]
    if any(move.new and not _may_have(move.ref, kind(move.new)) for move in known):
        return False
    locks = _Locks(folder)
    try:
        try:
            head = read_head(folder).removeprefix("ref: ")
            logs = _Logs(folder, who)
            before = _prepare(folder, known, head, locks, logs)
        except (OSError, UnsureError):
            return False
        for move in sorted(known, key=lambda move: move.new is None):  # git deletes at the end
            if move.new is None:
                os.unlink(folder / move.ref)
            else:
                logs.add(move.ref, before[move.ref], move.new)
                locks.become(move.ref)
        for move in known:
            if move.ref == head:
                logs.add("HEAD", before[move.ref], move.new or NO_OBJECT)
    finally:
        locks.release()
    return True


def _prepare(folder: Path, moves: Sequence[_Move], head: str, locks: _Locks, logs: _Logs) -> dict[str, str]:
    """Lock all refs, write their new values, and return the old ones. Raises OSError, and UnsureError."""
    for move in moves:
        locks.take(move.ref)
    moves_head = any(move.ref == head for move in moves)
    if moves_head:
        locks.take("HEAD")
    if any(move.new is None for move in moves):
        locks.take("packed-refs")
    before = {move.ref: _before(folder, move) for move in moves}
    for move in moves:
        if move.new is not None:
            locks.write(move.ref, f"{move.new}\n")
            logs.prepare(move.ref)
    if moves_head:
        logs.prepare("HEAD")
    return before


def _move(line: str) -> _Move | None:
    """Return the move of a line; None: it is git's to read."""
    verb, *words = line.split(" ")
    ref, *ids = words or [""]
    if not _OURS.fullmatch(ref) or ref.endswith(".lock") or ".lock/" in ref or not all(map(_ID.fullmatch, ids)):
        return None
    if verb == "delete" and len(ids) < 2 and NO_OBJECT not in ids:
        return _Move(ref, None, ids[0] if ids else None)
    if verb == "create" and len(ids) == 1 and NO_OBJECT not in ids:
        return _Move(ref, ids[0], NO_OBJECT)
    if verb == "update" and len(ids) in (1, 2) and ids[0] != NO_OBJECT:
        return _Move(ref, ids[0], ids[1] if len(ids) == 2 else None)
    return None


def _is_usual(folder: Path, settings: Mapping[str, str]) -> bool:
    return (
        is_plain(settings)
        and not any(key.startswith("extensions.") for key in settings)
        and settings.get("core.bare", "false") == "false"
        and settings.get("core.logallrefupdates") in _USUAL_LOGS
        and not runs_hook(folder, settings, _HOOK)
    )


def _may_have(ref: str, kind: str | None) -> bool:
    return kind == "commit" or (kind is not None and not ref.startswith(_BRANCH))


def _before(folder: Path, move: _Move) -> str:
    """Return the value of a ref, which is locked. Raises UnsureError if git must look, or say what is wrong."""
    place = folder / move.ref
    found = read_ref(folder, move.ref)
    if move.old is not None and (found or NO_OBJECT) != move.old:
        raise UnsureError
    if move.new == found or place.is_dir():  # git changes nothing, or clears folders away
        raise UnsureError
    packed = _packed_names(folder)
    if move.new is None and (not place.is_file() or move.ref in packed):
        raise UnsureError  # it is not there, or not only there
    if any(name.startswith(f"{move.ref}/") or move.ref.startswith(f"{name}/") for name in packed):
        raise UnsureError  # a ref can't be a folder of others
    if move.new is None and os.path.lexists(folder / "logs" / move.ref):
        raise UnsureError
    return found or NO_OBJECT


def _packed_names(folder: Path) -> set[str]:
    try:
        text = (folder / "packed-refs").read_text(errors="surrogateescape")
    except FileNotFoundError:
        return set()
    return {line.partition(" ")[2] for line in text.splitlines() if line[:1] not in ("#", "^")}


class _Locks:
    """git's locks of refs and of other files, each a file beside the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, Path] = {}

    def take(self, name: str) -> None:
        """Lock a file. Raises OSError where another process has done so."""
        place = self._folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = place.with_name(f"{place.name}.lock")
        os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        self._held[name] = lock

    def write(self, name: str, text: str) -> None:
        """Write what the file is to be."""
        self._held[name].write_text(text)

    def become(self, name: str) -> None:
        """Put what was written in the place of the file. The lock is another's from then on."""
        os.replace(self._held[name], self._folder / name)
        del self._held[name]

    def release(self) -> None:
        """Take the other locks away."""
        for lock in self._held.values():
            lock.unlink(missing_ok=True)


class _Logs:
    """The logs of the refs of a transaction."""

    def __init__(self, folder: Path, who: Callable[[], str]) -> None:
        self._folder = folder / "logs"
        self._who = who
        self._writer = ""
        self._files: dict[str, Path] = {}

    def prepare(self, ref: str) -> None:
        """See to it that a line can be added. Raises OSError, and UnsureError."""
        file = self._folder / ref
        if not ref.startswith(_BRANCH) and ref != "HEAD":
            if os.path.lexists(file):
                raise UnsureError  # somebody began it by hand
            return
        self._writer = self._writer or self._who()
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666))
        self._files[ref] = file

    def add(self, ref: str, old: str, new: str) -> None:
        """Add a line, if the ref has a log."""
        if ref in self._files:
            with open(self._files[ref], "a", encoding="utf-8", errors="surrogateescape") as stream:
                stream.write(f"{old} {new} {self._writer}\n")
