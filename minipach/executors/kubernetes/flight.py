"""The flight of a set: the batches it was submitted in, and what was taken of their reports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minipach.executors.kubernetes.batch import Batch
from minipach.executors.kubernetes.job_state import index_state
from minipach.model.job_entries import Try
from minipach.model.work_set import WorkSet
from minipach.records.job_logs import lost_log


@dataclass
class Flight:
    """A set that was submitted.

    runs: the batches that have it, the last one counts · read: the lines of each report that were taken · counted: the
    number of runs at the last report · gone: since when its last pod is known to be over, on the clock of
    `time.monotonic` · why: what the cluster said last · ends: how the last pod of each batch ended, with its events.
    """

    work: WorkSet
    left: set[int]
    runs: list[Batch]
    read: dict[str, tuple[str, int]] = field(default_factory=dict)
    counted: int = 0
    gone: float | None = None
    why: str = ""
    ends: dict[str, str] = field(default_factory=dict)

    @property
    def in_vain(self) -> int:
        """The number of batches in a row from which nothing came, including the last one."""
        return len(self.runs) - self.counted

    def lost_tries(self) -> tuple[Try, ...]:
        """Return an attempt for each earlier batch that ended without a result."""
        if self.work.chunk:
            return ()
        tries = []
        for number, batch in enumerate(self.runs[:-1], 1):
            message = f"index {batch.index_of(self.work.id)} of Job {batch.name} ended without a result"
            said = self.ends.get(batch.name, "")
            log = lost_log(self.work.log, number)
            kept = log if os.path.isfile(log) else ""
            tries.append(Try("lost", 1, f"{message} ({said})" if said else message, log=kept))
        return tuple(tries)

    def state(self, jobs: Mapping[str, dict[str, Any]]) -> tuple[str, str]:
        """Return whether its last index may still run ("alive" or "over"), and what the cluster says. jobs: by name."""
        if not self.runs:
            return index_state(None, None)
        batch = self.runs[-1]
        return index_state(jobs.get(batch.name), batch.index_of(self.work.id))
