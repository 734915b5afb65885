"""Missing or misconfigured parts of this machine and this project, each with the fix. Reads only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from minipach.environment import runtime_probe
from minipach.environment.host import host_python
from minipach.execution.staging import LARGE
from minipach.executors.registry import chosen
from minipach.git.child_environment import can_write, child_environment
from minipach.git.repo import Repo, has_annex, is_dataset, need_identity
from minipach.git.worktrees import slots_dir
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.project_plan import host_changes
from minipach.project.branch_check import off_branch
from minipach.project.project import Project, find_project
from minipach.support.errors import Finding, Problem, UserError
from minipach.support.text import many, quoted

_FIXES = {
    "apptainer": "apptainer exec IMAGE true shows more",
    "singularity": "singularity exec IMAGE true shows more",
    "podman": "podman info shows more",
    "docker": "start its daemon: systemctl start docker, or ask for membership in its group",
    "ch-run": "ch-run --version, and user namespaces: sysctl kernel.unprivileged_userns_clone=1",
}
_LEAST_GIT = (2, 30)
_LEAST_ANNEX = "10.20230626"
_LOW_DISK = 2 * 1024**3  # bytes


def examine(folder: Path, *, worker: bool = False) -> list[Finding]:
    """Look at the machine, then at the project around `folder`, if there is one.

    worker: also have the executor start a worker for a moment, which reports what it reaches.
    """
    findings = [*_programs(folder), *_python(), *_temporary(), *_runtimes()]
    try:
        project = find_project(folder)
    except UserError as error:
        return [*findings, Finding.of("note", error.problems[0])]
    return [*findings, *_project(project), *(_worker(project) if worker else ())]


def _programs(folder: Path) -> Iterator[Finding]:
    version = _output("git", "--version")
    found = re.search(r"(\d+)\.(\d+)", version)
    if not found:
        yield Finding.of("problem", Problem("setup.no-git", "", "git is not on PATH", "install git 2.30 or later"))
        return
    if (int(found[1]), int(found[2])) < _LEAST_GIT:
        yield Finding.of("problem", Problem("setup.old-git", "", version, "install git 2.30 or later"))
    else:
        yield Finding("ok", version)
    annex = re.search(r"version: (\S+)", _output("git", "annex", "version"))
    if not annex:
        remedy = "pip install git-annex, or your system's package"
        yield Finding.of("problem", Problem("setup.no-git-annex", "", "git-annex is not on PATH", remedy))
    elif annex[1].partition("-")[0] < _LEAST_ANNEX:
        old = Problem("setup.old-git-annex", "", f"git-annex {annex[1]}", f"upgrade to {_LEAST_ANNEX}")
        yield Finding.of("problem", old)
    else:
        yield Finding("ok", f"git-annex {annex[1]}")
    for package in ("datalad", "datalad-container"):
        try:
            yield Finding("ok", f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            lacking = Problem("setup.no-datalad", "", f"{package} is not installed", f"pip install {package}")
            yield Finding.of("problem", lacking)
    try:
        need_identity(Repo(folder))
        yield Finding("ok", "git knows who commits")
    except UserError as error:
        yield Finding.of("problem", error.problems[0])


def _python() -> Iterator[Finding]:
    found = host_python()
    if found:
        yield Finding("ok", f"commands without an image find python3 {found[1]} ({found[0]})")
    else:
        what = "commands without an image find no python3 on PATH"
        yield Finding.of("note", Problem("setup.no-python", "", what, "install python3"))


def _temporary() -> Iterator[Finding]:
    folder = os.environ.get("TMPDIR")
    if folder and not can_write(folder):
        what = "no file can be made there, so /tmp is used"
        yield Finding.of("problem", Problem("setup.tmpdir", f"TMPDIR={folder}", what, "unset TMPDIR, or make it"))


_UNPROTECTED = "nothing keeps such a command from your files, other secrets, other datums and the network (SECURITY.md)"


def _runtimes() -> Iterator[Finding]:
    found = list(runtime_probe.installed())
    for runtime in found:
        if runtime.name == "bwrap" and runtime.problem:
            what = (
                "bubblewrap can't make user namespaces here: host commands get their inputs as copies under $PFS "
                f"({runtime.problem}), and {_UNPROTECTED}"
            )
            remedy = "sysctl kernel.unprivileged_userns_clone=1; inside a container: docs/howto-docker.md"
            yield Finding.of("note", Problem("setup.no-namespaces", "", what, remedy))
        elif runtime.problem:
            what = f"{runtime.name} is installed, but starts nothing: {runtime.problem}"
            yield Finding.of("note", Problem("setup.runtime-fails", "", what, _FIXES[runtime.name]))
        else:
            yield Finding("ok", f"container runtime: {runtime.name} starts")
        if runtime.gap:
            yield Finding(
                "note",
                f"{runtime.name} is old or setuid: {runtime.gap} (SECURITY.md)",
                "install bubblewrap 0.8 or later, not setuid",
            )
    if all(runtime.problem for runtime in found):
        what = "no container runtime starts: only pipelines without an image run"
        yield Finding.of("note", Problem("setup.no-runtime", "", what, "install podman or apptainer"))
    if "bwrap" not in [runtime.name for runtime in found]:
        what = (
            f"no bubblewrap: commands without an image get copies of their inputs in $PFS, not /pfs, and {_UNPROTECTED}"
        )
        yield Finding.of("note", Problem("setup.no-bubblewrap", "", what, "install bubblewrap (Linux)"))


def _project(project: Project) -> Iterator[Finding]:
    yield Finding("ok", f"project {project.root}")
    free = shutil.disk_usage(project.root).free
    if free < _LOW_DISK:
        remedy = "make space: datalad drop, git annex unused"
        what = f"only {free // 1024**2} MiB free at {project.root}"
        yield Finding.of("problem", Problem("disk.nearly-full", "", what, remedy))
    yield from _executor(project)
    yield from _not_for_us(project.repo)
    if off := off_branch(project.repo, project.repo.branch()):
        what = f"{off.message}, so its commits are on no branch of its own"
        yield Finding.of("note", Problem("branch.off", "superdataset", what, off.fix))
    for path in project.repos:
        if not is_dataset(project.root / path):
            remedy = f"datalad get -n {quoted(project.root / path)}"
            yield Finding.of("note", Problem("repo.not-installed", "", f"{path} is not installed", remedy))
            continue
        repo = Repo(project.root / path)
        attributes = project.root / path / ".gitattributes"
        if attributes.is_file() and "annex.backend=MD5E" in attributes.read_text("utf-8", "replace"):
            what = f"{path} names content by MD5, which can be forged"
            remedy = f"set annex.backend=SHA256E in {path}/.gitattributes for what is added from now on"
            yield Finding.of("note", Problem("annex.weak-hash", "", what, remedy))
        if not has_annex(repo) and (path in project.order or _is_annexed(repo)):
            remedy = f"git -C {quoted(repo.path)} annex init"
            what = "git-annex is not initialised (a plain git clone)"
            yield Finding.of("note", Problem("annex.not-initialised", path, what, remedy))
        off = off_branch(repo, repo.branch()) if path in project.order else None
        if off:
            yield Finding.of("problem", off.within(path))
        folder = slots_dir(repo)
        left = [p.name for p in folder.iterdir() if p.suffix != ".lock"] if folder.is_dir() else []
        if left:
            what = f"{many(len(left), 'slot')} in use, or left by a crash until the next schedule"
            yield Finding.of("note", Problem("setup.slots-left", path, what))
    yield from (Finding.of("problem", p) for p in project.trouble(project.order))
    for path in project.pipelines:
        yield from _drift(project, path)
        yield from _copied(project, path)


def _copied(project: Project, path: str) -> Iterator[Finding]:
    """Name the inputs that can't be linked into a sandbox of this pipeline: the launcher mounts or copies them."""
    pipeline = project.pipelines[path]
    for repo in sorted({pfs.repo for pfs in pipeline.pfs_inputs()}):
        try:
            own, source = os.stat(project.root / path), os.stat(project.root / repo)
        except OSError:
            continue  # reported elsewhere
        why = ""
        if own.st_dev != source.st_dev:
            why = f"{repo} is on another disk"
        elif source.st_uid != os.geteuid() != 0:
            why = f"{repo} is another user's"
        if why:
            what = (
                f"{why}: each datum has copies of files below {LARGE >> 20} MiB; of larger ones where no container "
                "runtime can mount them"
            )
            yield Finding.of("note", Problem("setup.inputs-copied", pipeline.name, what, "keep both on one disk"))


