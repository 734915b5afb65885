"""The logs of all pods of a project as one stream: `kubectl logs --follow` for each pod, as they come and go."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minipach.executors.kubernetes.client import Client
from minipach.executors.kubernetes.manifest import WORKER
from minipach.executors.kubernetes.pod_state import ending, why_pending
from minipach.support.errors import UserError

Line = tuple[str, str]  # the pod, and what it printed

_PACE = 2.0  # seconds between two lists of pods
_MOST = 100  # pods that are followed at once
_REST = 10.0  # seconds for the last lines after the end of the job
_QUEUED = 10_000  # lines that wait for their reader


@dataclass
class _Reader:
    """One pod that is followed."""

    process: subprocess.Popen[bytes]
    thread: threading.Thread
    is_over: bool = False


class PodStream:
    """The lines of all pods with these labels."""

    def __init__(self, client: Client, selector: str) -> None:
        self._client = client
        self._selector = selector
        self._lines: queue.Queue[Line] = queue.Queue(_QUEUED)
        self._readers: dict[str, _Reader] = {}
        self._seen: dict[str, int] = {}  # lines of each pod
        self._done: set[str] = set()
        self._state: dict[str, str] = {}

    def follow(self, ended: Callable[[], bool]) -> Iterator[Line]:
        """Yield lines, and changes of pods' states, until it has ended and no pod has more to say."""
        asked, end = 0.0, None
        try:
            while True:
                if end is None and ended():
                    end = time.monotonic() + _REST
                if time.monotonic() - asked >= _PACE:
                    asked = time.monotonic()
                    yield from self._look()
                yield from self._drain()
                is_quiet = self._lines.empty() and all(reader.is_over for reader in self._readers.values())
                if end is not None and (is_quiet or time.monotonic() > end):
                    yield from self._drain()
                    return
        finally:
            for reader in self._readers.values():
                with contextlib.suppress(OSError):
                    reader.process.kill()

    def _drain(self) -> Iterator[Line]:
        wait = 0.2
        while True:
            try:
                yield self._lines.get(timeout=wait)
            except queue.Empty:
                return
            wait = 0.0

    def _look(self) -> Iterator[Line]:
        try:
            pods = self._client.listed("pods", self._selector)
        except UserError:  # away; the readers that there are continue
            return
        for pod in pods:
            name = str(pod.get("metadata", {}).get("name"))
            state = _state(pod)
            if state and state != self._state.get(name):
                self._state[name] = state
                yield name, f"minipach: {state}"
            self._attend(name, str(pod.get("status", {}).get("phase")))

    def _attend(self, name: str, phase: str) -> None:
        """Follow a pod that prints, again where its reader was cut off."""
        reader = self._readers.get(name)
        if reader is not None and reader.is_over:
            del self._readers[name]
            if phase != "Running":
                self._done.add(name)
            reader = None
        if reader is not None or name in self._done or phase not in ("Running", "Succeeded", "Failed"):
            return
        if sum(not one.is_over for one in self._readers.values()) < _MOST:
            process = self._client.start("logs", "--follow", f"--container={WORKER}", name)
            thread = threading.Thread(target=self._read, args=(name, process), daemon=True)
            self._readers[name] = _Reader(process, thread)
            thread.start()

    def _read(self, name: str, process: subprocess.Popen[bytes]) -> None:
        seen = self._seen.get(name, 0)
        assert process.stdout is not None
        for number, line in enumerate(process.stdout, 1):
            if number > seen:  # a reader begins with a pod's first line
                self._lines.put((name, line.decode("utf-8", "replace").rstrip("\n")))
                self._seen[name] = number
        process.wait()
        reader = self._readers.get(name)
        if reader is not None and reader.process is process:
            reader.is_over = True


def _state(pod: Mapping[str, Any]) -> str:
    """Return what is to be said of a pod that does not run: why it waits, or how it ended; "" for nothing."""
    status = pod.get("status", {})
    phase = status.get("phase")
    if phase == "Pending":
        return f"Pending: {why_pending(pod)}"
    return f"Failed: {ending(pod)}" if phase == "Failed" else ""
