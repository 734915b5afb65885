"""The view of an executor: its workers, waiting and running sets, and outcomes of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from minipach.model.work_set import Outcome


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker. has: slots, GPUs and the like, in words · runs: what it runs, each with its seconds so far."""

    name: str
    has: str
    runs: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class WaitingSets:
    """Sets that wait: how many, of what kind, and why. in_vain: nobody is there who could ever run them."""

    sets: int
    kind: str
    why: str
    in_vain: bool = False


@dataclass(frozen=True, slots=True)
class ExecutorState:
    """The state of an executor at one moment.

    running: the ids of sets that run, as far as they were asked for · outcomes: what has come of others of these, also
    if a pass has recorded it meanwhile · note: what else is to be said, or "".
    """

    workers: tuple[Worker, ...] = ()
    waiting: tuple[WaitingSets, ...] = ()
    running: frozenset[str] = frozenset()
    outcomes: tuple[Outcome, ...] = ()
    note: str = ""


# Looks at an executor, for these sets (by id, with their names for people). It may remember, so that the next look is
# cheaper. UserError where the executor is away.
Looker = Callable[[Mapping[str, str]], ExecutorState]
