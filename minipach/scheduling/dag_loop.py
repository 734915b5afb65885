"""The loop over the DAG: passes of several pipelines proceed at once, and share the slots of one executor.

A pass is a generator (see `pipeline_pass.Waiting`): it gives way only where it waits for outcomes. So all of them work
in one thread, one at a time, and only datums run in parallel. An exception ends the others in order, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from minipach.executors.base import Executor
from minipach.model.work_set import Outcome
from minipach.scheduling.dispatch import Round
from minipach.scheduling.pipeline_pass import Waiting
from minipach.scheduling.schedule_report import PipelineReport
from minipach.support.errors import UserError

_PAUSE = 0.5  # seconds to wait for an outcome, before job timeouts are looked at
_OTHERS = 0.1  # seconds until the next look whether another schedule has given a pipeline back
_MOST = 64  # passes at once where an executor takes the sets of all: each keeps a plan and a git process


class DagSource(Protocol):
    """The part of a schedule that the loop needs."""

    executor: Executor | None
    ready: int  # pipelines that could begin, and have not

    @property
    def lasting(self) -> bool:
        """Whether sets outlive the schedule."""
        ...


@dataclass
class _Going:
    """A pass that has begun, and the round that it waits in."""

    path: str
    work: Generator[Round, list[Outcome], PipelineReport]
    round: Round


class DagLoop:
    """Begins the passes of pipelines as soon as what they take from has ended, first come those first in DAG order."""

    def __init__(
        self,
        source: DagSource,
        begin: Callable[[str], Waiting[PipelineReport]],
        end: Callable[[str, PipelineReport], None],
        take: Callable[[str], bool] = lambda path: True,
        *,
        follow: bool,
        leave: Callable[[], bool] | None = None,
    ) -> None:
        """begin: makes a pipeline's pass · end: gets its report · follow: whether outcomes are waited for.

        take: takes a pipeline, before its pass begins; False: another schedule has it, so others come first.

        leave: whether to end without the pipelines that other schedules have; asked while nothing else is left.

        Else one pass is made after the other, and each ends as soon as its sets are submitted.
        """
        self._source = source
        self._begin = begin
        self._end = end
        self._take = take
        self._leave = leave or (lambda: False)
        self._most = _MOST if follow else 1
        self._pause = _PAUSE if follow else 0.0
        self._going: dict[str, _Going] = {}
        self._ended: set[str] = set()

    def run(self, order: Sequence[str], upstream: Callable[[str], Iterable[str]]) -> list[str]:
        """Make the passes of these pipelines; return those that were left to another pass.

        upstream: those whose output a pipeline takes, earlier in the order.
        """
        places = {path: number for number, path in enumerate(order)}
        left = {path: [up for up in upstream(path) if up in places] for path in order}
        try:
            while left or self._going:
                path = next(self._ready(left), None) if self._has_free_slot else None
                if path is not None:
                    del left[path]
                    self._source.ready = sum(self._ended.issuperset(above) for above in left.values())
                    self._resume(path, self._begin(path))
                elif not self._going:
                    if self._leave():
                        break
                    time.sleep(_OTHERS)
                if self._going:
                    self._deliver(places, 0.0 if path is not None else self._pause)
        finally:  # empty but for an exception
            for going in self._going.values():
                going.work.close()
        return list(left)

    def _ready(self, left: Mapping[str, Sequence[str]]) -> Iterator[str]:
        """Yield the pipelines that may begin: nothing that they take from is left, and no other schedule has them."""
        return (path for path, above in left.items() if self._ended.issuperset(above) and self._take(path))

    @property
    def _has_free_slot(self) -> bool:
        """Whether one more pass may begin: it would have a slot, or one set in all is ahead of its slot."""
        if len(self._going) >= self._most:
            return False
        engine = self._source.executor
        if not self._going or engine is None or self._source.lasting:
            return True
        ahead = sum(going.round.in_flight for going in self._going.values()) <= engine.slots
        return ahead or engine.running < engine.slots

    def _deliver(self, places: dict[str, int], pause: float) -> None:
        """Wait for outcomes, and let each pass continue with its own."""
        rounds = [going.round for going in self._going.values()]
        try:
            outcomes = rounds[0].engine.poll(0.0 if any(r.is_late for r in rounds) else pause)
        except UserError as error:  # the executor is at fault: each meets the same
            for going in list(self._going.values()):
                self._resume(going.path, going.work, error=error)
            return
        for path in sorted(self._going, key=places.__getitem__):
            going = self._going[path]
            self._resume(path, going.work, [o for o in outcomes if going.round.waits_for(o.set_id)])

    def _resume(
        self,
        path: str,
        work: Waiting[PipelineReport],
        outcomes: list[Outcome] | None = None,
        error: UserError | None = None,
    ) -> None:
        """Let a pass continue until it waits (again), or ends. outcomes: None where it is to begin."""
        self._going.pop(path, None)
        try:
            if error is not None:
                waits_in = work.throw(error)
            else:
                waits_in = next(work) if outcomes is None else work.send(outcomes)
        except StopIteration as end:
            self._ended.add(path)
            self._end(path, end.value)
        else:
            self._going[path] = _Going(path, work, waits_in)
