"""The results of a worker without a shared filesystem, between the end of their sets and the project.

One process pushes them for all slots, many at once. Nobody hears of a set before its result is in the project. The
results wait as refs in the clones: a worker that is killed finds them there when it starts again.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minipach.executors.child_process import spawn
from minipach.executors.push_rhythm import MOST, Rhythm
from minipach.executors.rq.lane import LaneJob, RqWorker
from minipach.support.processes import signal_group

FULL = 4 * MOST  # datums whose results wait or are being pushed: then no set begins


@dataclass(eq=False)
class HeldResults:
    """A set that has ended, whose result is not in the project yet. worker, task: None for what a killed one left."""

    repo: str
    refs: Sequence[str]
    worker: RqWorker | None = None
    task: LaneJob | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    datums: int = 1
    since: float = field(default_factory=time.monotonic)


class Pusher:
    """Holds sets until their results are pushed. pushes, results: what was pushed so far."""

    def __init__(
        self, start: Sequence[str], done: Callable[[HeldResults], None], failed: Callable[[HeldResults, str], None]
    ) -> None:
        """start: module and arguments of the process · done, failed: called for each set, in this thread."""
        self._start = start
        self._done = done
        self._failed = failed
        self._rhythm = Rhythm()
        self._waiting: list[HeldResults] = []
        self._sent: list[HeldResults] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()
        self._hurry = False
        self._prepared: set[str] = set()
        self._pushes = (0, 0)  # of processes before, of this one
        self.results = 0

    @property
    def pushes(self) -> int:
        """The number of pushes."""
        return sum(self._pushes)

    @property
    def held(self) -> list[HeldResults]:
        """All sets whose results wait, or are being pushed."""
        return [*list(self._sent), *list(self._waiting)]

    @property
    def is_full(self) -> bool:
        """Return whether so much waits that no set should begin."""
        return sum(one.datums for one in self.held) >= FULL

    def add(self, held: HeldResults) -> None:
        """Take a set that has ended."""
        self._waiting.append(held)

    def prepare(self, repos: Collection[str]) -> None:
        """Have the process get ready for the first push of each repo. Called again, it does nothing."""
        for repo in sorted(set(repos) - self._prepared):
            self._prepared.add(repo)
            self._ask({"prepare": repo})

    def hurry(self) -> None:
        """Wait for no more results: somebody waits for one that is here."""
        self._hurry = True

    @property
    def stdout(self) -> int | None:
        """The stream of the process's answers."""
        return None if self._process is None or self._process.stdout is None else self._process.stdout.fileno()

    def turn(self, *, others: bool) -> None:
        """Begin a push if it is time for one. others: whether sets run whose results may go with it."""
        if self._sent or not self._waiting:
            return
        now = time.monotonic()
        datums = sum(one.datums for one in self._waiting)
        if not self._hurry and not self._rhythm.is_due(now, self._waiting[0].since, datums, others=others):
            return
        self._hurry = False
        self._rhythm.began(now)
        self._sent, self._waiting = self._waiting, []
        refs: dict[str, list[str]] = {}
        for one in self._sent:
            refs.setdefault(one.repo, []).extend(one.refs)
        self._ask({"refs": refs})

    def _ask(self, request: Mapping[str, Any]) -> None:
        """Send the process a request. It answers one after the other."""
        if self._process is None:
            self._process = spawn(*self._start)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its stdout says so
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def hear(self, data: bytes) -> None:
        """Take what the process has written; nothing: it has died."""
        if not data:
            self._died()
            return
        self._buffer += data
        while b"\n" in self._buffer:
            line, _, rest = bytes(self._buffer).partition(b"\n")
            self._buffer[:] = rest
            if line:
                self._answered(json.loads(line))

    def _answered(self, answer: Mapping[str, Any]) -> None:
        if "prepared" in answer:
            return
        sent, self._sent = self._sent, []
        self._rhythm.ended(time.monotonic())
        self._pushes = self._pushes[0], int(answer["pushes"])
        for one in sent:
            failed = answer["failed"].get(one.repo, {})
            why = next((failed[ref] for ref in one.refs if ref in failed), None)
            if why is None:
                self.results += one.datums
                self._done(one)
            else:
                self._failed(one, why)

    def _died(self) -> None:
        """Clean up after a dead process; what it was to push is pushed again."""
        self.end()
        self._waiting[:0] = self._sent
        self._sent = []
        self._rhythm.ended(time.monotonic())

    def end(self) -> None:
        """End the process. What it was to push is held on."""
        if self._process is not None:
            signal_group(self._process.pid, 9)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        self._process = None
        self._buffer.clear()
        self._pushes = sum(self._pushes), 0
