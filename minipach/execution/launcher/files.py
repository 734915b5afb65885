"""Files and folders: copies, what is removed, programs on PATH."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess

from minipach.execution.launcher.core import Suppress

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
POINTER = b"/annex/objects/"
MAX_POINTER = 1024  # bytes; git-annex writes pointers of some 100 bytes
MAX_READ_AS_POINTER = 32768  # bytes; git-annex takes no larger file for a pointer


def copy_file(source, target, mode):
    """Copy content, sharing blocks where the file system can."""
    with open(source, "rb") as reader, open(target, "xb") as writer:
        try:
            import fcntl

            fcntl.ioctl(writer.fileno(), 0x40049409, reader.fileno())  # FICLONE
        except (ImportError, OSError):
            shutil.copyfileobj(reader, writer, 1 << 20)
        os.fchmod(writer.fileno(), mode)


def remove_tree(path):
    """Delete a folder of ours. Never follows links, and never changes the mode of a file: it may be a hard link."""
    with Suppress(OSError, RecursionError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            empty_folder(path)
            os.rmdir(path)
        else:
            os.unlink(path)
        return

    def unlock(_function, failed, _error):
        for folder in (os.path.dirname(failed), failed):
            if os.path.isdir(folder) and not os.path.islink(folder):
                with Suppress(OSError):
                    os.chmod(folder, 0o700)
        if os.path.isdir(failed) and not os.path.islink(failed):
            shutil.rmtree(failed, ignore_errors=True)
        else:
            with Suppress(OSError):
                os.unlink(failed)

    if os.path.lexists(path):
        with Suppress(RecursionError):
            shutil.rmtree(path, onerror=unlock)
    if os.path.lexists(path):  # deeper than Python goes
        subprocess.run(
            ["find", path, "-type", "d", "-execdir", "chmod", "u+rwx", "{}", ";"], capture_output=True, check=False
        )
        subprocess.run(["rm", "-rf", "--", path], capture_output=True, check=False)


def empty_folder(path, above=None):
    """Delete all that is in a folder. Raises OSError where it has no permission."""
    fd = os.open(path, FOLDER, dir_fd=above)
    try:
        with os.scandir(fd) as found:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        for name, is_folder in entries:
            if is_folder:
                empty_folder(name, fd)
                os.rmdir(name, dir_fd=fd)
            else:
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)


def make_temporary(folder):
    """A new folder in another, which only this user can enter."""
    while True:
        path = os.path.join(folder, "tmp." + os.urandom(6).hex())
        with Suppress(FileExistsError):
            os.mkdir(path, 0o700)
            return path


def find_program(name, folders=None):
    """The path of a program on PATH, or in other folders; or None."""
    for folder in (folders or os.environ["PATH"]).split(os.pathsep):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def disk_use(paths):
    """Bytes on disk below some folders. A command may have put a link in the place of one: it is not followed."""
    total = 0
    for path in paths:
        if os.path.islink(path):
            continue
        todo = [path]
        while todo:
            with Suppress(OSError), os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        with Suppress(OSError):
                            total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def is_taken_for_pointer(data):
    """Whether git-annex takes a file with these bytes for the pointer to an annexed content, and not for a content."""
    first, _, rest = data.partition(b"\n")
    if len(data) > MAX_READ_AS_POINTER or POINTER not in first:
        return False
    backend, _, name = first.rpartition(b"/")[2].partition(b"--")
    return bool(backend and name) and all(not line or line.startswith(b"/annex/") for line in rest.split(b"\n"))
