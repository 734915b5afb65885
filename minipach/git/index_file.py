"""git's index, read and written without a process: version 2, with the extensions that change no meaning.

Source: https://git-scm.com/docs/index-format
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from minipach.git.tree_entries import TREE, TreeEntry
from minipach.support.git_objects import object_id

GITLINK_MODE = 0o160000
_HEADER = struct.Struct(">4sII")
_ENTRY = struct.Struct(">10I20sH")
_OTHER_FLAGS = 0xF000  # assumed unchanged, extended, stages of a merge
_HARMLESS = frozenset({b"TREE", b"REUC", b"EOIE", b"IEOT"})
_LONGEST = 0xFFF  # a name's length has 12 bits
_WORD = 0xFFFFFFFF


class IndexRow(NamedTuple):
    """An entry of an index: ctime and mtime (each s, ns), dev, ino, mode, uid, gid and size; and the object's id."""

    fields: tuple[int, ...]
    sha: str

    @property
    def mode(self) -> int:
        """The mode of the file, as a tree has it."""
        return self.fields[6]

    @property
    def written(self) -> int:
        """The time at which the file was written, in ns."""
        return self.fields[2] * 10**9 + self.fields[3]


def read_index(data: bytes) -> tuple[dict[bytes, IndexRow], str | None] | None:
    """Return the entry of each file by its path, and the tree of all, if it is noted; None: git must read it.

    Raises ValueError, IndexError and struct.error for a damaged index.
    """
    magic, version, count = _HEADER.unpack_from(data)
    if magic != b"DIRC" or version != 2:
        return None
    files: dict[bytes, IndexRow] = {}
    at = _HEADER.size
    for _ in range(count):
        *fields, sha, flags = _ENTRY.unpack_from(data, at)
        begin = at + _ENTRY.size
        end = data.index(b"\0", begin)
        at += (end - at + 8) & ~7
        if flags & _OTHER_FLAGS:
            return None
        files[data[begin:end]] = IndexRow(tuple(fields), sha.hex())
    tree = None
    while at < len(data) - 20:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        if name not in _HARMLESS:
            return None
        if name == b"TREE":
            tree = _root(data[at + 8 : at + 8 + size])
        at += 8 + size
    return files, tree


def _root(data: bytes) -> str | None:
    """Return the tree of the whole index, which comes first."""
    path, _, rest = data.partition(b"\0")
    counts, _, rest = rest.partition(b"\n")
    return rest[:20].hex() if not path and not counts.startswith(b"-") and len(rest) >= 20 else None


def tree_of(rows: Mapping[bytes, IndexRow]) -> str:
    """Return the id of the tree with these files."""
    here: dict[bytes, tuple[str, str]] = {}
    folders: dict[bytes, dict[bytes, IndexRow]] = {}
    for path, row in rows.items():
        name, slash, rest = path.partition(b"/")
        if slash:
            folders.setdefault(name, {})[rest] = row
        else:
            here[name] = (f"{row.mode:o}", row.sha)
    for name, inside in folders.items():
        here[name] = (TREE.lstrip("0"), tree_of(inside))
    ordered = sorted(here.items(), key=lambda item: item[0] + b"/" if item[0] in folders else item[0])
    return object_id("tree", b"".join(b"%s %s\0" % (m.encode(), n) + bytes.fromhex(s) for n, (m, s) in ordered))


def row_of(mode: str, sha: str, info: os.stat_result | None) -> IndexRow:
    """Return the entry of a file. info: None for a subdataset."""
    if info is None:
        return IndexRow((0, 0, 0, 0, 0, 0, int(mode, 8), 0, 0, 0), sha)
    times = (*divmod(info.st_ctime_ns, 10**9), *divmod(info.st_mtime_ns, 10**9))
    numbers = (*times, info.st_dev, info.st_ino, int(mode, 8), info.st_uid, info.st_gid, info.st_size)
    return IndexRow(tuple(number & _WORD for number in numbers), sha)


def index_data(rows: Mapping[bytes, IndexRow]) -> bytes:
    """Return the file of an index with these entries."""
    parts = [_HEADER.pack(b"DIRC", 2, len(rows))]
    for name in sorted(rows):
        row = _ENTRY.pack(*rows[name].fields, bytes.fromhex(rows[name].sha), min(len(name), _LONGEST)) + name
        parts.append(row + b"\0" * (8 - len(row) % 8))
    data = b"".join(parts)
    return data + hashlib.sha1(data, usedforsecurity=False).digest()


def write_index(folder: Path, top: Path, entries: Iterable[TreeEntry]) -> None:
    """Write the index of a repository that has none. folder: its `.git` · entries: all files, with full paths.

    Raises OSError.
    """
    root = os.fsencode(top)
    names = ((os.fsencode(entry.path), entry) for entry in entries)
    rows = {name: row_of(e.mode, e.sha, os.lstat(os.path.join(root, name))) for name, e in names}
    lock = folder / "index.lock"
    with open(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        file.write(index_data(rows))
    os.replace(lock, folder / "index")