def _is_annexed(repo: Repo) -> bool:
    return any(name.endswith("/git-annex") for name in repo.refs("refs/"))


def _not_for_us(repo: Repo) -> Iterator[Finding]:
    """Name settings of the user that commits of minipach don't follow."""
    where = "see docs/design/git-settings.md"
    if (repo.config_of_user("commit.gpgSign") or "").lower() in ("true", "yes", "on", "1"):
        what = "commit.gpgSign is set: commits of minipach have no signature"
        yield Finding.of("note", Problem("setup.no-signatures", "", what, where))
    if repo.config_of_user("core.hooksPath"):
        what = "core.hooksPath is set: commits of minipach run no hooks"
        yield Finding.of("note", Problem("setup.no-hooks", "", what, where))


def _executor(project: Project) -> Iterator[Finding]:
    try:
        backend = chosen(project)
    except UserError as error:
        yield Finding.of("problem", error.problems[0])
        return
    yield from backend.check_setup(project)


def _worker(project: Project) -> Iterator[Finding]:
    try:
        yield from chosen(project).try_worker(project)
    except UserError as error:
        yield Finding.of("problem", error.problems[0])


def _drift(project: Project, path: str) -> Iterator[Finding]:
    assessment = Assessment(project, path, SnapshotStore(project))
    name = assessment.pipeline.name
    try:
        image = assessment.image
    except UserError as error:
        yield from (Finding.of("problem", p) for p in error.problems)
        return
    finally:
        assessment.close()
    if image.text is not None and assessment.exists:
        changes = host_changes(assessment)
        if changes:
            what = f"this host's environment differs from the one on record ({'; '.join(changes[:3])})"
            yield Finding.of("note", Problem("environment.differs", name, what, f"minipach lock {name}"))


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, env=child_environment(), capture_output=True, check=False)
    except FileNotFoundError:
        return ""
    return os.fsdecode(done.stdout).strip()
