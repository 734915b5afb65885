"""The settings of git in a repository, read with one process and kept while none of their files has changed."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.git import config_text

_Stamp = tuple[int, int, int]  # time of change, size, inode
_VARIABLES = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "HOME", "XDG_CONFIG_HOME")
_MOST = 1000  # repositories whose settings are kept
_MOST_USERS = 20  # environments of a process; mostly there are two or three
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Kept:
    values: Mapping[str, str]
    stamps: Mapping[str, _Stamp | None]


@dataclass(frozen=True, slots=True)
class _Around:
    """The settings that a user has in each repository. after: those of the command line · first, last: as listed."""

    before: Mapping[str, str]
    after: Mapping[str, str]
    stamps: Mapping[str, _Stamp | None]
    first: bytes
    last: bytes


_around: dict[tuple[tuple[str, str], ...], _Around] = {}
_known: dict[tuple[str, tuple[tuple[str, str], ...]], _Kept] = {}


def settings_of(path: Path, env: Mapping[str, str], ask: Callable[[], bytes]) -> Mapping[str, str]:
    """Return the settings that git has at a place, by canonical key; of several values, the last.

    env: what git gets · ask: runs `git config -z --list --show-origin` there.
    """
    variables = _variables(env)
    where = (str(path), variables)
    kept = _known.get(where)
    if kept is not None and all(_stamp(file) == stamp for file, stamp in kept.stamps.items()):
        return kept.values
    files = {file: _stamp(file) for file in _usual_files(path, env)}  # before git reads them
    around = _known_around(variables)
    own = _own_settings(path) if around is not None else None
    if around is not None and own is not None:
        values = {**around.before, **dict(own), **around.after}
    else:
        listed = ask()
        rows = _rows(path, listed)
        values = {key: value for _, key, value in rows}
        for file in ({origin for origin, _, _ in rows} | _included(rows, env)) - files.keys():
            if file:
                files[file] = _stamp(file)
        around = _around_of(path, rows, files, listed)
    with _lock:
        if around is not None:
            if len(_around) >= _MOST_USERS:
                _around.clear()
            _around[variables] = around
        while len(_known) >= _MOST:
            del _known[next(iter(_known))]
        _known[where] = _Kept(values, files)
    return values


def listing(path: Path, env: Mapping[str, str]) -> bytes | None:
    """Return what `git config -z --list --show-origin` prints in a linked working tree of a repository.

    None: git must be asked. It must, too, until it has listed the settings of a repository in the same environment.
    """
    around, own = _known_around(_variables(env)), _own_settings(path)
    if around is None or own is None:
        return None
    return around.first + listed_file(f"{path}/.git/config", own) + around.last


def listed_file(file: str, rows: Sequence[tuple[str, str]]) -> bytes:
    """Return what `git config -z --list --show-origin` prints of a file with these settings."""
    return b"".join(os.fsencode(f"file:{file}\0{key}\n{value}\0") for key, value in rows)


def _variables(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    given = {k: v for k, v in env.items() if k in _VARIABLES or k.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))}
    return tuple(sorted(given.items()))


def _known_around(variables: tuple[tuple[str, str], ...]) -> _Around | None:
    """Return what is known of an environment, if none of its files has changed."""
    found = _around.get(variables)
    same = found is not None and all(_stamp(file) == stamp for file, stamp in found.stamps.items())
    return found if same else None


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


def _rows(path: Path, listed: bytes) -> list[tuple[str, str, str]]:
    """Return the file ("": none), the key and the value of each setting that git has listed."""
    fields = listed.split(b"\0")[:-1]
    found = []
    for origin, row in zip(fields[::2], fields[1::2], strict=True):
        file = os.path.join(path, os.fsdecode(origin[5:])) if origin.startswith(b"file:") else ""
        key, _, value = os.fsdecode(row).partition("\n")
        found.append((file, key, value))
    return found


def _included(rows: Sequence[tuple[str, str, str]], env: Mapping[str, str]) -> set[str]:
    """Return the files that others include, or would: one may be missing, empty, or for another branch now."""
    found = set()
    for origin, key, value in rows:
        if key.partition(".")[0] in ("include", "includeif") and key.endswith(".path"):
            place = f"{env.get('HOME', '')}{value[1:]}" if value.startswith("~/") else os.path.expanduser(value)
            found.add(os.path.join(os.path.dirname(origin), place))
    return found


def _own_settings(path: Path) -> list[tuple[str, str]] | None:
    """Return the settings of a repository's own file, in their order; None: git must be asked."""
    folder = f"{path}/.git"
    try:
        if os.path.islink(folder) or os.lstat(folder).st_uid != os.geteuid() or os.path.lexists(f"{folder}/commondir"):
            return None
        with open(f"{folder}/config", "rb") as file:
            found = config_text.pairs(file.read())
    except (OSError, config_text.NotPlainConfigError):
        return None
    keys = {key for key, _ in found}
    plain = not any(key.partition(".")[0] in ("include", "includeif", "extensions") for key in keys)
    return found if plain and "core.repositoryformatversion" in keys else None


def _around_of(
    path: Path, rows: Sequence[tuple[str, str, str]], files: Mapping[str, _Stamp | None], listed: bytes
) -> _Around | None:
    """Return the settings that do not come from a repository; None if they depend on it."""
    inside = f"{path}/.git/"
    if not os.path.isdir(inside) or any(key.partition(".")[0] in ("include", "includeif") for _, key, _ in rows):
        return None
    before = {key: value for file, key, value in rows if file and not file.startswith(inside)}
    after = {key: value for file, key, value in rows if not file}
    own = {f"{path}/{name}" for name in (".git", "config", "HEAD")}
    stamps = {file: stamp for file, stamp in files.items() if not file.startswith(inside) and file not in own}
    fields = listed.split(b"\0")[:-1]
    raw = [b"%s\0%s\0" % pair for pair in zip(fields[::2], fields[1::2], strict=True)]
    first = b"".join(one for one, (file, _, _) in zip(raw, rows, strict=True) if file and not file.startswith(inside))
    last = b"".join(one for one, (file, _, _) in zip(raw, rows, strict=True) if not file)
    return _Around(before, after, stamps, first, last)


def _stamp(file: str) -> _Stamp | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):  # `.git` of a main working tree
        return 0, 0, found.st_ino
    return found.st_mtime_ns, found.st_size, found.st_ino
