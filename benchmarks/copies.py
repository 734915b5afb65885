"""A project of real, small files and a pipeline that copies each, for whoever measures all of its way to published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from common import COPY, MINIPACH, BenchmarkError, Measured, call, measure, new_pipeline, new_project, simple_spec


def names(count: int) -> list[str]:
    """What the files are called."""
    return [f"img-{number:05d}.dat" for number in range(count)]


def write_files(folder: Path, count: int) -> None:
    """The files, in a folder that need not be there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names(count):
        (folder / name).write_text(f"{name}\n")


def new_copies(root: Path, count: int, script: str = COPY) -> Path:
    """The project: `count` datums, none of them computed yet."""
    project = new_project(root, "images")
    write_files(project / "images", count)
    call("git", "annex", "add", "--quiet", ".", cwd=project / "images")
    call("git", "commit", "--quiet", "-m", "files", cwd=project / "images")
    new_pipeline(project, simple_spec("/*"), script=script)
    return project


def schedule(project: Path, count: int, *options: str, env: Mapping[str, str] | None = None) -> Measured:
    """`minipach schedule`, measured; BenchmarkError unless all outputs are on the branch afterwards."""
    run = measure([*MINIPACH, "schedule", *options], project, env=env)
    there = call("git", "ls-tree", "--name-only", "HEAD", cwd=project / "edges").split()
    if not set(names(count)) <= set(there):
        raise BenchmarkError(f"not all outputs are on the branch: {run.err[-500:]}")
    return run
