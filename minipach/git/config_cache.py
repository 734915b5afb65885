"""The settings of git in a repository, read with one process and kept while none of their files has changed."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_Stamp = tuple[int, int, int]  # time of change, size, inode
_VARIABLES = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "HOME", "XDG_CONFIG_HOME")
_MOST = 1000  # repositories whose settings are kept
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Kept:
    values: Mapping[str, str]
    stamps: Mapping[str, _Stamp | None]


_known: dict[tuple[str, tuple[tuple[str, str], ...]], _Kept] = {}


def settings_of(path: Path, env: Mapping[str, str], ask: Callable[[], bytes]) -> Mapping[str, str]:
    """Return the settings that git has at a place, by canonical key; of several values, the last.

    env: what git gets · ask: runs `git config -z --list --show-origin` there.
    """
    given = {k: v for k, v in env.items() if k in _VARIABLES or k.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))}
    where = (str(path), tuple(sorted(given.items())))
    kept = _known.get(where)
    if kept is not None and all(_stamp(file) == stamp for file, stamp in kept.stamps.items()):
        return kept.values
    files = {file: _stamp(file) for file in _usual_files(path, env)}  # before git reads them
    values, origins = _parse(path, ask())
    for file in origins - files.keys():  # one that another one includes
        files[file] = _stamp(file)
    with _lock:
        while len(_known) >= _MOST:
            del _known[next(iter(_known))]
        _known[where] = _Kept(values, files)
    return values


def canonical(key: str) -> str:
    """Return a key as git lists it: the section and the name in lower case, what is between them as it is."""
    section, dot, rest = key.partition(".")
    middle, dot2, name = rest.rpartition(".")
    return f"{section.lower()}{dot}{middle}{dot2}{name.lower()}"


def _usual_files(path: Path, env: Mapping[str, str]) -> list[str]:
    """Return the files that decide what git reads, whether they exist or not. `HEAD`: a branch may include one."""
    home = env.get("HOME", "")
    own = [f"{path}/.git/{name}" for name in ("config", "config.worktree", "HEAD", "commondir")]
    own += [f"{path}/{name}" for name in (".git", "config", "HEAD")]  # a linked worktree; a bare repository
    personal = env.get("GIT_CONFIG_GLOBAL")
    xdg = env.get("XDG_CONFIG_HOME") or f"{home}/.config"
    own += [personal] if personal is not None else [f"{home}/.gitconfig", f"{xdg}/git/config"]
    return [*own, env.get("GIT_CONFIG_SYSTEM") or "/etc/gitconfig"]


def _parse(path: Path, listed: bytes) -> tuple[dict[str, str], set[str]]:
    values: dict[str, str] = {}
    origins: set[str] = set()
    fields = listed.split(b"\0")[:-1]
    for origin, row in zip(fields[::2], fields[1::2], strict=True):
        if origin.startswith(b"file:"):
            origins.add(os.path.join(path, os.fsdecode(origin[5:])))
        key, _, value = os.fsdecode(row).partition("\n")
        values[key] = value
    return values, origins


def _stamp(file: str) -> _Stamp | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):  # `.git` of a main working tree
        return 0, 0, found.st_ino
    return found.st_mtime_ns, found.st_size, found.st_ino
