"""git-annex keys: how a tree names annexed content, and the content id that follows from a key."""

from __future__ import annotations

import re

_KEY = re.compile(r"^(?P<backend>[A-Z0-9_]+)(?P<fields>(?:-[a-zA-Z][^-]*)*)--(?P<name>.+)$", re.DOTALL)
_POINTER = b"/annex/objects/"
_ESCAPED = {"%": "/", "&s": "%", "&c": ":", "&a": "&"}
_ESCAPES = re.compile("|".join(_ESCAPED))
MAX_POINTER = 1024  # bytes; git-annex writes pointers of some 100 bytes and reads no large ones
_HASHES = re.compile(r"^(?:MD5|SHA1|SHA2?(?:224|256|384|512)|SHA3_\d+|SKEIN\d+|BLAKE[0-9A-Z]+)$")


def key_of_link(target: bytes) -> str | None:
    """Return the key that a symlink's target names, or None if it leads to no annex object."""
    return _key_of_file(target.rsplit(b"/", 1)[1]) if _POINTER in target else None


def key_of_pointer(blob: bytes) -> str | None:
    """Return the key in an unlocked file's pointer blob, or None for ordinary content."""
    if len(blob) > MAX_POINTER or not blob.startswith(_POINTER):
        return None
    first, _, rest = blob.partition(b"\n")
    if any(line and not line.startswith(b"/annex/") for line in rest.split(b"\n")):
        return None  # git-annex takes no pointer either that something was appended to
    return _key_of_file(first[len(_POINTER) :].removesuffix(b"\r"))


def _key_of_file(name: bytes) -> str | None:
    """Return the key whose object has this file name (characters that file names can't have are escaped there)."""
    key = _ESCAPES.sub(lambda m: _ESCAPED[m[0]], name.decode("utf-8", "surrogateescape"))
    return key if _KEY.match(key) else None


def content_id(key: str) -> str:
    """Return the content id of a key: its size and hash, without the extension.

    The E backends append the file's extension: it is dropped, so that the same bytes under three extensions are one
    content. A chunk's key (fields S and C) is made from the whole file's hash: it stands for itself. Keys that
    aren't hashes (WORM, URL) name no content: they stand for themselves, too.
    Source: https://git-annex.branchable.com/internals/key_format/
    """
    found = _KEY.match(key)
    if not found or "-C" in found["fields"]:
        return key
    backend, name = found["backend"], found["name"]
    if backend.endswith("E") and _HASHES.match(backend[:-1]):
        backend, name = backend[:-1], name.split(".", 1)[0]
    return f"{backend}--{name}" if _HASHES.match(backend) else key


def names_content(key: str) -> bool:
    """Return whether the key is made of the content (a hash), so that equal keys mean equal bytes."""
    found = _KEY.match(key)
    return found is not None and "-C" not in found["fields"] and bool(_HASHES.match(found["backend"].removesuffix("E")))


def size_of(key: str) -> int | None:
    """Return the content's size in bytes; None if the key has no size."""
    found = re.match(r"^[A-Z0-9_]+(?:-[a-zA-Z][^-]*)*?-s(\d+)", key)
    return int(found[1]) if found else None


def relocate(target: bytes, depth: int) -> bytes:
    """Return an annexed symlink's target as seen from a file that lies `depth` folders deep; others as they are."""
    if key_of_link(target) is None:
        return target
    while target.startswith(b"../"):
        target = target[3:]
    return b"../" * depth + target
