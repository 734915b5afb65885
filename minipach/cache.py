"""Local, disposable caches keyed by git object ids: snapshots and plans. Losing them costs time, nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import sys
import tempfile
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
        """The value, or None."""
        try:
            return marshal.loads(self._path(kind, name).read_bytes())
        except (OSError, ValueError, EOFError, TypeError):
            return None

    def put(self, kind: str, name: str, value: Any) -> None:
        """Keep a value of plain types; a full or read-only disk only means that it is not kept."""
        path = self._path(kind, name)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(fd, "wb") as stream:
                    marshal.dump(value, stream)
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
