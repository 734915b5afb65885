"""The launcher that the base commit gets: the parts for its image and command, and no others."""

from __future__ import annotations

import os
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from minipach.environment.image import Image
from minipach.execution.compose_launcher import launcher
from minipach.git.tree_entries import SYMLINK, TreeEntry
from minipach.model.pipeline import PfsInput, Pipeline, Transform
from minipach.model.repo_layout import BASE_REF, LAUNCHER
from minipach.planning.assessment import Assessment
from minipach.scheduling.pipeline_launcher import pipeline_launcher
from tests.fixtures.repos import Files

PLACE = ".datalad/environments/tool/image"
PLAIN = Pipeline("edges", PfsInput("images", "images", "/*"), Transform("tool", ("sh",)))
LOOPING = replace(PLAIN, transform=replace(PLAIN.transform, batching=True))
FILE = Image("content", PLACE, "tool")
OF_REGISTRY = replace(FILE, remote="docker://team/tool:1")


@pytest.fixture
def repo(tmp_path: Path) -> Files:
    found = Files.create(tmp_path / "edges", annex=True)
    found.put("a", "a")
    found.commit()
    return found


def launcher_of(repo: Files, image: Image, entry: TreeEntry | None, pipeline: Pipeline = PLAIN) -> bytes:
    found = SimpleNamespace(repo=repo, image=image, pipeline=pipeline)
    return pipeline_launcher(cast(Assessment, found), {PLACE: entry} if entry else {})


def archive(path: Path, member: str) -> Path:
    """Write a tar with one member."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "member").write_text("{}")
    with tarfile.open(path, "w") as tar:
        tar.add(path.parent / "member", arcname=member)
    (path.parent / "member").unlink()
    return path


def link(repo: Files, target: str | Path) -> TreeEntry:
    return TreeEntry(SYMLINK, repo.hash_blob(os.fsencode(target)), PLACE)


def test_a_pipeline_without_an_image_has_no_part_for_images(repo: Files) -> None:
    text = launcher_of(repo, Image("h", "h", "the host environment", text="minipach host environment\n"), None)
    assert text == launcher("host", loops=False, pods=False)
    for word in (
        b"class Podman",
        b"class Apptainer",
        b"class Pod",
        b"class Charliecloud",
        b"class Batch",
        b"class ImageFile",
    ):
        assert word not in text
    assert b"class Bubblewrap" in text and b"class Bare" in text


@pytest.mark.parametrize(
    ("member", "kind", "absent"),
    [
        ("manifest.json", "docker-archive", b"class Bubblewrap"),
        ("oci-layout", "oci-archive", b"class Docker"),
        ("bin/sh", "rootfs-tar", b"class Podman"),
    ],
)
def test_the_content_of_an_image_says_its_kind(
    repo: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str, kind: str, absent: bytes
) -> None:
    monkeypatch.setenv("MINIPACH_CACHE", str(tmp_path / "cache"))
    archive(repo.path / "tool", member)
    repo.stage("tool")
    text = launcher_of(repo, FILE, link(repo, f"../../../{os.readlink(repo.path / 'tool')}"))
    assert text == launcher(kind, loops=False, pods=False)
    assert absent not in text and b"class Bare" not in text and b"def report_drift(path" not in text


def test_a_loop_and_a_pod_have_parts_of_their_own(repo: Files, tmp_path: Path) -> None:
    entry = link(repo, archive(tmp_path / "image", "manifest.json"))
    assert launcher_of(repo, OF_REGISTRY, entry) == launcher("docker-archive", loops=False, pods=True)
    assert launcher_of(repo, FILE, entry, LOOPING) == launcher("docker-archive", loops=True, pods=False)
    assert launcher_of(repo, OF_REGISTRY, entry, LOOPING) == launcher("docker-archive", loops=True, pods=False)


def test_a_folder_is_a_kind_of_image(repo: Files) -> None:
    assert launcher_of(repo, FILE, None) == launcher("directory", loops=False, pods=False)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x1f\x8bbroken"])
def test_what_is_no_image_has_a_launcher_with_all_parts(repo: Files, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image").write_bytes(content)
    assert launcher_of(repo, FILE, link(repo, tmp_path / "image")) == launcher("any", loops=False, pods=False)


def test_the_kind_of_an_absent_image_is_that_of_the_launcher_before(repo: Files) -> None:
    entry = link(repo, "../../../.git/annex/objects/a/b/KEY/KEY")
    everything = launcher("any", loops=False, pods=False)
    assert launcher_of(repo, FILE, entry) == everything

    def commit(text: bytes, image: str) -> None:
        repo.in_git(LAUNCHER, text)
        (repo.path / PLACE).parent.mkdir(parents=True, exist_ok=True)
        (repo.path / PLACE).unlink(missing_ok=True)
        (repo.path / PLACE).symlink_to(image)
        repo.git("add", PLACE)
        repo.commit()
        repo.git("update-ref", BASE_REF, "HEAD")
        repo.close()

    commit(launcher("oci-archive", loops=True, pods=True), "../../../.git/annex/objects/a/b/KEY/KEY")
    assert launcher_of(repo, FILE, entry) == launcher("oci-archive", loops=False, pods=False)
    commit(launcher("oci-archive", loops=True, pods=True), "../../../.git/annex/objects/a/b/OTHER/OTHER")
    assert launcher_of(repo, FILE, entry) == everything, "of another image"
    for hostile in (
        b"# Composed for an image of kind host",
        b"# Composed for an image of kind ../../x",
        b"\xff\x00" * 99,
    ):
        commit(hostile, "../../../.git/annex/objects/a/b/KEY/KEY")
        assert launcher_of(repo, FILE, entry) == everything
