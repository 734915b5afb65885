"""Large files, and many files, of a work tree: taken into the annex by a faster way than `git annex add`.

git-annex computes SHA-256 in its own code: 3 s per GB, where OpenSSL takes 0.6 s. And `git annex add` asks git some
questions for each file. So the checksum is computed here, and git-annex does the rest by its plumbing: `examinekey`
gives the key, `setkey` (a large file) or `reinject` (many at once, which it reads again) moves the file, `fromkey`
stages the link. Whatever could make `git annex add` do something else with a file leaves it to `git annex add`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minipach.git.annex_checksums import damaged, note_verified
from minipach.git.annex_layout import is_plain, object_path
from minipach.git.git_error import GitError
from minipach.git.repo import Repo, annex
from minipach.model.launch_protocol import SCRATCH
from minipach.model.repo_layout import FOLDER

LARGE = 32 << 20  # bytes; below, three more processes take as long as git-annex's checksum
MANY = 100  # smaller files; for fewer, three more processes take as long as `git annex add`
_AT_ONCE = 1000  # files on one command line
_HASHES = {**{f"SHA{n}": f"sha{n}" for n in (224, 256, 384, 512)}, "MD5": "md5", "SHA1": "sha1"}
_BACKEND = "annex.backend"
_DEFAULT = "SHA256E"  # git-annex's own
_ATTRIBUTES = (_BACKEND, "annex.largefiles")
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
    """Annex the large ones among new files, and others if they are many; stage them as locked. Return their keys.

    repo: a work tree of minipach's own · files: paths in it, which nobody writes to any more. The rest is untouched.
    """
    sizes = {path: size for path in files if (size := _size(repo.path / path)) is not None}
    chosen = [path for path, size in sizes.items() if size >= LARGE]
    if len(sizes) - len(chosen) >= MANY:
        chosen = list(sizes)
    default = _default_backend(repo) if chosen else None
    if default is None:
        return {}
    backends = _backends(repo, chosen, default)
    named = _named(repo, [one for path in backends if (one := _hash(repo, path, backends[path]))])
    _set_aside_damaged(repo, [key for _, key in named])
    small = [(one, key) for one, key in named if one.info.st_size < LARGE]
    moved = {one.path: (one, key) for one, key in named if one.info.st_size >= LARGE and _move(repo, one, key)}
    for start in range(0, len(small), _AT_ONCE):
        moved |= {one.path: (one, key) for one, key in _move_many(repo, small[start : start + _AT_ONCE])}
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


def _size(path: Path) -> int | None:
    """Return the size of a file of one name; None for all else, which `git annex add` sees to."""
    with contextlib.suppress(OSError):
        info = path.lstat()
        if stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
            return info.st_size
    return None


def _default_backend(repo: Repo) -> str | None:
    """Return the backend of files for which no attribute names one; None where settings may ask for another way."""
    names = "|".join(re.escape(name) for name in (_BACKEND, *_OTHER_WAYS))
    said = repo.git("config", "-z", "--get-regexp", f"^({names})$", ok=(0, 1)).split(b"\0")[:-1]
    found = dict(os.fsdecode(row).partition("\n")[::2] for row in said)
    default = found.pop(_BACKEND, "") or _DEFAULT
    # what `git annex config` has set for all clones: git-annex.branchable.com/internals, config.log
    everywhere = repo.git("cat-file", "-p", "git-annex:config.log", ok=(0, 128))
    if found or any(name.encode() in everywhere for name in _OTHER_WAYS):
        return None
    return default


def _backends(repo: Repo, paths: Sequence[str], default: str) -> dict[str, str]:
    """Return the backend for each file that `git annex add` would annex in any case."""
    asked = b"".join(os.fsencode(path) + b"\0" for path in paths)
    said = repo.git("check-attr", "-z", "--stdin", *_ATTRIBUTES, stdin=asked).split(b"\0")
    found: dict[str, dict[str, str]] = {}
    for raw, name, value in zip(said[::3], said[1::3], said[2::3], strict=False):
        found.setdefault(os.fsdecode(raw), {})[name.decode()] = os.fsdecode(value)
    backends = {}
    for path, attributes in found.items():
        backend = attributes[_BACKEND]
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


def _set_aside_damaged(repo: Repo, keys: Sequence[str]) -> None:
    """Move damaged contents to where `git annex fsck` has them: git-annex would keep them, and remove the new files."""
    folder = repo.common_dir / "annex"
    there = {key: folder / "objects" / object_path(key) for key in keys if is_plain(key)}
    there = {key: path for key, path in there.items() if path.is_file() and not path.is_symlink()}
    with contextlib.suppress(OSError):
        for key in damaged(repo, there):
            (folder / "bad").mkdir(exist_ok=True)
            place = there[key].parent
            os.chmod(place, stat.S_IMODE(place.stat().st_mode) | 0o200)  # git-annex forbids to write to it
            os.replace(there[key], folder / "bad" / key)


def _move(repo: Repo, one: _Hashed, key: str) -> bool:
    """Have git-annex move the content to its place, and return whether it is there.

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


def _move_many(repo: Repo, small: Sequence[tuple[_Hashed, str]]) -> list[tuple[_Hashed, str]]:
    """Have git-annex move contents that are named as their keys; return those which it has taken."""
    first: dict[str, _Hashed] = {}
    for one, key in small:
        first.setdefault(key, one)
    (repo.path / FOLDER).mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH.rstrip("*"), dir=repo.path / FOLDER))  # cleared after a crash
    try:
        for key, one in first.items():
            os.rename(repo.path / one.path, folder / key)
        names = [os.path.relpath(folder / key, repo.path) for key in first]
        quick = ("-c", "annex.alwayscommit=false")
        repo.git(*quick, "annex", "reinject", "--quiet", "--guesskeys", *names, ok=(0, 1))
    finally:
        left = set(os.listdir(folder))  # git-annex refused them: `git annex add` says why
        for key in left:
            os.rename(folder / key, repo.path / first[key].path)
        folder.rmdir()
    taken = [(one, key) for one, key in small if key not in left]
    for one, _ in taken:
        (repo.path / one.path).unlink(missing_ok=True)  # the same content a second time
    return taken


def _note(repo: Repo, moved: dict[str, tuple[_Hashed, str]]) -> None:
    """Note that these contents are verified here, unless they changed while they were moved."""
    hashed = {key: one for one, key in moved.values() if one.info.st_size >= LARGE}
    there = {key: Path(os.path.realpath(repo.path / one.path)) for key, one in hashed.items()}
    same = {}
    for key, path in there.items():
        with contextlib.suppress(OSError):
            if _same(hashed[key].info, path.lstat()):
                same[key] = path
    note_verified(repo, same, {key: hashed[key].began for key in same})
