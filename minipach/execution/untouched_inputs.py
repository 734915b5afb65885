"""Whether a command has changed what was staged for it, where nothing keeps it from writing there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from minipach.model.repo_layout import CODE

_Seen = tuple[int, int, int, int] | None  # inode, bytes, mode, time of the last change in ns; None: absent


@dataclass(frozen=True, slots=True)
class Untouched:
    """Files as they were at one moment. Without a container and bubblewrap a set's inputs and code are copies in its
    slot: the source is safe, but one datum of the set could change what the next one reads."""

    slot: Path
    seen: dict[str, _Seen]

    @classmethod
    def now(cls, slot: Path, inputs: Iterable[str]) -> Untouched:
        """The inputs (paths from the slot) and what there is in `code/`."""
        code = [os.path.relpath(p, slot) for p in (slot / CODE).rglob("*") if not p.is_dir()]
        return cls(slot, {path: _look(slot / path) for path in (*inputs, *code)})

    def changed(self) -> str | None:
        """The first file that is another now; new files beside them, such as byte code, are not looked for."""
        return next((path for path, was in self.seen.items() if _look(self.slot / path) != was), None)


def _look(path: Path) -> _Seen:
    try:
        info = path.lstat()
    except OSError:
        return None
    return info.st_ino, info.st_size, info.st_mode, info.st_mtime_ns
