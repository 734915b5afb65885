"""The pushes of a pod: the results of several sets go together, and then the reports of them.

A report goes after the results that it is about. What waits is lost with the pod, and runs again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from minipach.execution.staging import StagingError
from minipach.executors.push_rhythm import Rhythm
from minipach.executors.transfer import Transfer
from minipach.git.repo import Repo

_LOOK = 0.2  # seconds between two looks whether it is time


class Sender:
    """Pushes refs from a thread of its own, while datums run."""

    def __init__(self, transfer: Transfer, path: Path) -> None:
        """path: the clone of the pipeline's repo."""
        self._transfer = transfer
        self._path = path
        self._rhythm = Rhythm()
        self._results: dict[str, None] = {}
        self._reports: dict[str, str] = {}  # by ref, the tree; its results are here, or pushed
        self._oldest: float | None = None
        self._error: StagingError | None = None
        self._lock = threading.Lock()  # of what waits
        self._one = threading.Lock()  # one push at a time
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def is_busy(self) -> bool:
        """Whether something waits, or is being pushed."""
        return self._oldest is not None or self._one.locked()

    def add(self, results: Sequence[str], reports: Mapping[str, str]) -> None:
        """Add the refs of results, and reports: the tree of each, by its ref.

        Raises:
            StagingError: The results that were taken before could not be pushed.
        """
        if self._error is not None:
            raise self._error
        with self._lock:
            self._results |= dict.fromkeys(results)
            self._reports |= reports
            if (self._results or self._reports) and self._oldest is None:
                self._oldest = time.monotonic()

    def flush(self) -> None:
        """Push all that waits. Raises StagingError."""
        self._push()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while self._error is None:
            time.sleep(_LOOK)
            oldest, now = self._oldest, time.monotonic()
            if oldest is not None and self._rhythm.is_due(now, oldest, len(self._results), others=True):
                self._push()

    def _push(self) -> None:
        with self._one:
            with self._lock:
                results, reports = list(self._results), self._reports
                self._results, self._reports, self._oldest = {}, {}, None
            if not (results or reports):
                return
            self._rhythm.began(time.monotonic())
            repo = Repo(self._path)  # of its own: datums run in another thread
            try:
                failed = self._transfer.push_all(repo, results) if results else {}
                if not failed and reports:
                    failed = self._transfer.push_all(repo, list(reports), reports)
            except Exception as error:  # this may be the thread that nobody hears: `add` and `flush` raise it
                failed = {"": str(error) or type(error).__name__}
            finally:
                repo.close()
            self._rhythm.ended(time.monotonic())
            for why in failed.values():
                self._error = StagingError(why)
