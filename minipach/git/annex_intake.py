"""Large new files of a work tree, taken into the annex without git-annex reading them.

git-annex computes SHA-256 in its own code: 3 s per GB, where OpenSSL takes 0.6 s. So the checksum is computed here, and
git-annex does the rest by its plumbing: `examinekey` gives the key, `setkey` moves the file, `fromkey` stages the link.
Whatever could make `git annex add` do something else with a file leaves it to `git annex add`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minipach.git.annex_checksums import note_verified
from minipach.git.repo import GitError, Repo, annex

LARGE = 32 << 20  # bytes; below, three more processes take as long as git-annex's checksum
_HASHES = {**{f"SHA{n}": f"sha{n}" for n in (224, 256, 384, 512)}, "MD5": "md5", "SHA1": "sha1"}
_DEFAULT = "SHA256E"  # git-annex's own
_ATTRIBUTES = ("annex.backend", "annex.largefiles")
_OTHER_WAYS = (  # settings under which `git annex add` may do something else, or which forbid a backend
    "annex.largefiles",
    "annex.addunlocked",
    "annex.securehashesonly",
    "annex.crippledfilesystem",
    "annex.pidlock",
    "annex.freezecontent-command",
    "annex.gitaddtoannex",
)


@dataclass(frozen=True, slots=True)
class _Hashed:
    path: str
    key: str  # without the extension
    backend: str
    began: int  # ns since 1970
    info: os.stat_result


def take_in(repo: Repo, files: Sequence[str]) -> dict[str, str]:
    """Annex the large ones among new files, and stage them as locked. Return their keys; the rest is untouched.

    repo: the work tree · files: paths in it, which nobody writes to any more.
    """
    large = [path for path in files if _is_large(repo.path / path)]
    if not large or _has_other_ways(repo):
        return {}
    backends = _backends(repo, large)
    hashed = [_hash(repo, path, backends[path]) for path in large if path in backends]
    moved = {}
    for one, key in _named(repo, [one for one in hashed if one]):
        if _move(repo, one, key):
            moved[one.path] = (one, key)
    if not moved:
        return {}
    request = "".join(f"{key} {path}\n" for path, (_, key) in moved.items())
    said = annex(repo, "fromkey", "--batch", "--json", "--json-error-messages", stdin=os.fsencode(request))
    rows: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines()]
    bad = next((row for row in rows if not row.get("success")), None)
    if bad or len(rows) < len(moved):
        why = " ".join(bad.get("error-messages", [])) if bad else "no answer"
        raise GitError(repo.path, ("annex", "fromkey"), 1, why)
    _note(repo, moved)
    return {path: key for path, (_, key) in moved.items()}


def _is_large(path: Path) -> bool:
    """Return whether it is a large file of one name. git-annex sees to one of several names, and to dotfiles."""
    with contextlib.suppress(OSError):
        info = path.lstat()
        return stat.S_ISREG(info.st_mode) and info.st_size >= LARGE and info.st_nlink == 1
    return False


def _has_other_ways(repo: Repo) -> bool:
    names = "|".join(re.escape(name) for name in _OTHER_WAYS)
    if repo.git("config", "--get-regexp", f"^({names})$", ok=(0, 1)).strip():
        return True
    if (repo.config("core.symlinks") or "true").lower() in ("false", "no", "off", "0"):
        return True
    # of the whole project: in the git-annex branch
    return any(annex(repo, "config", "--get", name, ok=(0, 1)).strip() for name in _OTHER_WAYS[:3])


def _backends(repo: Repo, paths: Sequence[str]) -> dict[str, str]:
    """Return the backend for each file that `git annex add` would annex in any case."""
    asked = b"".join(os.fsencode(path) + b"\0" for path in paths)
    said = repo.git("check-attr", "-z", "--stdin", *_ATTRIBUTES, stdin=asked).split(b"\0")
    found: dict[str, dict[str, str]] = {}
    for raw, name, value in zip(said[::3], said[1::3], said[2::3], strict=False):
        found.setdefault(os.fsdecode(raw), {})[name.decode()] = os.fsdecode(value)
    default = repo.config("annex.backend") or _DEFAULT
    backends = {}
    for path, attributes in found.items():
        backend = attributes["annex.backend"]
        backend = default if backend in ("unspecified", "unset", "set", "") else backend
        dotfile = any(part.startswith(".") for part in path.split("/"))
        plain = attributes["annex.largefiles"] in ("unspecified", "anything")
        if plain and not dotfile and "\n" not in path and backend.removesuffix("E") in _HASHES:
            backends[path] = backend
    return backends


def _hash(repo: Repo, path: str, backend: str) -> _Hashed | None:
    """Return the file with its checksum; None if it changes meanwhile."""
    began = time.time_ns()
    with contextlib.suppress(OSError), (repo.path / path).open("rb") as file:
        before = os.fstat(file.fileno())
        kind = backend.removesuffix("E")
        digest = hashlib.file_digest(file, lambda: hashlib.new(_HASHES[kind], usedforsecurity=False))
        key = f"{kind}-s{before.st_size}--{digest.hexdigest()}"
        if _same(before, (repo.path / path).lstat()):
            return _Hashed(path, key, backend, began, before)
    return None


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_ino, one.st_size, one.st_mtime_ns) == (other.st_ino, other.st_size, other.st_mtime_ns)


def _named(repo: Repo, hashed: Sequence[_Hashed]) -> list[tuple[_Hashed, str]]:
    """Return each with its whole key: git-annex knows what is an extension."""
    found = []
    for backend in sorted({one.backend for one in hashed}):
        some = [one for one in hashed if one.backend == backend]
        asked = "".join(f"{one.key} {one.path}\n" for one in some)
        said = annex(repo, "examinekey", "--batch", f"--migrate-to-backend={backend}", stdin=os.fsencode(asked))
        keys = os.fsdecode(said).splitlines()
        if len(keys) == len(some):
            found += [(one, key) for one, key in zip(some, keys, strict=True) if _fits(one, key)]
    return found


def _fits(one: _Hashed, key: str) -> bool:
    """Return whether git-annex has changed nothing but the backend's letter and the extension."""
    backend, rest = one.key.split("-", 1)
    return key in (f"{backend}-{rest}", f"{backend}E-{rest}") or key.startswith(f"{backend}E-{rest}.")


def _move(repo: Repo, one: _Hashed, key: str) -> bool:
    """Have git-annex move the content to its place; whether it is there.

    It would verify the content once more (`annex.verify`), and ask for as much free space again (`--force`), which a
    move does not need.
    """
    quick = ("-c", "annex.verify=false", "-c", "annex.alwayscommit=false")
    try:
        repo.git(*quick, "annex", "setkey", "--quiet", "--force", key, f"./{one.path}")
    except GitError:
        if os.path.lexists(repo.path / one.path):
            return False  # so `git annex add` tries, and says what is wrong
        raise
    return True


def _note(repo: Repo, moved: dict[str, tuple[_Hashed, str]]) -> None:
    """Note that these contents are verified here, unless they changed while they were moved."""
    there = {key: Path(os.path.realpath(repo.path / path)) for path, (_, key) in moved.items()}
    hashed = {key: one for one, key in moved.values()}
    same = {}
    for key, path in there.items():
        with contextlib.suppress(OSError):
            if _same(hashed[key].info, path.lstat()):
                same[key] = path
    note_verified(repo, same, {key: hashed[key].began for key in same})
