"""What `image:` names, and the archive that stands for a folder."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from minipach.environment.image import Image, archive_folder, resolve_image
from minipach.environment.oci_registry import parse_reference
from minipach.project.project import find_project
from tests.fixtures.projects import Study
from tests.fixtures.refusals import refused


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


def test_a_folder_in_a_dataset_is_archived_with_its_annexed_contents(study: Study) -> None:
    folder = rootfs(study.root / "images" / "box")
    (folder / "etc" / "fifo").unlink()
    study.save("images")
    assert (folder / "bin/sh").is_symlink(), "it is annexed"
    with tarfile.open(fileobj=io.BytesIO(archive(folder))) as tar:
        sh = tar.getmember("./bin/sh")
        assert sh.isfile() and sh.mode & 0o111
        content = tar.extractfile(sh)
        assert content is not None and content.read() == b"a shell"
        assert tar.getmember("./bin/ash").linkname == "sh"
    study.ok("git", "annex", "drop", "--force", "--quiet", "box/bin/sh", cwd=study.root / "images")
    with refused("image.content-missing", None, f"datalad get {folder}"):
        archive(folder)


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
    if (study.root / "edges/.git").exists():
        study.save("edges")
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
    ("name", "full"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest"),
        ("ubuntu:22.04", "docker.io/library/ubuntu:22.04"),
        ("pachyderm/opencv:1.0", "docker.io/pachyderm/opencv:1.0"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("registry.example.org/x/y:tag", "registry.example.org/x/y:tag"),
        (f"registry.example.org/x/y:1@sha256:{'a' * 64}", f"registry.example.org/x/y@sha256:{'a' * 64}"),
    ],
)
def test_a_name_of_a_registry_is_accepted_as_written(shop: Study, name: str, full: str) -> None:
    image = image_of(shop, name)
    reference = parse_reference(name)
    assert reference is not None and reference.full == full
    assert (image.source, image.is_away, image.label) == (f"docker://{name}", True, name)
    assert image.content == (f"OCI--{'a' * 64}" if "@" in name else f"url:docker://{name}")
    assert bool(image.note) == (name == "ubuntu")


def test_a_container_registered_under_a_registrys_name_is_used(shop: Study) -> None:
    shop.ok("datalad", "containers-add", "-d", ".", "team-opencv-1-0", "--url", str(shop.root / "box.sif"))
    assert image_of(shop, "team/opencv:1.0").content == sha("an image")


@pytest.mark.slow
def test_a_container_of_a_subdataset(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", "images", "containers", "more")
    study.put("box.sif", "an image", save=False)
    study.ok("datalad", "containers-add", "-d", "containers", "box", "--url", str(study.root / "box.sif"))
    study.pipeline("edges", "")
    md5 = "MD5--" + hashlib.md5(b"an image", usedforsecurity=False).hexdigest()  # as datalad keeps files by default
    for name in ("containers/box", "box"):
        image = image_of(study, name)
        assert (image.content, image.path) == (md5, ".datalad/environments/containers-box/image")
    with refused("image.unknown", "edges/spec.yml:2:20", "containers/bax"):
        image_of(study, "containers/bax")
    study.ok("datalad", "containers-add", "-d", "more", "box", "--url", str(study.root / "box.sif"))
    with refused("image.ambiguous", "edges/spec.yml:2:20", '"box"', "containers/box or more/box"):
        image_of(study, "box")


def test_an_image_that_is_no_longer_at_its_path_is_in_the_annex(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("elsewhere/box.sif", "an image", save=False)
    before = image_of(study, "elsewhere/box.sif")
    study.ok("datalad", "create", "--force", "-d", ".", "edges")
    assert before.source is not None
    study.put(f"edges/{before.path}", "an image")
    (study.root / "elsewhere/box.sif").unlink()
    after = image_of(study, "elsewhere/box.sif")
    assert (after.path, after.source) == (before.path, None) and after.content.startswith("git:")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Opencv", 'use "opencv"'),
        ("no/such.sif", ""),
        ("opencv.sif", ""),
        ("./ubuntu", ""),
        ("/no/such", ""),
    ],
)
def test_a_name_that_leads_nowhere_is_one_line(shop: Study, name: str, said: str) -> None:
    with refused("image.unknown", "edges/spec.yml:2:20", f'"{name}"', said):
        image_of(shop, name)


def test_the_folder_of_a_pipeline_is_no_image(shop: Study) -> None:
    with refused("image.unknown", "edges/spec.yml:2:20", '"edges" is not registered', "podman build -t edges"):
        image_of(shop, "edges")


def test_a_committed_name_is_never_a_way_out_of_the_project(shop: Study) -> None:
    """`.datalad/config` comes from others: a container registered at a place elsewhere is none."""
    for place in ("/etc/passwd", "../../etc/passwd"):
        shop.ok("git", "config", "--file", ".datalad/config", "datalad.containers.evil.image", place)
        image = image_of(shop, "evil")
        assert image.is_away and image.note is not None and image.note.code == "image.not-registered"
