"""The python3 on PATH is asked once: what it said is taken for as long as nothing that it follows from moved."""

from __future__ import annotations

import os
import sys
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from minipach import hostenv
from minipach.cache import Cache
from minipach.hostpython import describe


def later() -> int:
    """A clock by which nothing was changed just now."""
    return time.time_ns() + 60_000_000_000


@dataclass
class Host:
    """A python3 with a site folder of its own, and the cache of what it said."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        venv.create(self.folder / "venv", symlinks=True)
        self.python = str(self.folder / "venv" / "bin" / "python3")
        [self.site] = (self.folder / "venv" / "lib").glob("python*/site-packages")
        self.cache = Cache(self.folder / "cache")

    def install(self, name: str, version: str, site: Path | None = None) -> Path:
        info = (site or self.site) / f"{name}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        return info / "METADATA"

    def packages(self, clock: Callable[[], int] = later) -> list[str]:
        found = describe(self.python, self.env, self.cache, clock)
        assert found is not None
        assert found == describe(self.python, self.env), "what is remembered is what it says now"
        return found[1]

    def remembered(self) -> bool:
        """Whether the next answer is the last one: a word put into its mouth comes back."""
        kept = self.cache.get("host", self.python)
        if kept is None:
            return False
        self.cache.put("host", self.python, (kept[0], [*kept[1], "planted 1.0"], *kept[2:]))
        found = describe(self.python, self.env, self.cache, later)
        self.cache.put("host", self.python, kept)
        return found is not None and "planted 1.0" in found[1]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.install("numpy", "2.4.6")
    assert made.packages() == ["numpy 2.4.6"]
    return made


def test_it_is_not_asked_again(host: Host) -> None:
    assert host.remembered()
    host.env["PWD"] = "/elsewhere"
    assert host.remembered(), "another folder is no other environment"


def add(host: Host) -> None:
    host.install("zarr", "3.0")


def upgrade_in_place(host: Host) -> None:
    path = host.site / "numpy.dist-info" / "METADATA"
    before = path.stat()
    path.write_text(path.read_text().replace("2.4.6", "2.5.0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def remove(host: Host) -> None:
    (host.site / "numpy.dist-info" / "METADATA").unlink()
    (host.site / "numpy.dist-info").rmdir()


def search_elsewhere(host: Host) -> None:
    host.install("zarr", "3.0", host.folder / "elsewhere")
    host.env["PYTHONPATH"] = str(host.folder / "elsewhere")


def another_folder(host: Host) -> None:
    host.install("zarr", "3.0", host.folder / "elsewhere")
    (host.site / "more.pth").write_text(f"{host.folder / 'elsewhere'}\n")


@pytest.mark.parametrize("change", [add, upgrade_in_place, remove, search_elsewhere, another_folder])
def test_every_change_shows(host: Host, change: Callable[[Host], None]) -> None:
    change(host)
    assert not host.remembered()
    assert host.packages() != ["numpy 2.4.6"]
    assert host.remembered()


def test_a_folder_that_was_named_before_it_was_there(host: Host) -> None:
    (host.site / "more.pth").write_text("# a remark\nimport sys\nlater\n")
    assert host.packages() == ["numpy 2.4.6"]
    assert host.remembered()
    host.install("zarr", "3.0", host.site / "later")
    assert host.packages() == ["numpy 2.4.6", "zarr 3.0"]


def test_what_was_changed_just_now_is_not_remembered(host: Host) -> None:
    host.install("zarr", "3.0")
    assert host.packages(time.time_ns) == ["numpy 2.4.6", "zarr 3.0"]
    assert not host.remembered(), "the next change could come in the same tick of the file system's clock"


def test_a_wrapper_that_chooses_is_always_asked(tmp_path: Path) -> None:
    host = Host(tmp_path)
    wrapper = tmp_path / "shims" / "python3"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {host.python} "$@"\n')
    wrapper.chmod(0o755)
    host.python = str(wrapper)
    assert host.packages() == []
    assert not host.remembered()


def test_no_answer_is_none(tmp_path: Path) -> None:
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert describe(str(broken), {}, Cache(tmp_path / "cache"), later) is None


def test_a_changed_program_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "convert-all"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("MINIPACH_PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    cache = Cache(tmp_path / "cache")

    def line() -> str:
        text = hostenv.fingerprint(["convert-all"], cache, later)
        assert text == hostenv.fingerprint(["convert-all"])
        return next(row for row in text.splitlines() if row.startswith("program: "))

    first = line()
    assert line() == first
    before = program.stat()
    program.write_text("#!/bin/sh\necho 2\n")
    os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert line() != first
    cache.put("program", str(program), ("another stamp", "0" * 64))
    assert "0" * 64 not in line()


def test_this_interpreter_is_remembered_as_it_is(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    env = dict(os.environ)
    assert describe(sys.executable, env, cache, later) == describe(sys.executable, env)
    assert describe(sys.executable, env, cache, later) == describe(sys.executable, env)
