"""Files and folders: copies that share blocks, removal of what is read-only, where links lead."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path


def clone_file(source: Path, target: Path) -> None:
    """Copy a file's content, sharing its blocks where the file system can."""
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            import fcntl

            fcntl.ioctl(writer.fileno(), 0x40049409, reader.fileno())  # FICLONE
        except (ImportError, OSError):
            shutil.copyfileobj(reader, writer, 1024 * 1024)


def write_whole(file: Path, text: str) -> None:
    """Write a file in one step: who reads it finds the old content or the new one."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(file)


def write_pieces(file: Path, pieces: Iterable[str]) -> None:
    """Write a file in one step, as `write_whole`, from pieces of text that need not be in memory at once."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    with temporary.open("w") as stream:
        stream.writelines(pieces)
    temporary.replace(file)


def replace_file(file: Path, data: bytes) -> None:
    """Write a person's file in one step. It keeps its mode; a new one gets the mode that the umask says."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(6)}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as stream:
            stream.write(data)
        with contextlib.suppress(FileNotFoundError):
            mode = file.lstat().st_mode
            if stat.S_ISREG(mode):  # the content that a link leads to may be read-only
                temporary.chmod(stat.S_IMODE(mode))
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_tree(path: Path) -> None:
    """Delete a folder of ours, read-only subfolders included. Never follows symlinks."""
    if not os.path.lexists(path):
        return

    def unlock(_function: object, failed: str, _error: object) -> None:
        for target in (os.path.dirname(failed), failed):
            with contextlib.suppress(OSError):
                # folders only: a staged file may be a hard link to annexed content, whose mode it would change
                if os.path.isdir(target) and not os.path.islink(target):
                    os.chmod(target, stat.S_IRWXU)
        if os.path.isdir(failed) and not os.path.islink(failed):
            shutil.rmtree(failed, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(failed)

    shutil.rmtree(path, onerror=unlock)


def stays_inside(path: str, target: str) -> bool:
    """Return whether a symlink at `path` with this target leads to a place in the same repo.

    ".." is taken at the target's start only: after a name, which may be a link itself, it could lead anywhere.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    return not target.startswith("/") and up <= path.count("/") and ".." not in parts[up:]
