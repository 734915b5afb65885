"""Passes that a process starts which runs all the time: it sees that each line is answered."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from minipach.project.project import Project
from minipach.triggers.passes import is_held, is_waiting, start_pass

_LEAST_PAUSE = 1.0
_MOST_PAUSE = 300.0  # seconds between two starts of passes that all end without an answer


class Starter:
    """Starts passes in processes of their own, which outlive this one. One that was killed is started again."""

    def __init__(self, project: Project) -> None:
        self.started = 0
        self.ended = 0
        self._project = project
        self._state = project.local
        self._children: list[subprocess.Popen[bytes]] = []
        self._asked: int | None = None  # when the lines were written for which the last process was started
        self._pause = _LEAST_PAUSE
        self._next = 0.0

    def turn(self) -> bool:
        """Start a pass if lines wait for one; return whether it was started. Called after each line, and regularly."""
        alive = [child for child in self._children if child.poll() is None]
        self.ended += len(self._children) - len(alive)
        self._children = alive
        state = self._state
        heard = _modified(state.heard)
        asked = heard if heard is not None else _modified(state.taken)
        if asked is None or is_waiting(state):
            return False
        if heard is None and is_held(state.answering):
            return False  # the pass that answers them runs; if nobody holds the lock, it was killed
        again = asked == self._asked  # a process was started for these lines, and ended without an answer
        if again and time.monotonic() < self._next:
            return False
        self._pause = min(2 * self._pause, _MOST_PAUSE) if again else _LEAST_PAUSE
        self._asked, self._next = asked, time.monotonic() + self._pause
        child = start_pass(self._project)
        if child is None:
            return False
        self._children.append(child)
        self.started += 1
        return True


def _modified(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None
