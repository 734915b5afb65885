"""Paths of a tree that are safe to write without a process. git refuses some others, and treats some in its own way.

A tree of another user may have any name, and one name twice: a link, and a folder of files that lie behind it.

Source: `verify_path` in read-cache.c of git
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from minipach.git.tree_entries import SYMLINK, TreeEntry

_OF_GIT = {".gitattributes", ".gitignore", ".gitmodules"}  # files as any other, unless one is a link


def parents(path: str) -> Iterator[str]:
    """Yield the folders above a path, nearest first."""
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def is_plain_path(path: str, *, link: bool) -> bool:
    """Return whether no file system takes a name of a path for another. link: there is a symbolic link, or was."""
    return all(_is_plain_name(name, link) for name in path.split("/"))


def are_plain(entries: Iterable[TreeEntry]) -> bool:
    """Return whether the files of a tree have plain paths, each its own, and none lies below another."""
    paths: set[str] = set()
    for entry in entries:
        if entry.path in paths or not is_plain_path(entry.path, link=entry.mode == SYMLINK):
            return False
        paths.add(entry.path)
    return not any(folder in paths for path in paths for folder in parents(path))


def _is_plain_name(name: str, link: bool) -> bool:
    if name in ("", ".", "..") or "\\" in name or "\0" in name:
        return False
    if name in _OF_GIT:
        return not link
    small = name.lower()
    return not small.startswith((".git", "git~")) and not (link and small.startswith("gi") and "~" in small)
