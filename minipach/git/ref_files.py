"""Refs as git keeps them in files: to read one starts no process. What is not plainly there is git's to answer.

Source: https://git-scm.com/docs/gitrepository-layout (HEAD, refs, packed-refs, commondir, reftable)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PLAIN = re.compile(r"refs/[0-9A-Za-z_.@+=,%-]+(/[0-9A-Za-z_.@+=,%-]+)*")
_BRANCH = "ref: refs/heads/"


class UnsureError(Exception):
    """The files do not say it: git must be asked."""


def git_folder(top: Path) -> Path:
    """Return the `.git` folder of a repository's main working tree, whose refs are files. Raises UnsureError."""
    folder = os.path.join(top, ".git")
    there = os.path.exists
    if not there(f"{folder}/HEAD") or not os.path.isdir(f"{folder}/refs") or os.path.islink(folder):
        raise UnsureError
    if there(f"{folder}/commondir") or there(f"{folder}/reftable"):
        raise UnsureError
    return Path(folder)


def read_head(folder: Path) -> str:
    """Return what `HEAD` says: `ref: refs/heads/NAME`, or an object id. Raises UnsureError."""
    text = _text(folder / "HEAD", links=False)
    if text.startswith(_BRANCH) or _ID.fullmatch(text):
        return text
    raise UnsureError


def read_ref(folder: Path, ref: str) -> str | None:
    """Return the object id that a ref, or `HEAD`, points to; None if there is no such ref. Raises UnsureError."""
    if ref == "HEAD":
        head = read_head(folder)
        return read_ref(folder, head.removeprefix("ref: ")) if head.startswith("ref: ") else head
    if not _PLAIN.fullmatch(ref) or ".." in ref or "/." in ref or ref.endswith((".lock", ".", "/")):
        raise UnsureError
    text = _text(folder / ref, links=False)  # before the packed ones: git packs first, and removes then
    if text or os.path.isfile(folder / ref):
        if not _ID.fullmatch(text):
            raise UnsureError  # a symbolic ref, or a damaged one: a loss of power can leave an empty file
        return text
    return dict(_packed(folder, ref)).get(ref)


def read_refs(folder: Path, prefix: str) -> dict[str, str]:
    """Return the refs below a prefix that ends with a slash, with their object ids, sorted. Raises UnsureError."""
    if not prefix.endswith("/") or not _PLAIN.fullmatch(prefix[:-1]):
        raise UnsureError
    found = dict(_loose(os.path.join(folder, prefix), prefix))
    for ref, value in _packed(folder, prefix):
        found.setdefault(ref, value)
    return dict(sorted(found.items()))


def read_own_head(top: Path, ref: str) -> str | None:
    """Return the object id of a linked working tree's own ref, which its HEAD must be; None: git must be asked."""
    try:
        place = os.path.join(top, ".git")  # a file; git-annex makes a link of it
        folder = os.path.realpath(place) if os.path.islink(place) else _text(Path(place)).removeprefix("gitdir: ")
        if os.path.isabs(folder) and _text(Path(folder, "HEAD")) == f"ref: {ref}":
            found = _text(Path(folder, ref))
            return found if _ID.fullmatch(found) else None
    except UnsureError:
        pass
    return None


def _loose(folder: str, prefix: str) -> Iterator[tuple[str, str]]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _loose(entry.path, f"{prefix}{entry.name}/")
        elif not entry.name.endswith(".lock"):
            text = _text(Path(entry.path), links=False)
            if not text and not os.path.lexists(entry.path):
                continue  # gone meanwhile: deleted, or packed
            if not _ID.fullmatch(text) or not _PLAIN.fullmatch(prefix + entry.name):
                raise UnsureError
            yield prefix + entry.name, text


def _packed(folder: Path, prefix: str) -> Iterator[tuple[str, str]]:
    text = _text(folder / "packed-refs")
    if prefix not in text:
        return
    for line in text.splitlines():
        value, _, ref = line.partition(" ")
        if ref.startswith(prefix) and _ID.fullmatch(value):
            yield ref, value


def _text(file: Path, *, links: bool = True) -> str:
    """Return what a file says, "" if there is none. Raises UnsureError.

    links: whether it may be a symbolic link. A ref or HEAD that is one names another ref.
    """
    try:
        opener = None if links else _open_no_link
        with open(file, encoding="utf-8", errors="surrogateescape", opener=opener) as stream:
            return stream.read().rstrip("\n")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
    except OSError:
        raise UnsureError from None


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
