"""Actions of the console: each is a command line of minipach, which is shown, and started as it is shown."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.project.background_command import start_minipach
from minipach.project.project import Project, find_project
from minipach.support.errors import Problem, UserError

NAMES = ("schedule", "retry", "pause", "resume", "cancel", "accept", "exclude")
_ALL = ("schedule", "pause", "resume", "cancel")  # these work without a pipeline
_KEPT = 10  # actions that are remembered


@dataclass(frozen=True, slots=True)
class Action:
    """A command that a button starts. words: of the command, without the program's name."""

    name: str
    words: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command line, as people type it in the project's folder."""
        return shlex.join(["minipach", *self.words])


def action(project: Project, name: str, pipeline: str, datum: str = "") -> Action:
    """Return the action that a form asks for. Raises UserError if there is no such action, pipeline or datum."""
    if name not in NAMES:
        raise UserError(Problem("console.no-action", name, "no such action", f"use one of: {', '.join(NAMES)}"))
    if not pipeline and name not in _ALL:
        raise UserError(Problem("option.needs-pipeline", name, "name a pipeline", f"minipach {name} PIPELINE"))
    if name == "cancel":
        return Action(name, (name,))
    target = [project.name_of(project.path_of(pipeline))] if pipeline else []
    if name == "exclude" and not datum:
        raise UserError(Problem("option.needs-datum", name, "name a datum", "minipach exclude PIPELINE:DATUM"))
    if target and datum and name in ("schedule", "exclude"):
        target = [f"{target[0]}:{datum}"]
    # a name that begins with a dash is no option
    return Action(name, (name, *(["--"] if target and target[0].startswith("-") else []), *target))


class Started:
    """The commands that were started here. They run in processes of their own, which outlive the console."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._running: list[tuple[Action, subprocess.Popen[bytes]]] = []

    def start(self, wanted: Action) -> None:
        """Start the command of an action. Its output goes to the log of the console."""
        local = find_project(self._root).local
        local.folder.mkdir(parents=True, exist_ok=True)
        with local.console_log.open("ab") as log:
            log.write(f"$ {wanted.command}\n".encode("utf-8", "surrogateescape"))
            log.flush()
            process = start_minipach(self._root, wanted.words, log, os.environ)
        self._running = [*self._running, (wanted, process)][-_KEPT:]

    def as_json(self) -> Sequence[Mapping[str, object]]:
        """Return the last commands, and how they ended (None: they run)."""
        return [{"command": wanted.command, "exit": process.poll()} for wanted, process in self._running]
