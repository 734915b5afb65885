"""Outputs of a set, put into the annex without a process, where git-annex would do just the same with them.

`git annex add` starts thirty processes of git for three small files. So their checksums are computed here, and the
files are moved to where git-annex keeps contents (`annex_layout`); then the location log is written
(`location_log`). Whatever could make `git annex add` do something else leaves all files of the set to it.

A kill between two steps leaves contents that no file names, or whose location is not recorded. Their set has no
result yet, so it runs again, and the same steps complete them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from minipach.git.annex_checksums import damaged, note_verified
from minipach.git.annex_layout import extensions, is_plain, link_target, object_path
from minipach.git.child_environment import child_environment
from minipach.git.clean_index import new_files
from minipach.git.git_error import GitError
from minipach.git.location_log import note_present
from minipach.git.plain_attributes import has_usual_attributes, system_attributes
from minipach.git.plain_settings import is_plain as has_plain_objects
from minipach.git.ref_files import UnsureError, git_folder, read_ref
from minipach.git.repo import Repo, annex
from minipach.git.tree_entries import SYMLINK
from minipach.model.repo_layout import reserved_in_pipeline
from minipach.support.git_objects import blob_id

LARGE = 32 << 20  # bytes: whose checksum is noted as verified
_HASHES = {**{f"SHA{n}": f"sha{n}" for n in (224, 256, 384, 512)}, "MD5": "md5", "SHA1": "sha1"}
_BACKEND = "annex.backend"
_DEFAULT = "SHA256E"  # git-annex's own
_VERSIONS = ("8", "9", "10")  # of repositories with this layout
# settings of git-annex with which it stores files in the usual way; an unknown one may mean another
_USUAL = {
    *("annex.uuid", "annex.version", _BACKEND, "annex.numcopies", "annex.mincopies", "annex.jobs", "annex.diskreserve"),
    *("annex.autoinit", "annex.autocommit", "annex.retry", "annex.stalldetection", "annex.sshcaching"),
    *("annex.synccontent", "annex.verify", "annex.addsmallfiles", "annex.supportunlocked", "annex.dotfiles"),
    *("annex.security.allowed-ip-addresses", "annex.security.allowed-url-schemes"),
}
_USUAL_VALUES = {
    *(("annex.thin", "false"), ("annex.crippledfilesystem", "false"), ("annex.addunlocked", "false")),
    *(("annex.hardlink", "false"), ("annex.private", "true"), ("annex.private", "false")),
}
_ODD = re.compile(r'[\\"!\[]|^\[attr\]')  # in a pattern of attributes: git is asked
_STRANGE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")  # in a file of attributes
_BLANK = re.compile(r"[ \t\r]+")  # what git takes for one
# git ignores the whole line of another word
_WORD = re.compile(r"[-!]?(?!builtin_)[A-Za-z0-9_.][A-Za-z0-9_.-]*(=.*)?")
_LONGEST_LINE = 1000  # characters; git ignores lines from 2048 bytes on
_BRANCHES = ("refs/heads/git-annex", "refs/heads/synced/git-annex")
_TRIES = 5  # another process may forbid to write to a folder, or remove it, at any moment


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An output in the annex: its path, the symbolic link that git has there, and its bytes."""

    path: str
    target: bytes
    size: int

    @property
    def row(self) -> tuple[str, str, str]:
        """Path, mode and blob."""
        return self.path, SYMLINK, blob_id(self.target)


@dataclass(frozen=True, slots=True)
class _HashedOutput:
    path: str
    key: str
    began: int  # ns since 1970
    info: os.stat_result


