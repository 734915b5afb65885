"""Few paths of a checkout and its index, changed without a process. What git would treat in another way is git's.

The index is locked as git locks it, and replaced in one step. Files are written before, as `git checkout-index` does.

Source: https://git-scm.com/docs/index-format and Documentation/technical/racy-git.txt of git
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from minipach.git.child_environment import child_environment
from minipach.git.git_error import GitError
from minipach.git.index_file import IndexRow, index_data, read_index, row_of
from minipach.git.plain_attributes import convert_nothing, has_pointer, has_usual_attributes, system_attributes
from minipach.git.plain_names import is_plain_path, parents
from minipach.git.plain_settings import is_plain, runs_hook
from minipach.git.ref_files import UnsureError, git_folder
from minipach.git.repo import Repo
from minipach.git.tree_entries import EXECUTABLE, GITLINK, SYMLINK
from minipach.support.git_objects import NO_OBJECT, blob_id

_MOST = 200  # paths
_LARGEST = 1 << 18  # bytes of an index, and of a file that is compared
_LARGE = 8 << 20  # bytes of all files that are written
_ABSENT = "000000"
_HOOK = "post-index-change"
_ATTRIBUTES = b".gitattributes"
# with these, git writes other files, or another index
_OTHER_WAYS = (
    *("core.autocrlf", "core.ignorecase", "core.precomposeunicode", "core.attributesfile", "core.sparsecheckout"),
    *("core.filemode", "core.symlinks", "core.ignorestat", "core.untrackedcache", "core.checkroundtripencoding"),
    *("core.protecthfs", "core.protectntfs", "core.worktree"),
    *("index.version", "index.skiphash", "index.sparse", "feature.manyfiles", "attr.tree"),
)
_AS_USUAL = {
    *(("core.autocrlf", "false"), ("core.ignorecase", "false")),
    *(("core.filemode", "true"), ("core.symlinks", "true"), ("core.sparsecheckout", "false")),
    *(("core.ignorestat", "false"), ("core.untrackedcache", "false"), ("core.untrackedcache", "keep")),
    *(("index.version", "2"), ("index.skiphash", "false"), ("index.sparse", "false"), ("feature.manyfiles", "false")),
    ("core.attributesfile", os.devnull),
}


@dataclass(frozen=True, slots=True)
class PathChange:
    """A path that differs between two commits, with modes and ids.

    moved: its folder becomes a dataset of its own, which has the file now.
    """

    path: str
    old_mode: str
    new_mode: str
    old: str
    new: str
    moved: bool = False


def remove_path(root: Path, path: str) -> None:
    """Remove a file, and the folders above it that are empty then."""
    there = root / path
    if there.is_symlink() or there.is_file():
        there.unlink()
    for folder in parents(path):
        try:
            os.rmdir(root / folder)
        except OSError:
            return  # not empty: something else lives there


def staged_paths(repo: Repo, commit: str) -> set[str] | None:
    """Return the paths at which the index differs from a commit; None: git must be asked."""
    with suppress(OSError, ValueError, IndexError, struct.error, UnsureError):
        found = _read(git_folder(repo.path))
        listed = repo.small_listing(commit) if found is not None else None
        if found is None or listed is None or not is_plain(repo.settings()):
            return None
        there = {os.fsencode(e.path): (int(e.mode, 8), e.sha) for e in listed}
        staged = {name: (row.mode, row.sha) for name, row in found[0].items()}
        return {os.fsdecode(name) for name in there.keys() | staged.keys() if there.get(name) != staged.get(name)}
    return None


def write_paths(repo: Repo, changes: Sequence[PathChange]) -> bool:
    """Set index and working tree to the new side of the changes; False: git must do it, and nothing has changed.

    Raises GitError.
    """
    written = [c for c in changes if c.new != NO_OBJECT and c.new_mode != GITLINK]
    try:
        folder = git_folder(repo.path)
        if len(changes) > _MOST or not _is_usual(folder, repo.settings()):
            return False
        found = dict(zip((c.path for c in written), repo.objects.read_many([c.new for c in written]), strict=True))
    except (UnsureError, GitError, OSError):
        return False
    contents = {path: data for path, data in found.items() if data is not None}
    if len(contents) < len(written) or sum(map(len, contents.values())) > _LARGE or has_pointer(contents.values()):
        return False
    if any(_is_odd(repo.path, change) for change in changes):
        return False
    lock = folder / "index.lock"
    try:
        file = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError:
        return False  # git says who has it
    try:
        with open(file, "wb") as stream:
            rows = _rows_if_sure(repo, folder, changes, contents)
            if rows is None:
                return False
            _write(repo.path, changes, contents)
            for change in changes:
                if change.new != NO_OBJECT:
                    info = None if change.new_mode == GITLINK else os.lstat(repo.path / change.path)
                    rows[os.fsencode(change.path)] = row_of(change.new_mode, change.new, info)
            stream.write(index_data(rows))
            stream.flush()
            os.replace(lock, folder / "index")
            lock = Path()  # the name is another's from here on
    except OSError as error:
        raise GitError(repo.path, ["checkout-index"], 1, str(error)) from None
    finally:
        if lock.name:
            lock.unlink(missing_ok=True)
    return True


def _is_usual(folder: Path, settings: Mapping[str, str]) -> bool:
    unusual = [key for key in _OTHER_WAYS if key in settings and (key, settings[key]) not in _AS_USUAL]
    env = child_environment()
    personal = env.get("XDG_CONFIG_HOME") or f"{env.get('HOME', '')}/.config"
    return (
        is_plain(settings)
        and not unusual
        and not any(key.startswith("extensions.") for key in settings)
        and "GIT_INDEX_VERSION" not in env
        and not runs_hook(folder, settings, _HOOK)
        and has_usual_attributes(folder)
        and not any(map(os.path.exists, (f"{personal}/git/attributes", *system_attributes(env["PATH"]))))
        and not (folder / "info/sparse-checkout").exists()
    )


def _is_odd(root: Path, change: PathChange) -> bool:
    """Return whether git must look at a path: it has a special name, or something else lies there, or above it."""
    if not is_plain_path(change.path, link=SYMLINK in (change.old_mode, change.new_mode)):
        return True
    above = (root / folder for folder in parents(change.path))
    if any(folder.is_symlink() or (folder.exists() and not folder.is_dir()) for folder in above):
        return True
    there = root / change.path
    is_folder = there.is_dir() and not there.is_symlink()
    if GITLINK in (change.old_mode, change.new_mode):
        others = {change.old_mode, change.new_mode} - {GITLINK, _ABSENT}
        return bool(others) or (os.path.lexists(there) and not is_folder)
    return is_folder and not change.moved


def _read(folder: Path) -> tuple[dict[bytes, IndexRow], os.stat_result] | None:
    """Return the entries of an index, and its times; None: git must read it. Raises what a damaged one raises."""
    file = folder / "index"
    info = file.stat()
    found = read_index(file.read_bytes()) if info.st_size <= _LARGEST else None
    return None if found is None else (found[0], info)


def _rows_if_sure(
    repo: Repo, folder: Path, changes: Sequence[PathChange], contents: Mapping[str, bytes]
) -> dict[bytes, IndexRow] | None:
    """Return the entries of `_rows_left`; None, too, where a file or folder can't be read."""
    try:
        return None if (folder / "index").is_symlink() else _rows_left(repo, folder, changes, contents)
    except OSError:
        return None


