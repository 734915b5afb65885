"""The launcher of a pipeline: composed for the kind of its image, for a loop over datums, and for pods."""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Mapping

from minipach.environment.host import FIRST_LINE
from minipach.environment.oci_registry import SCHEME
from minipach.execution.compose_launcher import ANY_IMAGE, HOST, kind_of_launcher, launcher
from minipach.execution.launcher.core import Failure
from minipach.execution.launcher.image_file import ImageFile
from minipach.git.repo import Repo
from minipach.git.tree_entries import SYMLINK, TreeEntry
from minipach.model.repo_layout import BASE_REF, LAUNCHER
from minipach.planning.assessment import Assessment


def pipeline_launcher(assessment: Assessment, entries: Mapping[str, TreeEntry]) -> bytes:
    """Return the launcher of a pipeline. entries: those of its base commit, by their paths."""
    image, loops = assessment.image, assessment.pipeline.transform.batching
    if image.text is not None:
        return launcher(HOST, loops=loops, pods=False)
    kind = _kind(assessment.repo, image.path, entries)
    # a cluster runs nothing but images of registries
    return launcher(kind, loops=loops, pods=not loops and image.remote.startswith(SCHEME))


def _kind(repo: Repo, path: str, entries: Mapping[str, TreeEntry]) -> str:
    """Return the kind of an image, by its content. Where that is not here: the kind that was found before, or any."""
    entry = entries.get(path)
    if entry is None:
        return "directory"
    if entry.mode != SYMLINK:  # it is read from the working tree, since it may be large
        return HOST if _is_host_environment(os.path.join(repo.path, path)) else ANY_IMAGE
    target = os.fsdecode(repo.objects.read(entry.sha) or b"")
    _, annexed, place = target.rpartition(".git/annex/objects/")
    if annexed:
        place = os.path.join(repo.common_dir, "annex/objects", place)
    else:
        place = os.path.normpath(os.path.join(repo.path, posixpath.dirname(path), target))
    if os.path.isfile(place) or os.path.isdir(place):
        if _is_host_environment(place):
            return HOST
        with contextlib.suppress(Failure, OSError):  # if it is no image, each run of it says so
            kind: str = ImageFile(path, os.path.realpath(place)).kind
            return kind
        return ANY_IMAGE
    for rev in (BASE_REF, "HEAD"):
        if repo.resolve(f"{rev}:{path}") == entry.sha:
            return kind_of_launcher(repo.objects.read(f"{rev}:{LAUNCHER}") or b"")
    return ANY_IMAGE


def _is_host_environment(place: str) -> bool:
    """Return whether a file that stands for an image is the fingerprint of a host environment."""
    first = f"{FIRST_LINE}\n".encode()
    with contextlib.suppress(OSError), open(place, "rb") as file:
        return file.read(len(first)) == first
    return False
