"""Unpacked images, and one copy of an image for the repos of a project."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minipach.environment import image_cache
from minipach.environment.image_cache import Copy, remove, share, share_with_others, unpacked
from tests.fixtures.container_images import need
from tests.fixtures.launchers import wait_until

KEY = "SHA256E-s9--" + "ab" * 32


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of unpacked images: one there, and what is none."""
    monkeypatch.setenv("MINIPACH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "images"
    for name in (KEY, "holiday", "0" * 64):
        (folder / name / "rootfs").mkdir(parents=True)
        (folder / name / "rootfs" / "file").write_text("x" * 5000)
    (folder / ("0" * 64) / "my picture").touch()
    return folder


def test_only_what_a_launcher_has_made_is_an_unpacked_image(cache: Path) -> None:
    assert [one.key for one in unpacked()] == [KEY]
    assert unpacked()[0].bytes >= 5000
    assert remove(unpacked()[0])
    assert sorted(path.name for path in cache.iterdir()) == ["0" * 64, "holiday"]


def test_an_image_that_a_container_has_mounted_stays(cache: Path) -> None:
    need("bwrap")
    (one,) = unpacked()
    words = [
        "bwrap",
        "--die-with-parent",
        "--ro-bind",
        "/",
        "/",
        "--ro-bind",
        one.path / "rootfs",
        "/mnt",
        "sleep",
        "600",
    ]
    process = subprocess.Popen(words)
    try:
        wait_until(lambda: image_cache.is_mounted(one.path))
        assert not remove(one)
        assert (one.path / "rootfs" / "file").is_file()
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not image_cache.is_mounted(one.path))
    assert remove(one)


def test_what_a_killed_removal_has_left_is_removed_by_the_next_one(cache: Path) -> None:
    (cache / KEY).rename(cache / ".gone-0123456789ab")
    (one,) = unpacked()
    assert one.used == 0.0
    assert remove(one)
    assert unpacked() == []


def two_objects(root: Path, other: str) -> Copy:
    """Two objects of one key, in repos of a project; read-only, as git-annex has them."""
    paths = []
    for name, text in (("a", "content"), ("b", other)):
        path = root / name / ".git/annex/objects/xx/yy" / KEY / KEY
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o444)
        path.parent.chmod(0o555)
        paths.append(path)
    return Copy(root / "b", paths[1], paths[0], 4096)


def test_a_second_copy_becomes_a_link(tmp_path: Path) -> None:
    copy = two_objects(tmp_path, "content")
    assert share(copy)
    assert copy.path.samefile(copy.of)
    assert (copy.path.stat().st_mode & 0o777, copy.path.parent.stat().st_mode & 0o777) == (0o444, 0o555)
    assert list((tmp_path / "b/.git/annex/tmp").iterdir()) == []


def test_a_copy_that_differs_stays(tmp_path: Path) -> None:
    copy = two_objects(tmp_path, "c0ntent")
    assert not share(copy)
    assert copy.path.read_text() == "c0ntent"


def test_a_kill_in_the_middle_leaves_both_copies(tmp_path: Path) -> None:
    copy = two_objects(tmp_path, "content")
    script = (
        "import os, signal, sys; from pathlib import Path; from minipach.environment.image_cache import Copy, share\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"share(Copy(Path({str(copy.repo)!r}), Path({str(copy.path)!r}), Path({str(copy.of)!r}), 1))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.read_text() for path in (copy.path, copy.of)] == ["content", "content"]
    assert share(copy)
    assert copy.path.samefile(copy.of)


def test_what_may_not_be_replaced_stays(tmp_path: Path) -> None:
    copy = two_objects(tmp_path, "content")
    shutil.rmtree(copy.repo / ".git/annex/tmp", ignore_errors=True)
    (copy.repo / ".git/annex/tmp").symlink_to("/dev/shm")  # another disk
    if os.stat("/dev/shm").st_dev == copy.path.stat().st_dev:
        pytest.skip("no other file system here")
    assert not share(copy)
    assert not copy.path.samefile(copy.of)


def test_an_object_that_somebody_may_write_to_is_not_shared(tmp_path: Path) -> None:
    copy = two_objects(tmp_path, "content")
    for path in (copy.path, copy.of):
        path.chmod(0o644)
        path.write_text("x" * 100_000)
        path.chmod(0o444)
    target = "../../.git/" + str(copy.path).partition(".git/")[2]
    copy.of.chmod(0o644)  # as `git annex unlock` with annex.thin has it
    assert not share_with_others(copy.repo, target, [copy.repo, tmp_path / "a"])
    assert not copy.path.samefile(copy.of)
    copy.of.chmod(0o444)
    assert share_with_others(copy.repo, target, [copy.repo, tmp_path / "a"])
    assert copy.path.samefile(copy.of)
