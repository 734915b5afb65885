"""Which pipelines are paused: passes that start by themselves leave them out. `triggers/pause.py` writes it.

A pause is a value of `minipach.paused`: in the configuration of this clone, or (shared) in `.datalad/config` of the
superdataset. The value is a pipeline's path, or `*` for all.
"""

from __future__ import annotations

import os
import shlex

from minipach.project.project import Project

KEY = "minipach.paused"
ALL = "*"


def paused(project: Project) -> dict[str, str]:
    """Return the paths of the paused pipelines, each with the command that resumes it."""
    found: dict[str, str] = {}
    for shared in (True, False):
        values = pause_values(project, shared=shared)
        option = " --shared" if shared else ""
        for path in project.order if values else ():
            if ALL in values:
                found[path] = f"minipach resume{option}"
            elif path in values:
                found[path] = f"minipach resume {shlex.quote(project.name_of(path))}{option}"
    return found


def pause_values(project: Project, *, shared: bool) -> list[str]:
    """Return the values of one of both settings, in order. Where there is none, no git process is started."""
    if shared and not _mentions(project, KEY.partition(".")[2]):
        return []
    if not shared and project.repo.config(KEY) is None:
        return []
    where = ["--file", ".datalad/config"] if shared else ["--local"]
    out = project.repo.git("config", *where, "--null", "--get-all", KEY, ok=(0, 1))
    return [value for value in os.fsdecode(out).split("\0") if value]


def _mentions(project: Project, word: str) -> bool:
    """Return whether the shared settings may have a key of this name."""
    try:
        return word.encode() in (project.root / ".datalad" / "config").read_bytes().lower()
    except OSError:
        return False
