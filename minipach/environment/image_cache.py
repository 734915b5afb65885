"""The cache of unpacked images on this machine, which launchers fill; and one copy of an image for a project.

A launcher sets the time of an image's folder whenever it uses it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.git.annex_keys import key_of_link
from minipach.git.repo import Repo
from minipach.git.tree_entries import SYMLINK
from minipach.model.repo_layout import BASE_REF
from minipach.support.disk_cache import cache_home
from minipach.support.disk_use import bytes_on_disk
from minipach.support.files import remove_tree

JUST_USED = 3600.0  # seconds: an image that was used since is never removed
_GONE = ".gone-"
_NAME = re.compile(r"[A-Z0-9_]+(-[a-zA-Z][0-9]+)*--.+|[0-9a-f]{64}|\.gone-[0-9a-f]{12}")
_PARTS = frozenset({"rootfs", "kind", "podman", "docker"})
_ENVIRONMENTS = ".datalad/environments"
_SMALL = 1 << 16  # bytes: smaller contents are not shared


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An unpacked image. key: its annex key, or a hash of its file · used: when it was last used, in unix seconds."""

    key: str
    path: Path
    bytes: int
    used: float


def folder() -> Path:
    """Return the folder of unpacked images of this user."""
    named = os.environ.get("MINIPACH_CACHE")
    return (Path(named) if named else cache_home() / "minipach") / "images"


def unpacked() -> list[Unpacked]:
    """Return what is in the cache, the one that was used last first. What a removal has left is the oldest."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder().iterdir():
            if _is_ours(path):
                used = 0.0 if path.name.startswith(_GONE) else path.stat().st_mtime
                found.append(Unpacked(path.name, path, bytes_on_disk(path), used))
    return sorted(found, key=lambda one: (-one.used, one.key))


def _is_ours(path: Path) -> bool:
    """Return whether a launcher has made a folder, by its name and by what is in it: a setting may name any place."""
    if not _NAME.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
        return False
    return all(name in _PARTS or name.startswith("tmp.") for name in os.listdir(path))


def remove(one: Unpacked) -> bool:
    """Remove an unpacked image, unless a container has it mounted. Whether it is removed.

    It is moved aside first, so that a launcher which begins meanwhile unpacks it again.
    """
    if is_mounted(one.path):
        return False
    moved = one.path.with_name(f"{_GONE}{secrets.token_hex(6)}")
    os.rename(one.path, moved)
    if is_mounted(moved):  # the one that a launcher has mounted a moment ago
        with contextlib.suppress(OSError):
            os.rename(moved, one.path)
        return False
    remove_tree(moved)
    return True


def is_mounted(path: Path) -> bool:
    """Return whether something below a folder is mounted in any process of this user (Linux)."""
    wanted = f"{path.parent.name}/{path.name}/"
    for entry in Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(OSError):
            if wanted in entry.read_text(errors="replace"):
                return True
    return False


@dataclass(frozen=True, slots=True)
class Copy:
    """A second copy of an image in a project. path: the object in the annex of `repo` · of: the other copy."""

    repo: Path
    path: Path
    of: Path
    bytes: int


def image_keys(repo: Repo) -> set[str]:
    """Return the annex keys of the images that a pipeline's repo has in its branch or its base commit."""
    found = set()
    for rev in ("HEAD", BASE_REF):
        if repo.resolve(f"{rev}:{_ENVIRONMENTS}"):
            for entry in repo.ls_tree(rev, f":(top,literal){_ENVIRONMENTS}", recursive=True):
                key = key_of_link(repo.objects.read(entry.sha) or b"") if entry.mode == SYMLINK else None
                found |= {key} if key else set()
    return found


def objects(root: Path, keys: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield the keys of a repository whose contents are here, with their objects."""
    wanted = set(keys)
    for path in (root / ".git" / "annex" / "objects").glob("*/*/*/*") if wanted else ():
        if path.name in wanted and path.is_file():
            yield path.name, path


def copies(repos: Sequence[Repo]) -> list[Copy]:
    """Return the images that more than one of these repos has a copy of, on one disk; the first one stays as it is."""
    first: dict[tuple[str, int], tuple[Path, int]] = {}
    found = []
    for repo in repos:
        for key, path in objects(repo.path, sorted(image_keys(repo))):
            info = path.stat()
            if not _is_locked(info):
                continue
            there, inode = first.setdefault((key, info.st_dev), (path, info.st_ino))
            if inode != info.st_ino and info.st_size >= _SMALL and there.stat().st_size == info.st_size:
                found.append(Copy(repo.path, path, there, info.st_blocks * 512))
    return found


def share(copy: Copy) -> bool:
    """Have two repos of a project share one copy of an image, by a hard link. Whether they do.

    Each of them has the object as before, and keeps it when the other drops it. Contents are compared first.
    """
    if not _equal(copy.of, copy.path):
        return False
    part = copy.repo / ".git" / "annex" / "tmp" / f"minipach-{secrets.token_hex(6)}"
    part.parent.mkdir(exist_ok=True)
    above = copy.path.parent
    mode = stat.S_IMODE(above.stat().st_mode)
    try:
        os.link(copy.of, part)
        above.chmod(mode | stat.S_IWUSR)
        os.replace(part, copy.path)
    except OSError:  # another disk, or a file system without hard links
        part.unlink(missing_ok=True)
        return False
    finally:
        above.chmod(mode)
    return True


def share_with_others(root: Path, target: str, others: Sequence[Path]) -> bool:
    """Share a content that a repo has just got with the first other repo that has it. target: of the file's link."""
    place = re.search(r"\.git/(annex/objects/.+)$", target)
    own = root / ".git" / place[1] if place else None
    if place is None or own is None or not own.is_file():
        return False
    size = own.stat().st_size
    for other in others:
        there = other / ".git" / place[1]
        if other == root or not there.is_file():
            continue
        info = there.stat()
        if info.st_size == size >= _SMALL and _is_locked(info):
            return os.path.samefile(there, own) or share(Copy(root, own, there, size))
    return False


def _is_locked(info: os.stat_result) -> bool:
    """Return whether nobody writes to an object: with `annex.thin`, an unlocked file is a link to it."""
    return not info.st_mode & 0o222


def _equal(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        while piece := left.read(1 << 20):
            if piece != right.read(len(piece)):
                return False
        return not right.read(1)
