"""A repo of ticks, made and registered: before the first tick, a clock has none."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from minipach.git.fast_import import Stream
from minipach.git.gc_lock import gc_held_off
from minipach.git.repo import Repo, annex, is_dataset, need_identity
from minipach.git.tree_entries import FILE
from minipach.git.worktrees import kill_inside
from minipach.model.clock import TICK_REPO_BEGAN, tick_committer
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import DATALAD_CONFIG, TICKS
from minipach.project.problems import absent
from minipach.project.project import Project
from minipach.project.register_datasets import register_datasets, registered_below
from minipach.support.errors import Problem, UserError
from minipach.support.files import remove_tree


def make_tick_repo(project: Project, path: str) -> bool:
    """Make the repo of a clock's ticks, register it, and return whether there was anything to do.

    Its first commit follows from the project's id and the path, so that two clones make the same one.

    Raises:
        UserError: Something else is there.
    """
    holder = project.holder_of(path)
    around = Project(project.root / holder) if holder else project
    inside = path.removeprefix(holder + "/") if holder else path
    folder = project.root / path
    if is_dataset(folder) and registered_below(around, [inside]):
        return False
    if not is_dataset(folder):
        if path in project.repos or (os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir()))):
            raise UserError(
                absent(project, path)
                if path in project.repos
                else Problem("cron.repo-taken", path, "exists, and is no repo of ticks", "write another `repo`")
            )
        need_identity(project.repo)
        staged = project.local.adopted
        kill_inside(staged)
        remove_tree(staged)
        _build_tick_repo(staged, path, around)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.is_dir():
            folder.rmdir()
        os.rename(staged, folder)
    with gc_held_off(around.repo):
        register_datasets(around, {inside: []})
    return True


def _build_tick_repo(staged: Path, path: str, around: Project) -> None:
    staged.mkdir(parents=True)
    repo = Repo(staged)
    branch = around.repo.branch() or "master"
    repo.git("init", "--quiet")
    repo.git("symbolic-ref", "HEAD", f"refs/heads/{branch}")
    dataset = around.repo.config("datalad.dataset.id", str(around.root / DATALAD_CONFIG)) or ""
    ident = uuid.uuid5(uuid.NAMESPACE_URL, f"minipach:ticks:{dataset}:{path}")
    stream = Stream(f"refs/heads/{branch}", None, tick_committer(TICK_REPO_BEGAN))
    stream.commit(f"{SUBJECT}ticks of a clock\n")
    stream.write(FILE, f'[datalad "dataset"]\n\tid = {ident}\n'.encode(), DATALAD_CONFIG)
    stream.write(FILE, b"* annex.backend=SHA256E annex.largefiles=nothing -text\n", ".gitattributes")
    stream.write(FILE, b"1\n", f"{TICKS}/version")
    stream.run(repo)
    repo.git("reset", "--quiet", "--hard")
    annex(repo, "init", "--quiet")
    repo.close()
