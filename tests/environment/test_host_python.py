"""The python3 on PATH is asked once: what it said is taken for as long as nothing that it follows from moved."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from minipach.environment import host as hostenv
from minipach.environment import host_python
from minipach.environment.host_python import INSTALLED, describe
from minipach.execution.launcher import drift
from minipach.support.disk_cache import Cache


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
        return [line.removeprefix("package: ") for line in found[1]]

    def remembered(self) -> bool:
        """Whether the next answer is the last one: a word put into its mouth comes back."""
        kept = self.cache.get("host", self.python)
        if kept is None:
            return False
        planted = [(row[0], [*row[1], "planted 1.0"], *row[2:]) for row in kept]
        self.cache.put("host", self.python, planted)
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


def test_terminals_with_other_variables_are_remembered_beside_it(host: Host) -> None:
    for number in range(3):
        host.env["SESSION"] = str(number)
        assert not host.remembered()
        host.packages()
        assert host.remembered()
    del host.env["SESSION"]
    assert host.remembered(), "the first one, still"
    host.env["SESSION"] = "3"
    host.packages()
    del host.env["SESSION"]
    assert not host.remembered(), "it keeps the last ones alone"


def add(host: Host) -> None:
    host.install("zarr", "3.0")


def loose_module(host: Host) -> None:
    (host.site / "helpers.py").write_text("FACTOR = 1\n")


def loose_package(host: Host) -> None:
    (host.site / "tools" / "deep").mkdir(parents=True)
    (host.site / "tools" / "deep" / "x.py").write_text("")


def module_of_an_editable_package(host: Host) -> None:
    metadata = host.install("ours", "1.0")
    (metadata.parent / "direct_url.json").write_text('{"dir_info": {"editable": true}, "url": "file:///x"}')
    (host.site / "ours.pth").write_text(f"{host.folder / 'source'}\n")
    (metadata.parent / "RECORD").write_text("ours.pth,,\nours.dist-info/METADATA,,\n")
    (host.folder / "source" / "ours").mkdir(parents=True)
    (host.folder / "source" / "ours" / "__init__.py").write_text("")
    (host.folder / "source" / "tests.py").write_text("")


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


@pytest.mark.parametrize(
    "change",
    [
        add,
        loose_module,
        loose_package,
        module_of_an_editable_package,
        upgrade_in_place,
        remove,
        search_elsewhere,
        another_folder,
    ],
)
def test_every_change_shows(host: Host, change: Callable[[Host], None]) -> None:
    change(host)
    assert not host.remembered()
    assert host.packages() != ["numpy 2.4.6"]
    assert host.remembered()


def modules(host: Host) -> dict[str, str]:
    """The modules without a package's record, with their digests."""
    lines = [line.removeprefix("module: ") for line in host.packages() if line.startswith("module: ")]
    return dict(line.split() for line in lines)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "name", "file"),
    [
        (loose_module, "helpers.py", "venv/lib/*/site-packages/helpers.py"),
        (loose_package, "tools", "venv/lib/*/site-packages/tools/deep/x.py"),
        (module_of_an_editable_package, "ours", "source/ours/__init__.py"),
    ],
)
def test_a_module_without_a_record_counts_by_its_content(
    host: Host, make: Callable[[Host], None], name: str, file: str
) -> None:
    make(host)
    first = modules(host)
    assert set(first) == {name}
    assert host.remembered()
    [path] = host.folder.glob(file)
    before = path.stat()
    path.write_text("FACTOR = 2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not host.remembered()
    second = modules(host)
    assert first != second
    path.write_text("FACTOR = 3\n")
    assert modules(host) not in (first, second)
    (path.parent / "__pycache__").mkdir(exist_ok=True)
    (path.parent / "__pycache__" / "x.pyc").write_text("compiled")
    path.write_text("FACTOR = 2\n")
    assert modules(host) == second, "compiled files don't count"


def test_a_recorded_module_counts_by_its_packages_version(host: Host) -> None:
    (host.site / "numpy.dist-info" / "RECORD").write_text("numpy/__init__.py,,\nnumpy.dist-info/METADATA,,\n")
    (host.site / "numpy").mkdir()
    (host.site / "numpy" / "__init__.py").write_text("")
    assert host.packages() == ["numpy 2.4.6"]


def test_what_is_read_of_modules_is_bounded(host: Host) -> None:
    folder = host.site / "many"
    folder.mkdir()
    for number in range(30):
        (folder / f"m{number:02}.py").write_text("x" * 10)
    probe = (
        INSTALLED + "digests, read = modules(unlisted(owned, editable), 20, 55)\nprint(len(read), digests['many'])\n"
    )

    def bounded() -> list[str]:
        return subprocess.run([host.python, "-c", probe], capture_output=True, text=True, check=True).stdout.split()

    count, first = bounded()
    assert count == "21", "the folder, and 20 files"
    (folder / "m29.py").write_text("y" * 10)
    assert bounded() == [count, first], "beyond the number of files"
    (folder / "m19.py").write_text("y" * 10)
    assert bounded() == [count, first], "beyond the bytes, its size is the same"
    (folder / "m19.py").write_text("y" * 11)
    assert bounded()[1] != first
    (folder / "m19.py").write_text("x" * 10)
    (folder / "m01.py").write_text("y" * 10)
    assert bounded()[1] != first


def test_the_launcher_looks_at_the_same(host: Host) -> None:
    assert drift.INSTALLED == INSTALLED


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


@pytest.mark.parametrize("answer", ["exit 1", "exit 0", "echo usage", "echo '[]'", "echo '[1, 2'"])
def test_no_answer_is_none(tmp_path: Path, answer: str) -> None:
    broken = tmp_path / "python3"
    broken.write_text(f"#!/bin/sh\n{answer}\n")
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


def test_pipelines_of_a_pass_share_one_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, looks = Cache(tmp_path / "cache"), []
    stamps = host_python._stamps

    def counting(*places: object) -> object:
        looks.append(places)
        return stamps(*places)  # type: ignore[arg-type]

    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    first = describe(sys.executable, env, cache, later)
    monkeypatch.setattr(host_python, "_stamps", counting)
    for fresh, count in ((60.0, 1), (60.0, 1), (0.0, 2), (0.0, 3)):
        assert describe(sys.executable, env, cache, later, fresh) == first
        assert len(looks) == count
