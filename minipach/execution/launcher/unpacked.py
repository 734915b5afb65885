"""Images that are folders, or are unpacked to one: their roots, and mount points in them."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess

from minipach.execution.launcher.core import Failure, Suppress
from minipach.execution.launcher.files import FOLDER, find_program, make_temporary, remove_tree
from minipach.execution.launcher.image_file import ImageFile, is_gzip


class UnpackedImage(ImageFile):
    """An image whose files can be read."""

    def workdir(self):
        """The folder in which its programs start: `.singularity.d/runscript` changes to it, as in images that are made
        from a Dockerfile with WORKDIR; else "/". Nothing of the image is run, and no link is followed.
        """
        if self.kind not in ("directory", "squashfs", "rootfs-tar"):
            return "/"
        name, text = ".singularity.d/runscript", b""
        if self.kind == "squashfs" and find_program("unsquashfs"):
            words = ["unsquashfs", "-cat", self.path, name]
            text = subprocess.run(words, capture_output=True, check=False).stdout
        elif self.kind != "squashfs":
            with Suppress(OSError):
                above = os.open(os.path.join(self.rootfs(), os.path.dirname(name)), FOLDER)
                try:
                    found = os.open(os.path.basename(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=above)
                    try:
                        text = os.read(found, 1 << 16)
                    finally:
                        os.close(found)
                finally:
                    os.close(above)
        said = re.search(rb"^[ \t]*cd[ \t]+(/[\w./+-]*)[ \t]*$", text, re.MULTILINE | re.ASCII)
        return os.path.normpath(os.fsdecode(said[1])) if said else "/"

    def rootfs(self):
        """The image as a folder, unpacked once: beside its place and renamed, so that nobody sees half an image."""
        if self.kind == "directory":
            return self.path
        cache = self.cache()
        rootfs = os.path.join(cache, "rootfs")
        if os.path.isdir(rootfs):
            return rootfs
        work = make_temporary(cache)
        try:
            self._unpack(os.path.join(work, "rootfs"))
            for point in ("pfs", "project", "tmp", "var/tmp", "home/user", "dev", "proc", "sys"):
                make_mount_point(os.path.join(work, "rootfs"), point)
            try:
                os.rename(os.path.join(work, "rootfs"), rootfs)
            except OSError:
                if not os.path.isdir(rootfs):
                    raise
        except (OSError, EOFError) as error:
            raise Failure(self.name + ": can't be unpacked: " + str(error)) from None
        finally:
            remove_tree(work)
        return rootfs

    def _unpack(self, target):
        if self.kind == "squashfs":
            done = subprocess.run(
                ["unsquashfs", "-no-progress", "-dest", target, self.path], capture_output=True, check=False
            )
            if done.returncode not in (0, 2):  # 2: all but device nodes or owners, which only root can make
                raise OSError(done.stderr.decode(errors="replace").strip().splitlines()[-1:] or "unsquashfs failed")
        else:
            os.mkdir(target)
            program = ["tar", "-C", target, "--exclude", "./dev/*", "--exclude", "dev/*", "-xf", "-"]
            import gzip

            with gzip.open(self.path) if is_gzip(self.path) else open(self.path, "rb") as file:
                process = subprocess.Popen(program, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
                assert process.stdin is not None and process.stderr is not None
                with Suppress(BrokenPipeError), process.stdin:
                    shutil.copyfileobj(file, process.stdin, 1 << 20)
                said = process.stderr.read().decode(errors="replace").strip()
                if process.wait() != 0:
                    raise OSError(said.splitlines()[-1] if said else "tar failed")
        for here, folders, names in os.walk(target):
            for name in (*folders, *names):
                there = os.path.join(here, name)
                mode = os.lstat(there).st_mode
                if stat.S_ISDIR(mode):  # mount points are made in folders, and people clean caches
                    os.chmod(there, stat.S_IMODE(mode) | 0o700)
                elif stat.S_ISBLK(mode) or stat.S_ISCHR(mode):  # a disk of the host, if root unpacks it
                    os.unlink(there)
                elif stat.S_ISREG(mode) and mode & 0o6000:  # of no use in a sandbox, and of much in a shared cache
                    os.chmod(there, stat.S_IMODE(mode) & 0o1777)

    def bubblewrap_root(self, points, has_network):
        """bwrap's arguments for the root, and for the host's names if the network is the host's."""
        rootfs = self.rootfs()
        found = composed(rootfs, points)
        for file in ("/etc/resolv.conf", "/etc/hosts") if has_network else ():
            inside = os.path.join(rootfs, file[1:])
            if os.path.isfile(inside) and not os.path.islink(inside):
                found += ["--ro-bind-try", os.path.realpath(file), file]
        return found


def make_mount_point(rootfs, point):
    """A folder in an unpacked image; not through links, which would lead out of it. Whether it is there."""
    here = rootfs
    for part in point.split("/"):
        here = os.path.join(here, part)
        if os.path.islink(here) or (os.path.lexists(here) and not os.path.isdir(here)):
            return False
    os.makedirs(here, exist_ok=True)
    return True


def composed(rootfs, points, place=""):
    """bwrap's arguments for an image's root: each entry is bound whole, unless a mount point must be made below it."""
    found = []
    for name in sorted(os.listdir(rootfs + place)):
        path, there = place + "/" + name, rootfs + place + "/" + name
        if path in ("/dev", "/proc", "/sys", "/tmp", "/pfs", "/project"):
            continue
        below = [p for p in points if p.startswith(path + "/")]
        if os.path.islink(there):
            found += [] if below else ["--symlink", os.readlink(there), path]
        elif os.path.isdir(there) and any(not os.path.isdir(rootfs + p) or os.path.islink(rootfs + p) for p in below):
            found += ["--dir", path, *composed(rootfs, points, path)]
        else:
            found += ["--ro-bind", there, path]
    return found