def _rows_left(
    repo: Repo, folder: Path, changes: Sequence[PathChange], contents: Mapping[str, bytes]
) -> dict[bytes, IndexRow] | None:
    """Return the entries of the index, which is locked, at other paths than these; None: git must do it."""
    try:
        found = _read(folder)
    except (ValueError, IndexError, struct.error):
        return None
    if found is None:
        return None
    rows, info = found
    names = {os.fsencode(change.path) for change in changes}
    kept = {name: row for name, row in rows.items() if name not in names}
    added = {os.fsencode(c.path) for c in changes if c.new != NO_OBJECT}
    if not all(os.fsencode(folder) not in kept for name in added for folder in parents(os.fsdecode(name))):
        return None
    if any(os.fsencode(folder) in added for name in (*kept, *added) for folder in parents(os.fsdecode(name))):
        return None
    # git compares times in seconds: a file that is as young as the index may have changed since, and look the same
    # beside a younger index
    young = {name: row for name, row in kept.items() if row.fields[2] >= info.st_mtime_ns // 10**9}
    if not all(_has_content(os.path.join(os.fsencode(repo.path), name), row) for name, row in young.items()):
        return None
    rules = [row.sha for name, row in kept.items() if name.rpartition(b"/")[2] == _ATTRIBUTES]
    committed = [text or b"" for text in repo.objects.read_many(rules)]
    new = [data for path, data in contents.items() if os.fsencode(path).rpartition(b"/")[2] == _ATTRIBUTES]
    return kept if convert_nothing([*committed, *new, *_attributes_there(repo.path, names)]) else None


def _attributes_there(root: Path, names: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the files of attributes in the folders of these paths, as they lie there."""
    folders = {"", *(folder for name in names for folder in parents(os.fsdecode(name)))}
    for folder in sorted(folders):
        with suppress(FileNotFoundError, NotADirectoryError):
            yield (root / folder / os.fsdecode(_ATTRIBUTES)).read_bytes()


def _has_content(path: bytes, row: IndexRow) -> bool:
    """Return whether a file has the content that the index has, or is gone."""
    try:
        info = os.lstat(path)
        if stat.S_ISLNK(info.st_mode):
            return blob_id(os.readlink(path)) == row.sha
        if not stat.S_ISREG(info.st_mode) or info.st_size > _LARGEST:
            return False
        with open(path, "rb") as file:
            return blob_id(file.read()) == row.sha
    except FileNotFoundError:
        return True


def _write(root: Path, changes: Sequence[PathChange], contents: Mapping[str, bytes]) -> None:
    for change in changes:
        if change.new == NO_OBJECT and change.old_mode != GITLINK and not change.moved:
            remove_path(root, change.path)
        elif change.new_mode == GITLINK:
            (root / change.path).mkdir(parents=True, exist_ok=True)
    for change in changes:
        if change.path not in contents:
            continue
        there = root / change.path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.unlink(missing_ok=True)
        if change.new_mode == SYMLINK:
            os.symlink(contents[change.path], os.fsencode(there))
            continue
        mode = 0o777 if change.new_mode == EXECUTABLE else 0o666
        try:
            with open(os.open(there, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(contents[change.path])
        except OSError:
            there.unlink(missing_ok=True)  # a part of it would look like the user's change to the next run
            raise
