"""Workflow files for CIs: the shell steps are in `workflows/*.sh` once, and each file has them in its own frame."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted

_FOLDER = Path(__file__).with_name("workflows")
_STEP = re.compile(r"^([ ]*)@([a-z]+)@$", re.MULTILINE)
# The template of each CI, and the place of its file in a project.
PLACES: Mapping[str, tuple[str, str]] = {
    "github": ("github.yml", ".github/workflows/minipach.yml"),
    "gitlab": ("gitlab.yml", ".gitlab-ci.yml"),
    "forgejo": ("forgejo.yml", ".forgejo/workflows/minipach.yml"),
    "jenkins": ("Jenkinsfile", "Jenkinsfile"),
}


def workflow(kind: str) -> str:
    """Return the workflow file of a CI. kind: a key of PLACES."""
    text = (_FOLDER / PLACES[kind][0]).read_text("utf-8")
    return _STEP.sub(lambda found: _indented(shell_step(found[2]), found[1]), text)


def shell_step(name: str) -> str:
    """Return the shell commands of a step. name: its file in `workflows`, without the suffix."""
    return (_FOLDER / f"{name}.sh").read_text("utf-8").rstrip("\n")


def write_workflow(root: Path, kind: str) -> tuple[str, bool]:
    """Write the workflow file of a CI into a project.

    Returns:
        Its path in the project, and whether it was written; a file with the same content stays.

    Raises:
        UserError: Another file is there, or a link leads out of the project.
    """
    path = PLACES[kind][1]
    file, text = root / path, workflow(kind)
    if not file.parent.resolve().is_relative_to(root.resolve()):
        problem = Problem("ci.outside", path, "a link leads out of the project", f"remove {quoted(file.parent)}")
        raise UserError(problem)
    if file.is_symlink() or file.exists():
        if not file.is_symlink() and file.is_file() and file.read_bytes() == text.encode():
            return path, False
        fix = f"compare it with minipach ci init {kind}, or remove it"
        raise UserError(Problem("ci.exists", path, "another file is there", fix))
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8") as stream:
        stream.write(text)
    return path, True


def _indented(text: str, blanks: str) -> str:
    return "\n".join(blanks + line if line else "" for line in text.splitlines())
