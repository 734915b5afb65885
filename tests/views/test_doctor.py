"""`doctor` starts what it calls ok."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from minipach.environment import runtime_probe
from minipach.environment.runtime_probe import Runtime
from minipach.project.project import find_project
from minipach.views import doctor
from tests.fixtures.projects import Study


def stand_in(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH of runtimes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(
        runtime_probe, "child_environment", lambda extra=None: {"PATH": f"{folder}:/bin", **(extra or {})}
    )
    monkeypatch.setattr(
        runtime_probe.shutil, "which", lambda name, path: str(folder / name) if (folder / name).exists() else None
    )
    return folder


def test_a_runtime_that_starts_nothing_is_not_ok(programs: Path) -> None:
    stand_in(programs, "docker", 'echo "one" >&2; echo "Cannot connect to the Docker daemon" >&2; exit 1')
    stand_in(programs, "podman", 'for last; do :; done; [ "$last" != /usr/bin/true ] || exit 126')
    stand_in(programs, "apptainer", "exit 0")
    assert list(runtime_probe.installed()) == [
        Runtime("apptainer"),
        Runtime("podman", "exit code 126"),
        Runtime("docker", "Cannot connect to the Docker daemon"),
    ]
    found = list(doctor._runtimes())
    assert [(f.level, f.code) for f in found] == [
        ("ok", ""),
        ("note", "setup.runtime-fails"),
        ("note", "setup.runtime-fails"),
        ("note", "setup.no-bubblewrap"),
    ]
    assert [word in f.what for f, word in zip(found, ("apptainer", "126", "Docker daemon"), strict=False)] == [True] * 3
    assert all(f.fix for f in found if f.level != "ok")


@pytest.mark.parametrize(("version", "gaps"), [("0.6.1", 1), ("0.7.0", 1), ("0.8.0", 0), ("0.11.0", 0), ("1.0", 0)])
def test_an_old_bubblewrap_has_a_gap(programs: Path, version: str, gaps: int) -> None:
    stand_in(programs, "bwrap", f'[ "$1" != --version ] || echo "bubblewrap {version}"')
    found = [f for f in doctor._runtimes() if "user namespaces" in f.what]
    assert [(f.level, f.fix) for f in found] == [("note", "install bubblewrap 0.8 or later, not setuid")] * gaps


def test_each_runtime_that_fails_has_an_advice() -> None:
    assert set(doctor._FIXES) == set(runtime_probe.PROGRAMS) - {"bwrap"}


def test_where_no_runtime_starts_it_says_so(programs: Path) -> None:
    stand_in(programs, "docker", "exit 1")
    assert "setup.no-runtime" in [f.code for f in doctor._runtimes()]


def test_a_program_that_is_started_is_started_in_a_root_of_its_own(programs: Path) -> None:
    stand_in(programs, "podman", 'echo "$@" >"$0.said"')
    assert list(runtime_probe.installed()) == [Runtime("podman")]
    words = (programs / "podman.said").read_text().split()
    assert words[:4] == ["run", "--rm", "--network", "none"]
    assert words[-1] == "/usr/bin/true"
    assert not os.path.exists(words[words.index("--rootfs") + 1]), "it is gone afterwards"


def test_inputs_on_another_disk_are_named(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study.put("images/a.txt", "a")
    study.copier()
    project = find_project(study.root)
    assert list(doctor._copied(project, "edges")) == []
    real = os.stat

    def elsewhere(path: Any, **options: Any) -> Any:
        info = real(path, **options)
        if str(path) != str(study.root / "images"):
            return info
        return os.stat_result([*info[:2], info.st_dev + 1, *info[3:10]])

    monkeypatch.setattr(doctor.os, "stat", elsewhere)
    (found,) = doctor._copied(project, "edges")
    assert found.code == "setup.inputs-copied" and found.what.startswith("edges: images ")
