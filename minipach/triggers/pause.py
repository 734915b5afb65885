"""Pause and resume pipelines: passes that start by themselves leave out the paused ones.

`minipach schedule PIPELINE` still runs them. `project/pauses.py` reads what is paused.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from minipach.model.messages import SUBJECT
from minipach.project.pauses import ALL, KEY, pause_values, paused
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError


def pause(project: Project, name: str | None, *, shared: bool) -> bool:
    """Pause a pipeline, or all; return whether it was not paused before.

    Raises:
        UserError: There is no such pipeline; the project's settings have uncommitted changes (shared).
    """
    value = project.path_of(name) if name is not None else ALL
    before = pause_values(project, shared=shared)
    if value in before:
        return False
    _store(project, [*before, value], f"{SUBJECT}pause {name or 'all pipelines'}", shared=shared)
    return True


def resume(project: Project, name: str | None, *, shared: bool) -> bool:
    """End the pause of a pipeline, or all pauses; return whether there was one.

    Raises:
        UserError: The name is wrong, as in `pause`; the pipeline is paused by another setting, which the error names.
    """
    before = pause_values(project, shared=shared)
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
