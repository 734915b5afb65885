"""Whether a working tree is as git's index has it, without a process of git: what most subdatasets are, and slots.

All that git would have to look into counts as unsure: a file of another time, a new file, an installed subdataset, an
index with extensions that change its meaning.
Source: https://git-scm.com/docs/index-format
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from minipach.git.ref_files import UnsureError, git_folder, read_ref
from minipach.support.git_objects import blob_id

_HEADER = struct.Struct(">4sII")
_ENTRY = struct.Struct(">10I20sH")
_OTHER_FLAGS = 0xF000  # assumed unchanged, extended, stages of a merge
_GITLINK = 0o160000
_LARGEST = 1 << 20  # bytes of an index; git is faster from there on
_HARMLESS = frozenset({b"TREE", b"REUC", b"EOIE", b"IEOT"})
_YOUNG = 20_000_000  # ns between a file's change and the index: less, and the file could have been changed once more


class _IndexRow(NamedTuple):
    """An entry of an index. young: the file may have changed after the index was written, within the same time."""

    fields: tuple[int, ...]
    sha: str
    young: bool


def matching_tree(top: Path) -> tuple[str, str] | None:
    """Return the commit at HEAD and the tree of the index, if the working tree is as the index says. None: unsure."""
    with suppress(OSError, ValueError, IndexError, struct.error, UnsureError):
        folder = git_folder(top)
        head = read_ref(folder, "HEAD")
        file = folder / "index"
        written = file.stat()
        if head is None or written.st_size > _LARGEST or (folder / "info/sparse-checkout").exists():
            return None
        found = _entries(file.read_bytes(), written.st_mtime_ns)
        if found is None or any(row.young for row in found[0].values()):
            return None
        if found[1] and _is_as(top, found[0]):
            return head, found[1]
    return None


def new_files(top: Path, folder: Path) -> list[bytes] | None:
    """Return the paths of the files that are not in the index; None if a file of the index changed, or if unsure.

    A file that was removed counts as unchanged. Folders that the index has as subdatasets are not looked into.

    Args:
        top: the working tree.
        folder: where git keeps its index.
    """
    with suppress(OSError, ValueError, IndexError, struct.error):
        file = folder / "index"
        written = file.stat()
        if written.st_size > _LARGEST or (folder / "info/sparse-checkout").exists():
            return None
        found = _entries(file.read_bytes(), written.st_mtime_ns)
        return None if found is None else list(_new(os.fsencode(top), b"", found[0]))
    return None


def _new(root: bytes, folder: bytes, files: dict[bytes, _IndexRow]) -> Iterator[bytes]:
    """Yield the new files below a folder. Raises ValueError where the index has something else."""
    with os.scandir(os.path.join(root, folder)) as entries:
        for entry in entries:
            name = os.path.join(folder, entry.name)
            row = files.get(name)
            if name == b".git":
                continue
            if entry.is_dir(follow_symlinks=False):
                if row is not None and row.fields[6] == _GITLINK:
                    continue
                if row is not None or os.path.lexists(os.path.join(entry.path, b".git")):
                    raise ValueError("not as the index has it")
                yield from _new(root, name, files)
            elif row is None:
                yield name
            elif row.young or not _is_same(row.fields, entry.stat(follow_symlinks=False)):
                _need_content(entry, row)


def _need_content(entry: os.DirEntry[bytes], row: _IndexRow) -> None:
    """Raise ValueError if a file has another content, or mode, than the index has."""
    info = entry.stat(follow_symlinks=False)
    link = stat.S_ISLNK(info.st_mode)
    if not (link or stat.S_ISREG(info.st_mode)) or info.st_size > _LARGEST or _mode(info) != row.fields[6]:
        raise ValueError("changed")
    if link:
        data = os.readlink(entry.path)
    else:
        with open(entry.path, "rb") as file:
            data = file.read()
    if blob_id(data) != row.sha:
        raise ValueError("changed")


def _entries(data: bytes, written: int) -> tuple[dict[bytes, _IndexRow], str | None] | None:
    """Return the entry of each file by its path, and the tree of all. written: the time of the index, in ns."""
    magic, version, count = _HEADER.unpack_from(data)
    if magic != b"DIRC" or version != 2:
        return None
    files: dict[bytes, _IndexRow] = {}
    at = _HEADER.size
    for _ in range(count):
        *fields, sha, flags = _ENTRY.unpack_from(data, at)
        begin = at + _ENTRY.size
        end = data.index(b"\0", begin)
        at += (end - at + 8) & ~7
        if flags & _OTHER_FLAGS:
            return None
        young = fields[2] * 10**9 + fields[3] + _YOUNG > written
        files[data[begin:end]] = _IndexRow(tuple(fields), sha.hex(), young)
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


def _is_as(top: Path, files: dict[bytes, _IndexRow]) -> bool:
    """Return whether a folder has these files, of these sizes and times, and no others."""
    left = dict(files)
    folders = [b""]
    root = os.fsencode(top)
    while folders:
        folder = folders.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                name = os.path.join(folder, entry.name)
                if name == b".git":
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    if name not in left or not _is_same(left.pop(name).fields, entry.stat(follow_symlinks=False)):
                        return False
                elif os.path.lexists(os.path.join(entry.path, b".git")):
                    return False  # git compares its commit
                elif name not in left:
                    folders.append(name)
                elif left.pop(name).fields[6] != _GITLINK or os.listdir(entry.path):
                    return False  # else it is a subdataset that isn't installed
    return not left


def _is_same(fields: tuple[int, ...], now: os.stat_result) -> bool:
    changed, changed_ns, written, written_ns, _, inode, mode, user, group, size = fields
    plain = stat.S_ISLNK(now.st_mode) or stat.S_ISREG(now.st_mode)
    return (
        plain
        and _mode(now) == mode
        and changed * 10**9 + changed_ns == now.st_ctime_ns
        and written * 10**9 + written_ns == now.st_mtime_ns
        and (inode, size) == (now.st_ino & 0xFFFFFFFF, now.st_size & 0xFFFFFFFF)
        and (user, group) == (now.st_uid, now.st_gid)
    )


def _mode(info: os.stat_result) -> int:
    """Return the mode that git has for a file."""
    return 0o120000 if stat.S_ISLNK(info.st_mode) else 0o100755 if info.st_mode & 0o100 else 0o100644
