"""How many datums go into one set: as the spec says, or by measured duration. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import islice

from minipach.records import MAX_COMMAND, Task
from minipach.spec import SetSpec

BOOKKEEPING = 0.5  # seconds that a set costs whatever is in it: worktree, record, container
SHARE = 0.05  # of the work: what bookkeeping may cost
CHUNK = 60.0  # seconds of work that a chunk has at least, if that is known
MOST = 64  # datums in a set; a lost worker costs no more than these


def enough(work: float) -> int:
    """How many datums of so many seconds make bookkeeping a small part of their set."""
    return min(math.ceil(BOOKKEEPING * (1 - SHARE) / (SHARE * max(work, 0.001))), MOST)


@dataclass
class Sizer:
    """Cuts a queue of datums into sets, and learns from what sets took.

    slots: sets at once · work: seconds that one datum is known to take, without bookkeeping (None: not known yet) ·
    length, size: bytes that a datum adds to the command line, and bytes of its inputs.
    """

    slots: int
    spec: SetSpec
    length: Callable[[Task], int]
    size: Callable[[Task], int]
    work: float | None = None
    _begun: int = field(default=0, init=False)

    def learn(self, seconds: float, datums: int) -> None:
        """A set of so many datums took so many seconds (wall)."""
        one = max(seconds - BOOKKEEPING, 0.0) / datums
        self.work = one if self.work is None else (self.work + one) / 2

    def chunk(self, left: int) -> int:
        """How many datums make a chunk, if all are handed over at once: at least a minute's work, if that is known."""
        share = math.ceil(left / self.slots)
        return share if self.work is None else min(share, math.ceil(CHUNK / max(self.work, 0.001)))

    def _count(self, left: int, total: int) -> int:
        if self.spec.number:
            return self.spec.number
        if self.spec.per_worker:
            return math.ceil(total / (self.spec.per_worker * self.slots))
        if self.spec.size_bytes:
            return left
        if self.work is None:
            return 1  # one for each slot, to see how long they take
        return min(enough(self.work), math.ceil(left / self.slots))

    def take(self, queue: Collection[Task], total: int) -> int:
        """How many datums at the front of the queue make the next set (at least one)."""
        count = max(1, self._count(len(queue), total))
        length = size = 0
        for number, task in enumerate(islice(queue, count)):
            length += self.length(task)
            size += self.size(task) if self.spec.size_bytes else 0
            too_much = length > MAX_COMMAND // 2 or (self.spec.size_bytes and size > self.spec.size_bytes)
            if number and too_much:
                return number
        return min(count, len(queue))
