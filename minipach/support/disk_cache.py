"""Local, disposable caches: snapshots and plans by git object ids, what was read of the machine by its files.

Losing them costs time, nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import marshal
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

# marshal reads a million strings in a blink; its format belongs to one Python version, and the files to one machine
_FORMAT = f"{sys.version_info[0]}.{sys.version_info[1]}-2"
_KEY = 32  # bytes
_MAC = 16
_HEAD = 16 + _MAC


class Cache:
    """A folder of values by name. A value that can't be read is a value that isn't there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FORMAT

    def _path(self, kind: str, name: str) -> Path:
        return self._folder / kind / hashlib.sha256(os.fsencode(name)).hexdigest()[:32]

    def get(self, kind: str, name: str) -> Any:
        """Return the value, or None: also where the file is damaged, or other code than this wrote it."""
        try:
            data = memoryview(self._path(kind, name).read_bytes())
            # marshal is not made for data of others: what this user's key did not sign is not read
            if not hmac.compare_digest(data[:_HEAD], _head(kind, name, data[_HEAD:])):
                return None
            return marshal.loads(data[_HEAD:])
        except (OSError, ValueError, EOFError, TypeError):
            return None

    def put(self, kind: str, name: str, value: Any) -> None:
        """Keep a value of plain types; a full or read-only disk only means that it is not kept."""
        path = self._path(kind, name)
        data = marshal.dumps(value)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(fd, "wb") as stream:
                    stream.write(_head(kind, name, data))
                    stream.write(data)
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise


def _head(kind: str, name: str, data: bytes | memoryview) -> bytes:
    """Return the begin of a file: the code that wrote it, and a signature of its name and of the rest."""
    signed = hashlib.blake2b(f"{kind}\0{name}\0".encode("utf-8", "surrogateescape"), key=_key(), digest_size=_MAC)
    signed.update(data)
    return _code() + signed.digest()


@functools.cache
def _key() -> bytes:
    """Return this user's key on this machine, outside of all projects: a project that comes from others signs nothing.

    Where it can't be kept, each process has its own, and finds nothing in the caches.
    """
    path = cache_home() / "minipach" / "cache.key"
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            with os.fdopen(fd, "wb") as stream:
                stream.write(secrets.token_bytes(_KEY))
            try:
                os.link(temporary, path)  # as a whole, and not over another's
            finally:
                os.unlink(temporary)
        info = path.stat()
        key = path.read_bytes()
        if len(key) == _KEY and info.st_uid == os.geteuid() and not info.st_mode & 0o022:
            return key
    return secrets.token_bytes(_KEY)


def cache_home() -> Path:
    """Return the folder for this user's caches (XDG Base Directory)."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path(os.path.expanduser("~")) / ".cache"


def user_cache() -> Cache:
    """Return this user's cache of what holds for all projects on this machine."""
    return _user_cache(cache_home() / "minipach" / "machine")


@functools.lru_cache(maxsize=1)
def _user_cache(folder: Path) -> Cache:
    return Cache(folder)


@functools.cache
def _code() -> bytes:
    """Return 16 bytes that stand for minipach's modules as they are installed: what they computed is theirs alone."""
    package = os.fspath(Path(__file__).parents[1])
    rows, folders = [], [package]
    for folder in folders:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(".py"):
                    info = entry.stat()
                    rows.append(f"{entry.path[len(package) :]} {info.st_size} {info.st_mtime_ns}\n")
    return hashlib.sha256("".join(sorted(rows)).encode()).digest()[:16]
