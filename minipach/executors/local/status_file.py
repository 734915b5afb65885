"""The status of the local executor: a small file that it rewrites as sets begin and end, for `minipach top`."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from minipach.executors.view import ExecutorState, Looker, WaitingSets, Worker
from minipach.model.local_state import LocalState
from minipach.project.lock import holders
from minipach.project.project import Project
from minipach.support.files import write_whole
from minipach.support.processes import is_alive
from minipach.support.text import many
from minipach.support.validation import conforms, parse_object


class StatusFile:
    """The file, as long as its executor is there. What can't be written is not: nothing depends on it."""

    def __init__(self, state_dir: Path) -> None:
        self._path = _file(LocalState(state_dir).local_status, os.getpid())

    def show(self, slots: int, runs: Sequence[tuple[int, str, float]], queued: int) -> None:
        """Note what runs, (slot, set, since when in unix seconds), and how many sets wait."""
        data = {"slots": slots, "queued": queued, "runs": runs}
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(exist_ok=True)
            write_whole(self._path, json.dumps(data))

    def remove(self) -> None:
        """Remove the file, and what killed schedules left: nothing runs there any more."""
        with contextlib.suppress(OSError):
            for file in self._path.parent.iterdir():
                if file == self._path or not is_alive(file.name.partition(".")[0]):
                    file.unlink(missing_ok=True)


def _file(folder: Path, pid: int) -> Path:
    return folder / f"{pid}.json"


def looker(project: Project) -> Looker:
    """Return what looks at the schedules that run, if one does."""

    def look(sets: Mapping[str, str]) -> ExecutorState:
        who = holders(project.local.lock)
        seen = [
            _seen(project.local.local_status, one.pid, sets, f" of process {one.pid}" * bool(who[1:])) for one in who
        ]
        return ExecutorState(
            tuple(worker for one in seen for worker in one.workers),
            tuple(waiting for one in seen for waiting in one.waiting),
            frozenset[str]().union(*(one.running for one in seen)),
            note="; ".join(f"{one} runs them" for one in who),
        )

    return look


def _seen(folder: Path, pid: int, sets: Mapping[str, str], whose: str) -> ExecutorState:
    """Return what one schedule runs. whose: distinguishes its slots from those of others."""
    try:
        data = parse_object(_file(folder, pid).read_bytes())
        runs = [tuple(row) for row in data["runs"]]
        counts = (data["queued"], data["slots"])
    except (OSError, ValueError, KeyError, TypeError):
        return ExecutorState()
    if not conforms(runs, list[tuple[int, str, float]]) or not conforms(counts, tuple[int, int]):
        return ExecutorState()
    now, queued, slots = time.time(), *counts
    rows = [(slot, name, max(0.0, now - since)) for slot, name, since in runs]
    names = [(f"slot {slot}{whose}", sets.get(name, name[:12]), took) for slot, name, took in rows]
    workers = tuple(Worker(slot, "", ((shown, took),)) for slot, shown, took in names)
    why = f"for a free slot; {len(rows)} of {many(slots, 'slot')} in use"
    waiting = (WaitingSets(queued, "any", why),) if queued else ()
    return ExecutorState(workers, waiting, frozenset(name for _, name, _ in rows))
