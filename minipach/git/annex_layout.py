"""The layout of an annex: paths of contents and of logs, which follow from a key, without a process.

Sources: https://git-annex.branchable.com/internals/ (annex/objects, journal, `aaa/bbb/*.log`),
https://git-annex.branchable.com/internals/hashing/ and https://git-annex.branchable.com/internals/key_format/
"""

from __future__ import annotations

import hashlib
import re

_LETTERS = "0123456789zqjxkmvwgpfZQJXKMVWGPF"
_PLAIN_KEY = re.compile(r"[A-Z0-9]+-s[0-9]+--[0-9a-f]+(\.[A-Za-z0-9]{1,4}){0,2}")  # without what a file name escapes
_EXTENSION = re.compile(r"[A-Za-z0-9]*")
_LONGEST = 4  # characters of an extension
_MOST = 2  # extensions of a key
OBJECTS = ".git/annex/objects"


def is_plain(key: str) -> bool:
    """Return whether a key is the name of its file, and has a hash and a size."""
    return _PLAIN_KEY.fullmatch(key) is not None


def object_path(key: str) -> str:
    """Return the path of a plain key's content, below `annex/objects`: folders of mixed case, as in most clones."""
    word = int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest()[:4], "little")
    first, second, third, fourth = (_LETTERS[word >> (6 * place) & 31] for place in range(4))
    return f"{second}{first}/{fourth}{third}/{key}/{key}"


def link_target(key: str, path: str) -> bytes:
    """Return what the symbolic link at a path of the work tree leads to, for a plain key."""
    return f"{'../' * path.count('/')}{OBJECTS}/{object_path(key)}".encode()


def log_path(key: str) -> str:
    """Return the path of a plain key's location log, on the branch `git-annex`."""
    digest = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return f"{digest[:3]}/{digest[3:6]}/{key}.log"


def journal_name(log: str) -> str:
    """Return the name of a log in the journal."""
    return log.replace("_", "__").replace("/", "_")


def extensions(name: str) -> str | None:
    """Return the extensions that git-annex puts into the key of a file, with their dots; None: it must be asked."""
    if not name.isascii() or name.startswith("."):
        return None
    parts = name.split(".")[1:]
    kept: list[str] = []
    for part in reversed(parts):
        if len(part) > _LONGEST:
            break
        if _EXTENSION.fullmatch(part):
            kept.append(part)
    return "".join(f".{part}" for part in reversed(kept[:_MOST]) if part)
