"""A datum takes no disk for its inputs, and its outputs only once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from minipach.git.annex_intake import LARGE
from tests.fixtures.container_images import Images, images, need
from tests.fixtures.launchers import wait_until
from tests.fixtures.projects import MINIPACH, Study
from tests.fixtures.small_disks import small_disk

__all__ = ["images"]

MEGABYTE = 10**6
pytestmark = pytest.mark.slow


def leave(folder: Path, size: int) -> None:
    """Fill a disk until so many bytes are free."""
    with (folder / "filler").open("wb") as file:
        left = shutil.disk_usage(folder).free - size
        while left > 0:
            left -= file.write(bytes(min(left, MEGABYTE)))


_WAYS = {
    "bubblewrap host": (("bwrap",), ""),
    "bubblewrap squashfs": (("bwrap", "unsquashfs"), "squashfs"),
    "charliecloud squashfs": (("ch-run", "unsquashfs"), "squashfs"),
    "podman archive": (("podman", "runc"), "docker-archive"),
}


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.soak if "bubblewrap s" in way else ()) for way in _WAYS]
)
def test_a_datum_that_is_larger_than_the_free_disk_runs(
    way: str, tmp_path: Path, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its input is larger than what is free; its output fits once, not twice."""
    programs, kind = _WAYS[way]
    need(*programs)
    for name, value in images.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MINIPACH_RUNTIME", way.split(maxsplit=1)[0])
    image = "image: image, " if kind else ""
    with small_disk(tmp_path / "disk", "300m" if kind else "140m") as disk:
        study = Study.create(disk.folder / "study")
        if kind:
            shutil.copy(images.squashfs() if kind == "squashfs" else images.docker_archive(), study.root / "image")
        if not kind:
            study.put("images/a.dat", os.urandom(60 * MEGABYTE))
        size = LARGE + MEGABYTE
        study.pipeline(
            "edges",
            f'input: {{pfs: {{repo: images, glob: "/*"}}}}\ntransform: {{{image}cmd: [sh, code/x.sh]}}\n',
            x=f'head -c {size} "$images" >"$PFS/out/a.dat"; cat "$images" | wc -c >"$PFS/out/size"',
        )
        if kind:  # the image is there first
            study.put("images/a.dat", b"small")
            study.schedule()
            study.put("images/a.dat", os.urandom(60 * MEGABYTE))
        leave(disk.folder, size + 10 * MEGABYTE)
        study.schedule()
        assert study.read("edges/size").strip() == b"60000000"
        assert study.read("edges/a.dat") == study.read("images/a.dat")[:size]
        for name in ("images", "edges"):
            study.ok("git", "annex", "fsck", cwd=study.root / name)
        assert not list((study.root / "edges/.git/minipach/slots").glob("minipach-*"))


@pytest.mark.parametrize("inputs", ["read-only", "writable"])
def test_an_input_on_another_disk_takes_none_of_this_one(study: Study, inputs: str) -> None:
    """Private copies take their size. That is an error which says so."""
    need("bwrap")
    study.put("images/first.dat", "first")
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/x.sh]}\n'
        f"minipach: {{inputs: {inputs}}}\n",
        x='(echo evil >>"$images") && echo CHANGED; cksum <"$images" >"$PFS/out/$(basename "$images")"',
    )
    study.schedule()
    study.put("images/a.dat", os.urandom(20 * MEGABYTE))
    slots = study.root / "edges/.git/minipach/slots"
    with small_disk(slots, "8m"):
        writable = inputs == "writable"
        study.schedule(code=1 if writable else 0)
        log = study.minipach("logs", "edges", "a.dat").out
        assert ("disk is full" in log) == writable, log
        assert "are copies" not in log and "CHANGED" not in log
    if not writable:
        assert study.read("edges/a.dat") == study.ok("sh", "-c", "cksum <images/a.dat").encode()
    study.ok("git", "annex", "fsck", cwd=study.root / "images")
    if writable:
        study.schedule("--retry-failed")
        assert study.minipach("logs", "edges", "a.dat").out.startswith("CHANGED")
        study.ok("git", "annex", "fsck", cwd=study.root / "images")


def test_what_is_killed_leaves_no_links(study: Study) -> None:
    """The next pass removes them, and changes nothing of the content."""
    need("bwrap")
    study.put("images/a.dat", b"alpha")
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/x.sh]}\n',
        x='echo begun; sleep 300; cat "$images" >"$PFS/out/a"',
    )
    content = Path(os.path.realpath(study.root / "images/a.dat"))
    process = subprocess.Popen([*MINIPACH, "schedule"], cwd=study.root, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: content.stat().st_nlink > 2)  # in the slot, and in the launcher's scratch
    finally:
        process.kill()
        process.wait()
    assert content.stat().st_nlink > 1
    study.put("edges/code/x.sh", 'cat "$images" >"$PFS/out/a"')
    study.schedule()
    assert (content.stat().st_nlink, content.stat().st_mode & 0o777) == (1, 0o444)
    assert study.read("edges/a") == b"alpha"
