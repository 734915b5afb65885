"""A new index for a working tree whose files are known: written as git's version 2, without a process.

Source: https://git-scm.com/docs/index-format
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from minipach.git.tree_entries import TreeEntry

_LONGEST = 0xFFF  # a name's length has 12 bits
_WORD = 0xFFFFFFFF


def write_index(folder: Path, top: Path, entries: Iterable[TreeEntry]) -> None:
    """Write the index of a repository that has none. folder: its `.git` · entries: all files, with full paths.

    Raises OSError.
    """
    rows = sorted((os.fsencode(entry.path), entry) for entry in entries)
    parts = [b"DIRC" + struct.pack(">II", 2, len(rows))]
    for name, entry in rows:
        info = os.lstat(os.path.join(os.fsencode(top), name))
        times = (*divmod(info.st_ctime_ns, 10**9), *divmod(info.st_mtime_ns, 10**9))
        numbers = (*times, info.st_dev, info.st_ino, int(entry.mode, 8), info.st_uid, info.st_gid, info.st_size)
        row = struct.pack(">10I", *(number & _WORD for number in numbers)) + bytes.fromhex(entry.sha)
        row += struct.pack(">H", min(len(name), _LONGEST)) + name
        parts.append(row + b"\0" * (8 - len(row) % 8))
    data = b"".join(parts)
    lock = folder / "index.lock"
    with open(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        file.write(data + hashlib.sha1(data, usedforsecurity=False).digest())
    os.replace(lock, folder / "index")
