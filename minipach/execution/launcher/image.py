"""The image: its kind, by its content."""

from __future__ import annotations

import os

from minipach.execution.launcher.core import POD, Failure, no_part

IMAGES: dict[str, type[Image]] = {}  # by the part that has them


class Image:
    """An image. A part for a host environment, and one for all other images, complete it."""

    part = ""

    def __init_subclass__(cls):
        IMAGES[cls.part] = cls

    def __init__(self, name, path):
        self.name = name
        self.path = path
        self.kind = self.find_kind()

    def find_kind(self):
        """The kind of the image. Raises Failure."""
        raise NotImplementedError

    def environment(self, interactive):
        """The variables of a command in it, beside those that the launcher sets."""
        raise NotImplementedError

    def report_drift(self, words):
        """Print a line if the image is not the recorded one."""

    def bubblewrap_root(self, points, has_network):
        """bwrap's arguments for the root, in which `points` are mounted at."""
        raise NotImplementedError

    def folders(self, shown):
        """The folders of the host that the command needs, beside the root."""
        return []

    def bubblewrap_folders(self, shown):
        """bwrap's arguments for them."""
        return []

    def files(self, words):
        """The files of the host that a command names."""
        return []


def open_image(path):
    """The image at a path. Raises Failure."""
    if not os.path.lexists(path):
        raise Failure(path + ": no such image; is this the root of the pipeline's dataset?")
    real, is_host = os.path.realpath(path), False
    if not POD:  # there the cluster has fetched it
        if not os.path.exists(real):
            raise Failure(path + ": the image's content is not here; fetch it with: datalad get " + path)
        if not os.path.isdir(real):
            with open(real, "rb") as file:
                is_host = file.read(64).startswith(b"minipach host environment")
    part = "host" if is_host else "image_file"
    if part not in IMAGES:
        raise no_part("the host environment" if is_host else "an image")
    return IMAGES[part](path, real)
