"""What `image:` names, and the archive that stands for a folder."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from minipach.errors import UserError
from minipach.image import Image, archive_folder, resolve_image
from minipach.project import find_project
from tests.projects import Study


def rootfs(path: Path) -> Path:
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "sh").write_text("a shell")
    (path / "bin" / "sh").chmod(0o755)
    (path / "bin" / "ash").symlink_to("sh")
    (path / "empty").mkdir()
    (path / "etc").mkdir()
    (path / "etc" / "ümläut").write_text("text")
    os.mkfifo(path / "etc" / "fifo")
    return path


def archive(folder: Path) -> bytes:
    sink = io.BytesIO()
    archive_folder(folder, sink)
    return sink.getvalue()


def test_a_folder_becomes_an_archive_of_its_content_alone(tmp_path: Path) -> None:
    one, two = rootfs(tmp_path / "one"), rootfs(tmp_path / "two")
    for path in two.rglob("*"):
        os.utime(path, (0, 0), follow_symlinks=False)
    assert archive(one) == archive(two), "times and places don't count"
    with tarfile.open(fileobj=io.BytesIO(archive(one))) as tar:
        members = {m.name: m for m in tar.getmembers()}
        assert set(members) == {"./bin", "./bin/ash", "./bin/sh", "./empty", "./etc", "./etc/ümläut"}
        assert members["./bin/sh"].mode == 0o755 and members["./bin/ash"].linkname == "sh"
        assert {(m.uid, m.gid, m.mtime) for m in members.values()} == {(0, 0, 0)}


@pytest.mark.parametrize("change", ["content", "mode", "link", "new", "gone"])
def test_what_counts_in_a_folder(tmp_path: Path, change: str) -> None:
    folder = rootfs(tmp_path / "rootfs")
    before = archive(folder)
    match change:
        case "content":
            (folder / "bin/sh").write_text("A shell")
        case "mode":
            (folder / "bin/sh").chmod(0o700)
        case "link":
            (folder / "bin/ash").unlink()
            (folder / "bin/ash").symlink_to("/bin/sh")
        case "new":
            (folder / "more").mkdir()
        case "gone":
            (folder / "empty").rmdir()
    assert archive(folder) != before


def image_of(study: Study, name: str | None) -> Image:
    line = f"image: '{name}', " if name else ""
    study.pipeline("edges", f'input: {{pfs: {{repo: images, glob: "/*"}}}}\ntransform: {{{line}cmd: [sh]}}\n')
    return resolve_image(find_project(study.root), "edges")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A project with images to name. Each test writes its own spec; nothing is run."""
    study = Study.create(tmp_path_factory.mktemp("shop") / "study")
    study.put("box.sif", "an image", save=False)
    rootfs(study.root / "tree")
    study.ok("datalad", "containers-add", "-d", ".", "opencv", "--url", str(study.root / "box.sif"))
    study.pipeline("edges", "")
    study.put("edges/own.sif", "its own image", save=False)
    return study


def sha(text: str) -> str:
    return "SHA256--" + hashlib.sha256(text.encode()).hexdigest()


def test_a_name_is_a_registered_container(shop: Study) -> None:
    image = image_of(shop, "opencv")
    assert (image.content, image.path) == (sha("an image"), ".datalad/environments/opencv/image")
    assert image.key is not None and image.key.startswith("SHA256E-s8--"), "the key stays the project's"


def test_a_path_is_seen_from_the_pipeline_then_from_the_project(shop: Study) -> None:
    assert image_of(shop, "own.sif").content == sha("its own image")
    assert image_of(shop, "box.sif").content == sha("an image")
    assert image_of(shop, str(shop.root / "box.sif")).content == sha("an image")


def test_a_folder_is_known_by_its_archive(shop: Study) -> None:
    digest = "SHA256--" + hashlib.sha256(archive(shop.root / "tree")).hexdigest()
    assert image_of(shop, "tree").content == digest
    (shop.root / "tree/bin/sh").write_text("another shell")
    assert image_of(shop, "tree").content not in (digest, ""), "what is remembered of a folder follows its files"


def test_a_url_has_no_content_before_it_is_fetched(shop: Study) -> None:
    image = image_of(shop, "docker://debian:12")
    assert (image.content, image.source) == ("url:docker://debian:12", "docker://debian:12")
    assert image.path.startswith(".datalad/environments/url-")


def test_no_image_is_the_host(shop: Study) -> None:
    image = image_of(shop, None)
    assert image.text is not None and image.text.startswith("minipach host environment\n")
    assert image.content == "env:" + hashlib.sha256(image.text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ubuntu:22.04", "write docker://ubuntu:22.04"),
        ("pachyderm/opencv:1.0", "write docker://pachyderm/opencv:1.0"),
        ("opencw", 'did you mean "opencv"?'),
        ("no/such.sif", "no container registered"),
        ("opencv.sif", "and no file"),
    ],
)
def test_a_name_that_leads_nowhere_is_one_line(shop: Study, name: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        image_of(shop, name)
    [problem] = error.value.problems
    assert problem.startswith(f'edges/spec.yml:2:20: image "{name}" is no container') and said in problem


def test_a_committed_name_is_never_a_way_out_of_the_project(shop: Study) -> None:
    """`.datalad/config` comes from others: a container registered at a place elsewhere is none."""
    for place in ("/etc/passwd", "../../etc/passwd"):
        shop.ok("git", "config", "--file", ".datalad/config", "datalad.containers.evil.image", place)
        with pytest.raises(UserError, match='image "evil" is no container'):
            image_of(shop, "evil")