def store_outputs(main: Repo, top: Path, base: str, expected: Sequence[str]) -> list[StoredOutput] | None:
    """Annex all new files of a slot. Return None if git-annex must do it, and nothing has changed then.

    Args:
        main: the repository of the slot.
        top: the slot, in which no process works any more.
        base: the commit that it has.
        expected: the paths of the outputs, as the launcher reports them.

    Raises:
        OSError: A file could not be moved, or was dropped meanwhile. Others may be in the annex.
        GitError: The location log could not be written.
    """
    own = Repo(main.path, own=True)
    try:
        folder = git_folder(main.path)
        found = new_files(top, _admin(top))
        settings = own.settings()
        backend = None if _is_adapted(main, folder) else _backend(main, base, settings, expected)
    except (UnsureError, GitError, OSError):
        return None
    if found is None or backend is None or sorted(found) != sorted(map(os.fsencode, set(expected))):
        return None
    objects = folder / "annex/objects"
    if not objects.parent.is_dir() or not has_usual_attributes(folder):
        return None
    try:
        objects.mkdir(exist_ok=True)
        hashed = _hash_all(top, expected, backend, objects.stat().st_dev)
    except OSError:
        return None
    keyed = hashed and _keyed(own, hashed, backend)
    if keyed is None:
        return None
    places = {one.key: objects / object_path(one.key) for one in keyed}
    there = {key: path for key, path in places.items() if os.path.lexists(path)}
    try:
        if not all(stat.S_ISREG(path.lstat().st_mode) for path in there.values()):
            return None
        bad = set(damaged(main, there))  # git-annex would keep it, and remove the new file
    except OSError:
        return None
    for one in keyed:
        _move(top / one.path, places[one.key], replace=one.key in bad)
        bad.discard(one.key)
        _remove_empty(top, one.path)
    if places:
        note_present(main, places)
        for path in places.values():
            path.lstat()  # another process may have dropped what was here already, before the location was recorded
    _note_large(main, keyed, places)
    return [StoredOutput(one.path, link_target(one.key, one.path), one.info.st_size) for one in keyed]


def _admin(top: Path) -> Path:
    """Return the folder in which git keeps the index of a linked work tree. Raises UnsureError."""
    place = top / ".git"
    if place.is_symlink():
        return Path(os.path.realpath(place))
    text = place.read_text(errors="surrogateescape").rstrip("\n")
    if not text.startswith("gitdir: /"):
        raise UnsureError
    return Path(text.removeprefix("gitdir: "))


def _is_adapted(main: Repo, folder: Path) -> bool:
    """Return whether git-annex may store files in another way here, for all that settings of git say.

    Raises UnsureError and GitError.
    """
    # `git annex config` sets for all clones what is in config.log: git-annex.branchable.com/internals. git-annex
    # merges its journal and the other branches into its own when it starts
    if (folder / "annex/journal/config.log").exists():
        return True
    branches = [sha for ref in _BRANCHES if (sha := read_ref(folder, ref))]
    branches += [sha for ref, sha in main.refs("refs/remotes/").items() if ref.endswith("/git-annex")]
    if any(main.objects.read_many([f"{sha}:config.log" for sha in dict.fromkeys(branches)])):
        return True
    # as `freezecontent-annex`, which git-annex runs whatever `core.hooksPath` says
    with contextlib.suppress(FileNotFoundError):
        if any(name.endswith("-annex") for name in os.listdir(folder / "hooks")):
            return True
    return any(os.path.exists(file) for file in system_attributes(child_environment()["PATH"]))


def _backend(main: Repo, base: str, settings: Mapping[str, str], paths: Sequence[str]) -> str | None:
    """Return the backend of all these files; None where they may be stored in another way, or differ in it."""
    unusual = [
        key
        for key, value in settings.items()
        if key.startswith("annex.") and key not in _USUAL and (key, value) not in _USUAL_VALUES
    ]
    if unusual or not has_plain_objects(settings) or settings.get("annex.version") not in _VERSIONS:
        return None
    if "false" in (settings.get("core.symlinks"), settings.get("core.filemode")):
        return None
    if settings.get("core.ignorecase", "false") != "false" or "attr.tree" in settings:  # as patterns match then
        return None
    rules = [e for e in main.ls_tree(base, recursive=True) if e.path.rpartition("/")[2] == ".gitattributes"]
    if any(e.mode == SYMLINK for e in rules):
        return None
    if any("/" in e.path and not reserved_in_pipeline(e.path.partition("/")[0]) for e in rules):
        return None
    text = next((main.objects.read(e.sha) or b"" for e in rules if e.path == ".gitattributes"), b"")
    named = _named_backend(os.fsdecode(text), paths)
    backend = settings.get(_BACKEND, _DEFAULT) if named == "" else named
    return backend if backend and backend.removesuffix("E") in _HASHES else None


def _named_backend(text: str, paths: Sequence[str]) -> str | None:
    """Return the backend that attributes give to all of these paths, "" if none; None if git must be asked."""
    backend = ""
    if _STRANGE.search(text):
        return None
    for line in text.split("\n"):
        pattern, *given = _BLANK.split(line.strip(" \t\r"))
        if not pattern or pattern.startswith("#"):
            continue
        if len(line) > _LONGEST_LINE or not all(_WORD.fullmatch(word) for word in given):
            return None
        if pattern == "*":
            for word in given:
                name, _, value = word.lstrip("-!").partition("=")
                if word.startswith(f"{_BACKEND}="):
                    backend = value
                elif name.startswith("annex.") or name == "filter":
                    return None
        elif _ODD.search(pattern) or any(_may_match(pattern, path) for path in paths):
            return None
    return backend


