"""Contents of annex keys, verified against the checksum that the key has, once while a file stays the same."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from minipach.git import shared_modes
from minipach.git.annex_keys import content_id, names_content, size_of
from minipach.git.repo import Repo, annex
from minipach.model.local_state import LocalState

_HASHLIB = {"MD5": "md5", **{f"SHA{n}": f"sha{n}" for n in (1, 224, 256, 384, 512)}}
_HASHLIB |= {f"SHA3_{n}": f"sha3_{n}" for n in (224, 256, 384, 512)}
_BLAKE = {f"BLAKE2B{n}": (hashlib.blake2b, n // 8) for n in (160, 224, 256, 384, 512)}
_BLAKE_S = {f"BLAKE2S{n}": (hashlib.blake2s, n // 8) for n in (160, 224, 256)}
_SETTLED = 50_000_000  # ns before a look: a change in the same tick of the clock would never show
_AT_ONCE = 500  # keys in one question to SQLite
Stamp = tuple[int, int, int]  # bytes, inode, time of the last change of the content in ns


def content_of(file: Path, backend: str, repo: Repo) -> str:
    """Return the content id of a file by a hash backend of git-annex (without the E)."""
    known = _new_hash(backend)
    if known is not None:
        with file.open("rb") as stream:
            return f"{backend}--{hashlib.file_digest(stream, known).hexdigest()}"
    return content_id(os.fsdecode(annex(repo, "calckey", f"--backend={backend}", str(file))).strip())


def _new_hash(backend: str) -> Callable[[], Any] | None:
    """Return the constructor of this backend's hash; None: only git-annex can (SKEIN, the parallel forms of BLAKE2)."""
    if backend in _HASHLIB:
        return lambda: hashlib.new(_HASHLIB[backend], usedforsecurity=False)
    if backend in _BLAKE:
        kind, size = _BLAKE[backend]
        return lambda: kind(digest_size=size)
    if backend in _BLAKE_S:
        small, size = _BLAKE_S[backend]
        return lambda: small(digest_size=size)
    return None


def is_content_of(key: str, file: Path, repo: Repo) -> bool:
    """Return whether a file has the content of a key: the same size and checksum, as far as the key has them."""
    size = size_of(key)
    if size is not None and file.stat().st_size != size:
        return False
    if not names_content(key):
        return True  # WORM, URL: the key is no checksum
    content = content_id(key)
    return content_of(file, content.partition("--")[0], repo) == content


def damaged(repo: Repo, contents: Mapping[str, Path], *, fresh: bool = False) -> list[str]:
    """Return the keys whose content here is not what they name.

    Args:
        contents: the file of each key.
        fresh: read all files, also those that were verified on this machine before and are the same since.
    """
    if not contents:
        return []
    stamps = {key: _stamp(file) for key, file in contents.items()}
    with _notes(repo) as notes:
        known = {} if fresh else notes.read(stamps)
        bad, good = [], {}
        for key in sorted(contents):
            stamp = stamps[key]
            if known.get(key) == stamp:
                continue
            began = time.time_ns()
            if not is_content_of(key, contents[key], repo):
                bad.append(key)
            elif stamp[2] < began - _SETTLED and _stamp(contents[key]) == stamp:
                good[key] = stamp
        notes.write(good)
    return bad


def not_verified(repo: Repo, contents: Mapping[str, Path]) -> dict[str, Stamp]:
    """Return the stamps of contents that are to be verified yet, and that a thread can verify: see `is_same`.

    Those whose size is another one than their key's are left out: they need not be read.
    """
    stamps = {key: _stamp(file) for key, file in contents.items() if _is_ours(key)}
    with _notes(repo) as notes:
        known = notes.read(stamps)
    return {key: stamp for key, stamp in stamps.items() if known.get(key) != stamp and stamp[0] == size_of(key)}


def _is_ours(key: str) -> bool:
    """Return whether a key names a checksum that needs no process of git-annex."""
    return names_content(key) and _new_hash(content_id(key).partition("--")[0]) is not None


def is_same(file: Path, stamp: Stamp) -> bool:
    """Return whether a file is the one that had this stamp, with what it held then."""
    try:
        return _stamp(file) == stamp
    except OSError:
        return False


def note_verified(repo: Repo, contents: Mapping[str, Path], began: Mapping[str, int]) -> None:
    """Note contents whose checksum somebody has computed already. began: when, for each key (ns since 1970)."""
    stamps = {key: _stamp(file) for key, file in contents.items()}
    with _notes(repo) as notes:
        notes.write({key: stamp for key, stamp in stamps.items() if stamp[2] < began[key] - _SETTLED})


def _stamp(file: Path) -> Stamp:
    """Return the stamp of a file, which changes when it is written to.

    The time of its last change of any kind (ctime) is left out: staging makes hard links, each of which changes it.
    """
    info = file.stat()
    return info.st_size, info.st_ino, info.st_mtime_ns


class _Notes:
    """The contents verified on this machine. Where it can't be read or written, everything is verified each time."""

    def __init__(self, db: sqlite3.Connection | None) -> None:
        self._db = db
        self._host = platform.node()

    def read(self, keys: Iterable[str]) -> dict[str, Stamp]:
        found: dict[str, Stamp] = {}
        wanted = list(keys)
        with contextlib.suppress(sqlite3.Error):
            for start in range(0, len(wanted) if self._db is not None else 0, _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                marks = ", ".join("?" * len(some))
                sql = f"SELECT key, size, inode, changed FROM verified WHERE host = ? AND key IN ({marks})"
                found |= {row[0]: row[1:] for row in self._db.execute(sql, (self._host, *some))}  # type: ignore[union-attr]
        return found

    def write(self, stamps: Mapping[str, Stamp]) -> None:
        if self._db is None or not stamps:
            return
        rows = [(self._host, key, *stamp) for key, stamp in stamps.items()]
        with contextlib.suppress(sqlite3.Error, OverflowError), self._db:
            self._db.executemany("INSERT OR REPLACE INTO verified VALUES (?, ?, ?, ?, ?)", rows)


@contextlib.contextmanager
def _notes(repo: Repo) -> Iterator[_Notes]:
    path = LocalState.of(repo.common_dir).verified
    db = None
    try:
        with contextlib.suppress(OSError, sqlite3.Error):
            path.parent.mkdir(parents=True, exist_ok=True)
            db = _open(path)
        yield _Notes(db)
    finally:
        if db is not None:
            db.close()


def _open(path: Path) -> sqlite3.Connection:
    for _ in range(2):
        shared_modes.touch(path)
        db = sqlite3.connect(path, timeout=10)
        try:
            db.execute("PRAGMA synchronous = OFF")  # what a power failure spoils here is verified again
            db.execute(
                "CREATE TABLE IF NOT EXISTS verified (host TEXT, key TEXT, size INTEGER, inode INTEGER,"
                " changed INTEGER, PRIMARY KEY (host, key)) WITHOUT ROWID"
            )
            db.execute("SELECT host, key, size, inode, changed FROM verified LIMIT 1").fetchall()
        except sqlite3.DatabaseError as error:
            db.close()
            if error.sqlite_errorcode & 0xFF not in (
                sqlite3.SQLITE_CORRUPT,
                sqlite3.SQLITE_NOTADB,
                sqlite3.SQLITE_ERROR,
            ):
                raise
            path.unlink(missing_ok=True)
        else:
            return db
    raise sqlite3.DatabaseError(f"{path} cannot be made again")
