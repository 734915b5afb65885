"""The status of the local executor: a small file that it rewrites as sets begin and end, for `minipach top`."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from minipach.executors.view import Looker, Seen, Waiting, Worker
from minipach.model.local_state import LocalState
from minipach.project.lock import holder
from minipach.project.project import Project
from minipach.support.text import many
from minipach.support.validation import conforms, parse_object


class Board:
    """The file, as long as its executor is there. What can't be written is not: nothing depends on it."""

    def __init__(self, state_dir: Path) -> None:
        self._path = LocalState(state_dir).local_status

    def show(self, slots: int, runs: Sequence[tuple[int, str, float]], queued: int) -> None:
        """Note what runs, (slot, set, since when in unix seconds), and how many sets wait."""
        data = {"pid": os.getpid(), "slots": slots, "queued": queued, "runs": runs}
        part = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            part.write_text(json.dumps(data))
            part.replace(self._path)

    def remove(self) -> None:
        """Remove the file: nothing runs any more."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def looker(project: Project) -> Looker:
    """Looks at the schedule that runs, if one does."""

    def look(sets: Mapping[str, str]) -> Seen:
        who = holder(project.local.lock)
        if who is None:
            return Seen()
        note = f"{who} runs them"
        try:
            data = parse_object(project.local.local_status.read_bytes())
            if data["pid"] != who.pid:  # of one that was killed
                return Seen(note=note)
            runs = [tuple(row) for row in data["runs"]]
            counts = (data["queued"], data["slots"])
            if not conforms(runs, list[tuple[int, str, float]]) or not conforms(counts, tuple[int, int]):
                return Seen(note=note)
            now, queued, slots = time.time(), *counts
            rows = [(slot, name, max(0.0, now - since)) for slot, name, since in runs]
        except (OSError, ValueError, KeyError, TypeError):
            return Seen(note=note)
        workers = tuple(Worker(f"slot {slot}", "", ((sets.get(name, name[:12]), took),)) for slot, name, took in rows)
        why = f"for a free slot; {len(rows)} of {many(slots, 'slot')} in use"
        waiting = (Waiting(queued, "any", why),) if queued else ()
        return Seen(workers, waiting, frozenset(name for _, name, _ in rows), note=note)

    return look
