"""What every executor does: submit sets, poll, cancel, close. The engine's memory is never the record of truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from minipach.sets import Outcome, WorkSet


class Executor(Protocol):
    """Runs datum sets somewhere. To submit a set twice is harmless: its id is made of its content."""

    def submit(self, sets: Sequence[WorkSet]) -> None:
        """Take sets to run, in order; returns at once."""
        ...

    def limit(self, pipeline: str, sets: int) -> None:
        """At most so many sets of this pipeline at once (`parallelism_spec.constant`)."""
        ...

    def poll(self, timeout: float) -> list[Outcome]:
        """Outcomes since the last call; waits up to `timeout` seconds for the first one."""
        ...

    def discard(self) -> set[str]:
        """Drop the sets that have not started; their ids."""
        ...

    @property
    def slots(self) -> int:
        """How many sets can run at once."""
        ...

    @property
    def running(self) -> int:
        """How many sets run just now."""
        ...

    def cancel(self) -> None:
        """End everything that runs, process trees included; nothing more starts."""
        ...

    def close(self) -> None:
        """Give back processes and folders. Call once, also after `cancel`."""
        ...
