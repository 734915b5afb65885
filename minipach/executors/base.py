"""The contract of all executors: submit sets, poll, cancel, close. Git stays the record of truth.

The executors by name are in `registry`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from minipach.git.repo import Repo
from minipach.model.work_set import Needs, Outcome, WorkSet


class Executor(Protocol):
    """Runs datum sets somewhere. To submit a set twice is harmless: its id is made of its content."""

    @property
    def at_once(self) -> bool:
        """Whether all sets are best submitted in one go, as with a batch system that queues for hours.

        Then they are cut as chunks (`WorkSet.chunk`), whose worker measures and cuts further.
        """
        ...

    @property
    def slots(self) -> int:
        """The number of sets that can run at once, as far as it is known; at least 1."""
        ...

    @property
    def running(self) -> int:
        """The number of sets that run now, as far as it is known."""
        ...

    def can_have(self, needs: Needs) -> bool:
        """Return whether a set could get this, as far as it is known: it is asked for a try that gets more memory."""
        ...

    def limit(self, pipeline: str, sets: int) -> None:
        """Run at most so many sets of this pipeline at once (`parallelism_spec.constant`)."""
        ...

    def prefer(self, pipelines: Sequence[str]) -> None:
        """Give a free slot to the set whose pipeline comes first here, where the order is the executor's to choose."""
        ...

    def expect(self, datums: int) -> None:
        """Start what takes its time to start: so many datums are to run soon."""
        ...

    def submit(self, sets: Sequence[WorkSet]) -> None:
        """Take sets to run, in order; returns at once. A set that is there already, not ended, is not run twice."""
        ...

    def adopt(self, repo: Repo) -> list[WorkSet]:
        """Return the sets of this pipeline's repo that an earlier scheduler submitted and that were not settled since.

        `poll` reports them from now on. Always none where sets don't outlive their scheduler.
        """
        ...

    def poll(self, timeout: float) -> list[Outcome]:
        """Return outcomes since the last call; waits up to `timeout` seconds for the first one.

        Every set that was submitted or adopted, and neither discarded nor cancelled, comes back: once, or a chunk in
        parts (`Outcome.datums`), each index once. A set whose worker is gone is given to another; if that happens too
        often it comes back as `lost`.
        """
        ...

    def settle(self, sets: Sequence[WorkSet]) -> None:
        """Forget these sets: their outcomes are on record (job database, results branch)."""
        ...

    def discard(self, ids: Collection[str] | None = None) -> set[str]:
        """Drop the sets that have not started (of these ids), and return which they were."""
        ...

    def leave(self, repo: Repo) -> None:
        """Let submitted sets of this repo continue without the scheduler, and have a pass made afterwards."""
        ...

    def cancel(self, repo: Repo | None = None) -> None:
        """End everything that was submitted or adopted, process trees included; nothing of it starts any more.

        repo: only what is this pipeline's. The sets of other pipelines continue, and more can be submitted.
        """
        ...

    def close(self) -> None:
        """Give back processes, folders and connections of this scheduler. Call once, also after `cancel`."""
        ...
