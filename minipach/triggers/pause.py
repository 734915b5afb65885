"""Paused pipelines: passes that start by themselves leave them out. `minipach schedule PIPELINE` still runs them.

A pause is a value of `minipach.paused`: in the configuration of this clone, or (shared) in `.datalad/config` of the
superdataset. The value is a pipeline's path, or `*` for all.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable

from minipach.model.messages import SUBJECT
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError

KEY = "minipach.paused"
ALL = "*"


def paused(project: Project) -> dict[str, str]:
    """Return the paths of the paused pipelines, each with the command that resumes it."""
    found: dict[str, str] = {}
    for shared in (True, False):
        values = _values(project, shared=shared)
        option = " --shared" if shared else ""
        for path in project.order:
            if ALL in values:
                found[path] = f"minipach resume{option}"
            elif path in values:
                found[path] = f"minipach resume {shlex.quote(project.name_of(path))}{option}"
    return found


def pause(project: Project, name: str | None, *, shared: bool) -> bool:
    """Pause a pipeline, or all; return whether it was not paused before.

    Raises:
        UserError: There is no such pipeline; the project's settings have uncommitted changes (shared).
    """
    value = project.path_of(name) if name is not None else ALL
    before = _values(project, shared=shared)
    if value in before:
        return False
    _store(project, [*before, value], f"{SUBJECT}pause {name or 'all pipelines'}", shared=shared)
    return True


def resume(project: Project, name: str | None, *, shared: bool) -> bool:
    """End the pause of a pipeline, or all pauses; return whether there was one.

    Raises:
        UserError: The name is wrong, as in `pause`; the pipeline is paused by another setting, which the error names.
    """
    before = _values(project, shared=shared)
    if name is None:
        left: list[str] = []
    else:
        path = project.path_of(name)
        left = [value for value in before if value != path]
        if ALL in before:
            fix = "minipach resume" + (" --shared" if shared else "")
            raise UserError(Problem("pause.all", name, "all pipelines are paused", fix))
    if left != before:
        _store(project, left, f"{SUBJECT}resume {name or 'all pipelines'}", shared=shared)
    still = paused(project)
    wanted = project.order if name is None else [project.path_of(name)]
    fixes = dict.fromkeys(still[path] for path in wanted if path in still)
    if fixes:
        raise UserError(Problem("pause.other", name or "", "still paused by another setting", " && ".join(fixes)))
    return left != before


def _values(project: Project, *, shared: bool) -> list[str]:
    where = ["--file", ".datalad/config"] if shared else ["--local"]
    out = project.repo.git("config", *where, "--null", "--get-all", KEY, ok=(0, 1))
    return [value for value in os.fsdecode(out).split("\0") if value]


def _store(project: Project, values: Iterable[str], message: str, *, shared: bool) -> None:
    repo = project.repo
    where = ["--file", ".datalad/config"] if shared else ["--local"]
    if shared and repo.git("status", "--porcelain", "--", ".datalad/config"):
        fix = f"git -C {shlex.quote(str(project.root))} commit -m settings .datalad/config"
        raise UserError(Problem("pause.uncommitted", ".datalad/config", "has uncommitted changes", fix))
    repo.git("config", *where, "--unset-all", KEY, ok=(0, 5))
    for value in values:
        repo.git("config", *where, "--add", KEY, value)
    if shared:
        repo.git("commit", "--quiet", "--no-verify", "-m", message, "--", ".datalad/config")
