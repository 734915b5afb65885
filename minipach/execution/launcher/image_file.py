"""Images that are files or folders: their kinds, and what is derived from them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import subprocess

from minipach.execution.launcher.core import POD, Failure
from minipach.execution.launcher.files import FOLDER, find_program, make_temporary, remove_tree
from minipach.execution.launcher.image import Image


class ImageFile(Image):
    """An image that is no host environment."""

    part = "image_file"

    def find_kind(self):
        """The kind of the image; a cluster has fetched that of a pod. Raises Failure."""
        if POD:
            return "pod"
        if os.path.isdir(self.path):
            return "directory"
        with open(self.path, "rb") as file:
            head = file.read(64)
        if head[:4] == b"hsqs":
            return "squashfs"
        if head[32:41] == b"SIF_MAGIC":
            return "sif"
        return self._archive_kind()

    def _archive_kind(self):
        """A tar is known by its members. To list a large compressed one takes long, so the answer is kept."""
        known = os.path.join(self.cache(), "kind") if self.is_key() else None
        if known and os.path.isfile(known):
            with open(known) as file:
                return file.read(32).strip()
        import tarfile

        kind = None
        try:
            with tarfile.open(self.path) as tar:
                for member in tar:
                    name = member.name[2:] if member.name.startswith("./") else member.name
                    kind = kind or "rootfs-tar"
                    if name == "manifest.json":
                        kind = "docker-archive"
                        break
                    if name == "oci-layout":
                        kind = "oci-archive"
        except Exception:  # a damaged archive raises anything
            kind = None
        if kind is None:
            known_kinds = "SIF, squashfs, docker or OCI archive, root file system, host environment"
            raise Failure(f"{self.name}: not an image that is known here ({known_kinds})")
        if known:
            with open(known, "w") as file:
                file.write(kind + "\n")
        return kind

    def is_key(self):
        """Whether the file is named by its content, as git-annex does."""
        return bool(re.fullmatch(r"[A-Z0-9_]+(-[a-zA-Z][0-9]+)*--.+", os.path.basename(self.path)))

    def cache(self):
        """The folder for what is derived from this image, named by its content."""
        if self.is_key():
            key = os.path.basename(self.path)
        else:
            digest = hashlib.sha256()
            with open(self.path, "rb") as file:
                for piece in iter(lambda: file.read(1 << 20), b""):
                    digest.update(piece)
            key = digest.hexdigest()
        base = os.environ.get("MINIPACH_CACHE") or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME") or "/tmp", ".cache"), "minipach"
        )
        folder = os.path.join(base, "images", key)
        try:
            os.makedirs(folder, exist_ok=True)
            with contextlib.suppress(PermissionError):
                os.utime(folder)  # minipach gc begins with what was not used for long
        except OSError as error:
            what = f"{folder}: {error.strerror}; set MINIPACH_CACHE to a folder that can be written"
            raise Failure(what) from None
        return os.path.realpath(folder)

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
            with contextlib.suppress(OSError):
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
                with contextlib.suppress(BrokenPipeError), process.stdin:
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

    def environment(self, interactive):
        """The variables of a command in it."""
        return {"LANG": "C.UTF-8", **({"TERM": os.environ["TERM"]} if interactive and "TERM" in os.environ else {})}

    def bubblewrap_root(self, points, has_network):
        """bwrap's arguments for the root, and for the host's names if the network is the host's."""
        rootfs = self.rootfs()
        found = composed(rootfs, points)
        for file in ("/etc/resolv.conf", "/etc/hosts") if has_network else ():
            inside = os.path.join(rootfs, file[1:])
            if os.path.isfile(inside) and not os.path.islink(inside):
                found += ["--ro-bind-try", os.path.realpath(file), file]
        return found

    def plain(self, scratch):
        """The archive, uncompressed: not every podman does this by itself."""
        if not is_gzip(self.path):
            return self.path
        import gzip

        path = os.path.join(scratch, "archive")
        with gzip.open(self.path) as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        return path


def is_gzip(path):
    """Whether a file is compressed with gzip."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


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
