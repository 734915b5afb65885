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

from minipach.git.index_file import GITLINK_MODE, IndexRow, read_index, tree_of
from minipach.git.ref_files import UnsureError, git_folder, read_ref
from minipach.support.git_objects import blob_id

_LARGEST = 1 << 20  # bytes of an index; git is faster from there on
_YOUNG = 20_000_000  # ns between a file's change and the index: less, and the file could have been changed once more


def matching_tree(top: Path, largest: int = _LARGEST) -> tuple[str, str] | None:
    """Return the commit at HEAD and the tree of the index, if the working tree is as the index says. None: unsure.

    largest: bytes of an index that is read.
    """
    with suppress(OSError, ValueError, IndexError, struct.error, UnsureError):
        folder = git_folder(top)
        head = read_ref(folder, "HEAD")
        file = folder / "index"
        written = file.stat()
        if head is None or written.st_size > largest or (folder / "info/sparse-checkout").exists():
            return None
        found = read_index(file.read_bytes())
        if found is not None and _is_as(top, found[0], written.st_mtime_ns):
            return head, found[1] or tree_of(found[0])
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
        found = read_index(file.read_bytes())
        return None if found is None else list(_new(os.fsencode(top), b"", found[0], written.st_mtime_ns))
    return None


def _new(root: bytes, folder: bytes, files: dict[bytes, IndexRow], index: int) -> Iterator[bytes]:
    """Yield the new files below a folder. Raises ValueError where the index has something else.

    index: when it was written, in ns.
    """
    with os.scandir(os.path.join(root, folder)) as entries:
        for entry in entries:
            name = os.path.join(folder, entry.name)
            row = files.get(name)
            if name == b".git":
                continue
            if entry.is_dir(follow_symlinks=False):
                if row is not None and row.mode == GITLINK_MODE:
                    continue
                if row is not None or os.path.lexists(os.path.join(entry.path, b".git")):
                    raise ValueError("not as the index has it")
                yield from _new(root, name, files, index)
            elif row is None:
                yield name
            elif _is_young(row, index) or not _is_same(row.fields, entry.stat(follow_symlinks=False)):
                _need_content(entry.path, row)


def _is_young(row: IndexRow, index: int) -> bool:
    """Return whether a file may have changed after the index was written, within the same time."""
    return row.written + _YOUNG > index


def _need_content(path: bytes, row: IndexRow) -> None:
    """Raise ValueError if a file has another content, or mode, than the index has."""
    info = os.lstat(path)
    link = stat.S_ISLNK(info.st_mode)
    if not (link or stat.S_ISREG(info.st_mode)) or info.st_size > _LARGEST or _mode(info) != row.mode:
        raise ValueError("changed")
    if link:
        data = os.readlink(path)
    else:
        with open(path, "rb") as file:
            data = file.read()
    if blob_id(data) != row.sha:
        raise ValueError("changed")


def _is_as(top: Path, files: dict[bytes, IndexRow], index: int) -> bool:
    """Return whether a folder has these files, of these sizes and times, and no others.

    A file that is as young as the index must have the content, too. Raises ValueError if it does not.
    """
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
                    row = left.pop(name, None)
                    if row is None or not _is_same(row.fields, entry.stat(follow_symlinks=False)):
                        return False
                    if _is_young(row, index):
                        _need_content(entry.path, row)
                elif os.path.lexists(os.path.join(entry.path, b".git")):
                    return False  # git compares its commit
                elif name not in left:
                    folders.append(name)
                elif left.pop(name).mode != GITLINK_MODE or os.listdir(entry.path):
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
