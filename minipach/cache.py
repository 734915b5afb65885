"""Local, disposable caches keyed by git object ids: snapshots and plans. Losing them costs time, nothing else."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import marshal
import os
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

# marshal reads a million strings in a blink; its format belongs to one Python version, and the files to one machine
_FORMAT = f"{sys.version_info[0]}.{sys.version_info[1]}-1"


class Cache:
    """A folder of values by name. A value that can't be read is a value that isn't there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FORMAT

    def _path(self, kind: str, name: str) -> Path:
        return self._folder / kind / hashlib.sha256(os.fsencode(name)).hexdigest()[:32]

    def get(self, kind: str, name: str) -> Any:
        """The value, or None: also where the file is damaged, or other code than this wrote it."""
        try:
            data = memoryview(self._path(kind, name).read_bytes())
            # marshal is not made for damaged data: the checksum comes first
            if data[:20] != _head(data[20:]):
                return None
            return marshal.loads(data[20:])
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
                    stream.write(_head(data))
                    stream.write(data)
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise


def _head(data: bytes | memoryview) -> bytes:
    """What a file begins with: the code that wrote it, and the checksum of the rest."""
    return _code() + zlib.crc32(data).to_bytes(4, "big")


@functools.cache
def _code() -> bytes:
    """16 bytes that stand for minipach's modules as they are installed: what they computed is theirs alone."""
    seen = hashlib.sha256()
    with os.scandir(Path(__file__).parent) as entries:
        for entry in sorted((e for e in entries if e.name.endswith(".py")), key=lambda e: e.name):
            info = entry.stat()
            seen.update(f"{entry.name} {info.st_size} {info.st_mtime_ns}\n".encode())
    return seen.digest()[:16]
