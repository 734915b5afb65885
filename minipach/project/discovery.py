"""The discovery of pipelines: repos with a `spec.yml`, and plain folders with one, which become repos."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from minipach.git.repo import Repo, is_dataset
from minipach.model.pipeline import Need
from minipach.model.repo_layout import PROJECT_MARK, RESERVED, SPEC, SPECS
from minipach.project.spec_file import file_looks_like_ours, is_spec, known_specs, lying_specs
from minipach.support.disk_cache import Cache

# lines that mean what they look like: no quotes, comments, continuations or includes, and keys as git writes them
_PLAIN_MODULE = re.compile(r"""\[submodule "[^"\\\r]+"\]|\t[a-z][a-z-]* = [^\s"\\#;](?:[^"\\#;\r]*[^\s"\\#;])?""")


@dataclass(frozen=True, slots=True)
class PipelineLocation:
    """The location of a pipeline: its path, whether it is a dataset already, and its specs (usually one)."""

    path: str
    is_dataset: bool
    specs: tuple[str, ...] = (SPEC,)

    @property
    def spec(self) -> str:
        """The name of its spec."""
        return self.specs[0]


def registered(root: Path, prefix: str = "") -> Iterator[str]:
    """Yield the paths of all subdatasets, nested ones included, each after `prefix`."""
    modules = root / ".gitmodules"
    if not modules.is_file():
        return
    for value in _module_paths(modules):
        path = value.strip("/")
        # inputs/ of a pipeline are links to repos that are listed at their own place
        if not path or ".." in path.split("/") or (prefix and path.split("/")[0] in RESERVED):
            continue
        yield prefix + path
        if is_dataset(root / path):
            yield from registered(root / path, prefix + path + "/")


def _module_paths(modules: Path) -> list[str]:
    """Return the values of `path` in a `.gitmodules`. One that git has written plainly needs no process to be read."""
    text = modules.read_text("utf-8", "surrogateescape")
    lines = [line for line in text.split("\n") if line]
    if all(_PLAIN_MODULE.fullmatch(line) for line in lines):
        rows = (line.strip().partition(" = ") for line in lines)
        return [value for key, _, value in rows if key == "path"]
    out = Repo(modules.parent).git("config", "--file", str(modules), "-z", "--get-regexp", r"\.path$", ok=(0, 1))
    return [os.fsdecode(row).partition("\n")[2] for row in out.split(b"\0")]


def own_places(root: Path, repos: Iterable[str], cache: Cache) -> Iterator[PipelineLocation]:
    """Yield the pipelines among the repos, and in the plain folders of the project itself.

    A plain folder in place of a registered dataset counts: git lists none of its files.
    """
    for path in repos:
        repo = Repo(root / path)
        if not is_dataset(repo.path):
            if names := lying_specs(root / path):
                yield PipelineLocation(path, False, tuple(names))
            continue
        try:
            names = known_specs(repo, cache) or lying_specs(repo.path)
        finally:
            repo.close()
        if names:
            yield PipelineLocation(path, True, tuple(names))
    for folder in _plain_folders(root):
        names = lying_specs(root / folder)
        if names:
            yield PipelineLocation(folder, is_dataset(root / folder), tuple(names))


def nested_places(
    root: Path, repos: Collection[str], known: Collection[str], needs: Iterable[Need]
) -> list[PipelineLocation]:
    """Return the pipelines in plain folders of subdatasets. known: the pipelines found so far · needs: of those.

    A subdataset that a pipeline takes from holds data, whatever its files are called; so does a pipeline's own. In the
    others a spec must look like one of ours: the names are not rare.
    """
    data = {need.repo for need in needs} | set(known)
    found = []
    for holder in repos:
        if is_data(holder, data) or not is_dataset(root / holder) or _is_project(root / holder):
            continue
        for folder in _plain_folders(root / holder):
            path = f"{holder}/{folder}"
            names = [n for n in lying_specs(root / path) if file_looks_like_ours(root / path / n)]
            if path not in known and names:
                found.append(PipelineLocation(path, is_dataset(root / path), tuple(names)))
    return found


def is_data(holder: str, data: Collection[str]) -> bool:
    """Return whether a repo is one of those that hold data, or part of one."""
    return any(holder == path or holder.startswith(path + "/") for path in data)


def is_displaced(root: Path, path: str) -> bool:
    """Return whether a plain folder with files lies where a dataset is registered."""
    folder = root / path
    return folder.is_dir() and not folder.is_symlink() and not is_dataset(folder) and any(os.scandir(folder))


def holder_of(path: str, repos: Iterable[str]) -> str:
    """Return the dataset that holds a path: the longest registered one above it, or the superdataset ("")."""
    return max((repo for repo in repos if path.startswith(repo + "/")), key=len, default="")


def _is_project(folder: Path) -> bool:
    section, _, name = PROJECT_MARK.partition(".")
    config = folder / ".datalad" / "config"
    return config.is_file() and f'[{section} "{name}"]' in config.read_text("utf-8", "replace")


def _plain_folders(top: Path) -> Iterator[str]:
    repo = Repo(top)
    globs = [f":(glob)**/{name}" for name in SPECS]
    listed = repo.git("ls-files", "-z", "--cached", "--others", "--", *globs)
    # git lists an untracked repository as `folder/`, and never looks inside
    others = repo.git("ls-files", "-z", "--others", "--directory", "--no-empty-directory")
    names = {os.fsdecode(n) for n in listed.split(b"\0") if n}
    folders = {name.rpartition("/")[0] for name in names if is_spec(top / name)}
    untracked = (os.fsdecode(n).rstrip("/") for n in others.split(b"\0") if n.endswith(b"/"))
    folders |= {folder for folder in untracked if lying_specs(top / folder)}
    for folder in sorted(folders):
        if folder and not RESERVED & set(folder.split("/")):
            yield folder