def _may_match(pattern: str, path: str) -> bool:
    """Return whether a pattern of attributes may match a path: more often than git would say so, never less."""
    folders, rule = os.fsencode(path).split(b"/"), os.fsencode(pattern)  # for git, "?" is one byte
    if rule.startswith(b"/"):
        return fnmatchcase(folders[0], rule[1:].partition(b"/")[0].replace(b"**", b"*"))
    last = rule.rstrip(b"/").rpartition(b"/")[2]
    return last in (b"", b"**") or any(fnmatchcase(part, last) for part in folders)


def _hash_all(top: Path, paths: Sequence[str], backend: str, device: int) -> list[_HashedOutput] | None:
    """Return all files with their checksums; None if one is unusual, or changes meanwhile."""
    found = []
    kind = backend.removesuffix("E")
    for path in dict.fromkeys(paths):
        parts = path.split("/")
        plain = "\n" not in path and not any(part.startswith(".") for part in parts)
        if not plain or reserved_in_pipeline(parts[0]) or not _is_text(path):
            return None
        began = time.time_ns()
        with open(os.open(top / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode) or before.st_nlink != 1 or before.st_dev != device:
                return None
            digest = hashlib.file_digest(file, lambda: hashlib.new(_HASHES[kind], usedforsecurity=False))
        if not _same(before, (top / path).lstat()):
            return None
        found.append(_HashedOutput(path, f"{kind}-s{before.st_size}--{digest.hexdigest()}", began, before))
    return found


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_ino, one.st_size, one.st_mtime_ns) == (other.st_ino, other.st_size, other.st_mtime_ns)


def _keyed(repo: Repo, hashed: Sequence[_HashedOutput], backend: str) -> list[_HashedOutput] | None:
    """Return all files with whole keys; None if a key has characters that a file name can't have."""
    if not backend.endswith("E"):
        return list(hashed)
    ends = {one.path: extensions(one.path.rpartition("/")[2]) for one in hashed}
    whole = {one.path: one.key.replace("-", "E-", 1) + (ends[one.path] or "") for one in hashed}
    asked = [one for one in hashed if ends[one.path] is None]
    if asked:  # git-annex knows what is an extension
        stdin = "".join(f"{one.key} {one.path}\n" for one in asked)
        said = annex(repo, "examinekey", "--batch", f"--migrate-to-backend={backend}", stdin=os.fsencode(stdin))
        keys = os.fsdecode(said).splitlines()
        if len(keys) < len(asked):
            return None
        whole |= {one.path: key for one, key in zip(asked, keys, strict=True)}
    if not all(is_plain(key) for key in whole.values()):
        return None
    return [_HashedOutput(one.path, whole[one.path], one.began, one.info) for one in hashed]


def _move(source: Path, target: Path, *, replace: bool) -> None:
    """Move a content to its place, which nobody may write to; one that is there already stays, or is replaced."""
    for left in reversed(range(_TRIES)):
        if target.exists() and not replace:
            source.unlink()
            break
        try:
            _rename(source, target)
            break
        except (PermissionError, FileNotFoundError):
            if not left:
                raise
    os.chmod(target, _mode(target) & ~0o222)
    os.chmod(target.parent, _mode(target.parent) & ~0o222)


def _rename(source: Path, target: Path) -> None:
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, _mode(folder) | 0o200)  # git-annex forbids to write to a folder that had the content before
    os.rename(source, target)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _remove_empty(top: Path, path: str) -> None:
    """Remove the folders of a file that is gone, as far as they are empty."""
    with contextlib.suppress(OSError):
        while "/" in path:
            path = path.rpartition("/")[0]
            os.rmdir(top / path)


def _note_large(main: Repo, keyed: Sequence[_HashedOutput], places: Mapping[str, Path]) -> None:
    """Note that these contents are verified here, unless they changed while they were moved."""
    large = {one.key: one for one in keyed if one.info.st_size >= LARGE}
    same = {key: places[key] for key, one in large.items() if _same(one.info, places[key].lstat())}
    if same:
        note_verified(main, same, {key: large[key].began for key in same})
