"""A copy of what a command has written, and may change meanwhile."""

from __future__ import annotations

import errno
import os
import stat
import sys

from minipach.execution.launcher.core import Fault, Suppress, shown
from minipach.execution.launcher.files import FOLDER


def open_folders(path):
    """Let us into all folders below one that a command has written to, and may write to now. Follows no link."""
    for _, folders, _, fd in os.fwalk(path):
        for name in folders:
            with Suppress(OSError):
                found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                os.chmod(f"/proc/self/fd/{found}", 0o700)
                os.close(found)


def copy_written(source, target, seen, room):
    """Copy what a command has written, and may change meanwhile: nothing but what is below the folder is read.

    source: a descriptor of the folder · seen: its path in messages, with a slash. Raises Fault.
    """
    with os.scandir(source) as found:
        names = sorted(entry.name for entry in found)
    for name in names:
        there = os.path.join(target, name)
        try:
            mode = os.stat(name, dir_fd=source, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                os.symlink(os.readlink(name, dir_fd=source), there)
                continue
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                raise Fault("output " + shown(seen + name) + " is neither a file nor a directory")
            fd = open_written(name, source, stat.S_ISDIR(mode))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG, errno.ELOOP):
                raise
            raise Fault("output " + shown(seen + name) + " can't be read: " + str(error.strerror)) from None
        try:
            if stat.S_ISDIR(mode):
                os.mkdir(there)
                copy_written(fd, there, seen + name + "/", room)
            else:
                room.take(os.fstat(fd).st_size, seen + name)
                copy_content(fd, there)
        finally:
            os.close(fd)


def open_written(name, above, is_folder):
    """A descriptor of a file or folder that a command has written, also where it has forbidden to read it."""
    flags = FOLDER if is_folder else os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(name, flags, dir_fd=above)
    except PermissionError:
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=above)
        try:
            if stat.S_ISLNK(os.fstat(found).st_mode):
                raise
            os.chmod(f"/proc/self/fd/{found}", 0o700 if is_folder else 0o600)
        finally:
            os.close(found)
        fd = os.open(name, flags, dir_fd=above)
    if not is_folder and not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a file")
    return fd


def copy_content(source, target):
    """Copy a file as long as it is now, sharing blocks where the file system can; holes stay holes."""
    info = os.fstat(source)
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as writer:
        try:
            import fcntl

            fcntl.ioctl(writer.fileno(), 0x40049409, source)  # FICLONE
        except (ImportError, OSError):
            at = 0
            while (at := next_data(source, at)) < info.st_size:
                piece = os.pread(source, min(info.st_size - at, 1 << 20), at)
                if not piece:  # it was cut meanwhile
                    break
                if piece.count(0) < len(piece):
                    os.lseek(writer.fileno(), at, os.SEEK_SET)
                    put_all(writer.fileno(), piece)
                at += len(piece)
            os.ftruncate(writer.fileno(), min(info.st_size, os.fstat(source).st_size))
        os.fchmod(writer.fileno(), 0o755 if info.st_mode & 0o111 else 0o644)


def next_data(source, at):
    """The next position that has data: after a hole, if the file system can say so."""
    try:
        return os.lseek(source, at, os.SEEK_DATA)
    except OSError as error:
        return sys.maxsize if error.errno == errno.ENXIO else at


def put_all(target, data):
    """Write all of it. Raises OSError."""
    while data:
        data = data[os.write(target, data) :]
