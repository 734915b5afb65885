"""Images that are files or folders: their kinds, and what is derived from them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil

from minipach.execution.launcher.core import POD, Failure, Suppress
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
        home = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(home):  # as its specification says: a relative one could be a folder of the dataset
            home = os.path.expanduser("~/.cache")
        base = os.environ.get("MINIPACH_CACHE") or os.path.join(home, "minipach")
        folder = os.path.join(base, "images", key)
        if not os.path.isabs(folder):
            raise Failure(f"{folder}: is no absolute path; set MINIPACH_CACHE to a folder that can be written")
        try:
            os.makedirs(folder, exist_ok=True)
            with Suppress(PermissionError):
                os.utime(folder)  # minipach gc begins with what was not used for long
        except OSError as error:
            what = f"{folder}: {error.strerror}; set MINIPACH_CACHE to a folder that can be written"
            raise Failure(what) from None
        return os.path.realpath(folder)

    def workdir(self):
        """The folder in which its programs start, where that can be seen without its runtime."""
        return "/"

    def environment(self, interactive):
        """The variables of a command in it."""
        return {"LANG": "C.UTF-8", **({"TERM": os.environ["TERM"]} if interactive and "TERM" in os.environ else {})}

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
