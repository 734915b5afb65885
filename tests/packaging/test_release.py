"""`make release`: the packages that people install."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from minipach import __version__

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """docs/release.py as a module."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("release", ROOT / "docs" / "release.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_version_needs_its_section(script: ModuleType) -> None:
    text = "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [0.1.0] - 2026-11-30\n\n- first\n\n## [0.0.1] - 2026-01-01\n"
    assert script.changes(text, "0.1.0") == "- first"
    for missing in ("0.2.0", "0.0.1", "0.1", "."):
        with pytest.raises(SystemExit, match=re.escape(f"no section for {missing}.")):
            script.changes(text, missing)


def test_the_version_is_that_of_the_package(script: ModuleType) -> None:
    assert script.version() == __version__
    done = subprocess.run([sys.executable, "-m", "minipach", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"minipach {__version__}\n"


@pytest.mark.slow
def test_packages_hold_all_that_the_program_reads(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    copy = tmp_path / "source"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    wheel, source = (next((tmp_path / "dist").glob(pattern)) for pattern in ("*.whl", "*.tar.gz"))
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(source)], check=True)
    packed = set(zipfile.ZipFile(wheel).namelist())
    ours = {name for name in files.split("\0") if name.startswith("minipach/")}
    assert ours - packed == set()
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert ours - names == set()


@pytest.mark.soak
@pytest.mark.slow
def test_uv_installs_the_program_as_a_tool(tmp_path: Path) -> None:
    env = {**os.environ, "UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    copy = tmp_path / "source"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, files.split("\0")):
        if name.startswith(("minipach/", "pyproject", "README", "LICENSE")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    command = ["uv", "tool", "install", "--quiet", "--constraints", str(ROOT / "constraints.txt"), str(copy)]
    subprocess.run(command, env=env, check=True, capture_output=True)
    program = tmp_path / "bin" / "minipach"
    done = subprocess.run([program, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"minipach {__version__}\n"
    subprocess.run([program, "init", "study"], cwd=tmp_path, check=True, capture_output=True)
