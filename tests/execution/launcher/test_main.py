"""The start of the launcher."""

from __future__ import annotations

import marshal
import os
import sys
import time
from pathlib import Path

import pytest

from tests.fixtures.container_images import images
from tests.fixtures.launchers import Launcher, launch, use

__all__ = ["images", "launch"]


@pytest.fixture
def kept(launch: Launcher, tmp_path: Path) -> Path:
    """The folder of the compiled code, which one start has filled."""
    folder = tmp_path / "cache" / "minipach" / "launch"
    start(launch, folder)
    return folder


def start(launch: Launcher, kept: Path) -> str:
    """Start the launcher with its compiled code in a folder; what it prints."""
    done = launch(launch.image("host"), "--", "echo", "run", XDG_CACHE_HOME=str(kept.parent.parent), **use("none"))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_compiled_code_is_kept_for_its_owner_alone(launch: Launcher, kept: Path) -> None:
    [file] = kept.iterdir()
    assert (kept.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    file.write_bytes(marshal.dumps(compile("print('kept')", "other", "exec")))
    assert start(launch, kept) == "kept\n"
    file.chmod(0o620)  # another could have written it
    assert start(launch, kept) == "run\n"
    file.write_bytes(b"damaged")
    assert start(launch, kept) == "run\n"


def test_no_code_of_the_dataset_runs(launch: Launcher, kept: Path, tmp_path: Path) -> None:
    """A relative folder of caches is one of the dataset, whose files others have committed."""
    [file] = kept.iterdir()
    planted = launch.dataset / "cache" / "minipach" / "launch"
    planted.mkdir(parents=True, mode=0o700)
    (planted / file.name).write_bytes(marshal.dumps(compile("print('planted')", "other", "exec")))
    for known in ({"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": "cache"}, {"HOME": ".", "XDG_CACHE_HOME": ""}):
        (launch.dataset / ".cache").unlink(missing_ok=True)
        (launch.dataset / ".cache").symlink_to("cache")
        done = launch(launch.image("host"), "--", "echo", "run", **known, **use("none"))
        assert (done.returncode, done.stdout) == (0, "run\n"), done.stderr
        assert [p.name for p in planted.iterdir()] == [file.name]


def test_compiled_code_that_is_old_is_removed(launch: Launcher, kept: Path) -> None:
    [file] = kept.iterdir()
    others = {name: kept / name for name in ("0" * 64 + "-cpython-311", "1" * 64 + "-cpython-311.123", "notes")}
    recent = kept / ("2" * 64 + "-cpython-311")
    for other in (*others.values(), recent):
        other.write_bytes(b"")
        days = 89 if other == recent else 91
        os.utime(other, (time.time() - days * 86400,) * 2)
    file.unlink()
    assert start(launch, kept) == "run\n"
    assert set(kept.iterdir()) == {file, recent, others["notes"]}


def test_an_old_python_is_one_line(launch: Launcher, tmp_path: Path) -> None:
    """The parts can't even be compiled by it."""
    python = tmp_path / "python"
    old = "import sys; sys.version_info, sys.version = (3, 8, 18), '3.8.18 (x)'; exec(sys.argv.pop(1))"
    python.write_text(f'#!/bin/sh\nshift 4\nexec "{sys.executable}" -I -S -B -c "{old}" "$@"\n')
    python.chmod(0o755)
    done = launch(launch.image("host"), "--", "true", MINIPACH_PYTHON=str(python))
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == "launch: needs Python 3.9 or later, not 3.8.18\n"
