"""The launcher as tests run it: a pipeline's dataset, the ways to run a command, and stand-ins for programs."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.images import Images, need
from tests.projects import PATIENCE

SCRIPT = Path(__file__).parent.parent / "minipach" / "scripts" / "launch"
TOOLS = {
    "bubblewrap": ("bwrap",),
    "charliecloud": ("ch-run", "unshare", "mount"),
    "podman": ("podman", "runc"),
    "none": (),
}
Way = tuple[str, str]
EVERY_WAY: list[Way] = [
    ("bubblewrap", "directory"),
    ("bubblewrap", "tar"),
    ("bubblewrap", "squashfs"),
    ("bubblewrap", "host"),
    ("charliecloud", "full directory"),
    ("charliecloud", "tar"),
    ("charliecloud", "squashfs"),
    ("podman", "docker archive"),
    ("podman", "oci archive"),
    ("none", "host"),
]
"""A runtime and an image: all pairs that can be had here."""
EACH_RUNTIME: list[Way] = [
    ("bubblewrap", "directory"),
    ("bubblewrap", "host"),
    ("charliecloud", "full directory"),
    ("podman", "docker archive"),
    ("none", "host"),
]
SANDBOXES = [way for way in EACH_RUNTIME if way[0] != "none"]
IMAGE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def ways(found: list[Way], *, slow: Callable[[Way], bool] = lambda way: way[0] == "podman") -> pytest.MarkDecorator:
    """Run a test in each of these ways; podman takes half a second for each container."""
    return pytest.mark.parametrize(
        "way", [pytest.param(way, marks=[pytest.mark.slow] if slow(way) else []) for way in found], ids=" ".join
    )


@dataclass(frozen=True)
class Launcher:
    """A pipeline's dataset with the launcher in it, and the environment to run it in."""

    dataset: Path
    env: dict[str, str]
    images: Images
    prefix: tuple[str, ...] = ()

    def words(self, *arguments: str | Path) -> list[str | Path]:
        """The command line."""
        return [*self.prefix, "sh", ".minipach/launch", *arguments]

    def __call__(
        self, *arguments: str | Path, input: str | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*arguments),
            cwd=self.dataset,
            env=self.env | env,
            stdin=subprocess.DEVNULL if input is None else None,
            input=input,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            timeout=PATIENCE,
        )

    def start(self, *arguments: str | Path, **env: str) -> subprocess.Popen[str]:
        """Run it in the background."""
        return subprocess.Popen(
            self.words(*arguments),
            cwd=self.dataset,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def image(self, name: str) -> Path:
        """Return an image by its short name."""
        return {
            "directory": self.images.directory,
            "full directory": lambda: self.images.directory(mount_points=True),
            "tar": self.images.tar,
            "squashfs": self.images.squashfs,
            "host": self.images.host,
            "docker archive": self.images.docker_archive,
            "oci archive": self.images.oci_archive,
        }[name]()

    def reported(self, *arguments: str | Path, **env: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
        """Run it as a worker does; also the report."""
        folder = self.dataset.parent / "report"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        done = self(*arguments, **env, MINIPACH_REPORT=str(folder))
        assert [p.name for p in folder.iterdir()] == ["report.json"], done.stderr
        return done, json.loads((folder / "report.json").read_text())

    def clean(self) -> bool:
        """Return whether no scratch is left."""
        return not list((self.dataset / ".minipach").glob("tmp.*"))

    def write(self, path: str, text: str = "content\n") -> Path:
        """Write a file of the dataset."""
        file = self.dataset / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def outputs(self) -> dict[str, str]:
        """Return the text of each file that was moved into the dataset (a link: its target)."""
        kept = {".minipach", "inputs", "code", ".git"}
        return {path: text for path, text in files(self.dataset).items() if path.split("/", 1)[0] not in kept}


def make_dataset(path: Path) -> Path:
    """Make a folder as a worker lays one out: the launcher, and an input `images` with the file s/a."""
    (path / ".minipach").mkdir(parents=True)
    shutil.copy(SCRIPT, path / ".minipach" / "launch")
    (path / "inputs" / "images" / "s").mkdir(parents=True)
    (path / "inputs" / "images" / "s" / "a").write_text("A")
    return path


@pytest.fixture
def launch(tmp_path: Path, images: Images) -> Launcher:
    """The launcher in a dataset of its own. Import this fixture's name, and that of `images`, where it is used."""
    return Launcher(make_dataset(tmp_path / "edges"), images.env(), images)


def use(way: Way | str) -> dict[str, str]:
    """Return the variables that choose a runtime; skip the test where it is not here."""
    name = way if isinstance(way, str) else way[0]
    need(*TOOLS[name])
    return {"MINIPACH_RUNTIME": name}


def datum(name: str = "a", out: str = "", *options: str) -> list[str]:
    """Return the words of a datum."""
    return ["-d", name, out, *options]


FILE = ("-f", "images", "inputs/images", "/s/a")


def shell(script: str, *arguments: str) -> list[str]:
    """Return the words of a command that is a shell script."""
    return ["--", "sh", "-c", script, *(["sh", *arguments] if arguments else [])]


def ok(done: subprocess.CompletedProcess[str]) -> None:
    """Check that a run succeeded without a word."""
    assert (done.returncode, done.stderr) == (0, ""), done


def files(root: Path) -> dict[str, str]:
    """Return every file below a folder and its text; a link is marked by its target."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = "-> " + os.readlink(path)
        elif path.is_file():
            found[name] = path.read_text(errors="surrogateescape")
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition, not longer than the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def processes(mark: str) -> list[bytes]:
    """Return the command lines with `mark` in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return [line for line in found if mark.encode() in line]


def new_mark() -> str:
    """Return digits that no other process has in its command line; long enough to sleep for."""
    return f"{os.getpid()}{time.time_ns() % 10**6:06}"


def stand_in(folder: Path, name: str, then: str) -> Path:
    """Make a program that logs its arguments, one a line, and continues with `then`; return the log."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>"{folder}/log"\n{then}\n')
    program.chmod(0o755)
    return folder / "log"


def without(env: Mapping[str, str], bin_dir: Path, *hidden: str) -> dict[str, str]:
    """Return a PATH of links to all programs but the hidden ones, with `bin_dir` before it."""
    rest = bin_dir.parent / "rest"
    rest.mkdir()
    for folder in env["PATH"].split(":"):
        for program in Path(folder).iterdir() if Path(folder).is_dir() else ():
            if program.name not in hidden and not (rest / program.name).exists():
                (rest / program.name).symlink_to(program)
    return {"PATH": f"{bin_dir}:{rest}"}


@cache
def script_module() -> Any:
    """Return the launcher as a module."""
    loader = importlib.machinery.SourceFileLoader("launch_script", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module
