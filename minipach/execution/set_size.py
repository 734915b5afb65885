"""The number of datums in a set: as the spec says, or by measured duration. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import islice

from minipach.model.datum import Task
from minipach.model.pipeline import SetSpec
from minipach.model.run_record import MAX_COMMAND

BOOKKEEPING = 0.5  # seconds that a set costs whatever is in it: worktree, record, container
COLD = 2.0  # seconds that it may cost where everything is cold, or the machine is busy
SHARE = 0.02  # of the work: what bookkeeping may cost, where all else costs little
LEAST = 2 * BOOKKEEPING  # seconds of work in a set, where there is so much
SHORT = 0.1  # the same for the last sets, which slots begin together
EVEN = 5.0  # seconds of work: if no more is left for a slot, it gets all of it at once
CHUNK = 60.0  # seconds of work that a chunk has at least, if that is known
TRIAL = 2.0  # seconds after which a set of datums of unknown duration begins no other one
_TRIAL_SIZE = 32 << 20  # bytes of inputs in such a set: to get them delays its first datum
_SURE = 20  # datums of which it is known how long they took
MOST = 256  # datums in a set: a lost worker costs no more than these, and their arguments fit a command line


def enough(work: float) -> int:
    """Return how many datums of so many seconds make bookkeeping a small part of their set."""
    return min(math.ceil(BOOKKEEPING * (1 - SHARE) / (SHARE * max(work, 0.001))), MOST)


def free_slots(wanted: int, slots: int, others: int) -> int:
    """Return how many of the wanted slots the running sets of others leave free; at least one."""
    return max(1, min(wanted, slots - max(0, others)))


@dataclass
class Pace:
    """The duration of one datum, without overhead, learned as sets end. work: seconds (None: not known yet)."""

    work: float | None = None
    _seen: int = field(default=0, init=False)

    def learn(self, seconds: float, datums: int, own: float = 0.0) -> None:
        """Note that a set of so many datums took so many seconds (wall).

        It counts as much as all before, or more if it is larger: the first sets are of one datum, and slow, since
        everything is cold. An executor may cut all other sets by these.

        Args:
            seconds: The duration of the set.
            datums: The number of its datums.
            own: The part that its datums themselves took; 0: not known.
        """
        others = min(max(seconds - own, BOOKKEEPING), COLD) if own else BOOKKEEPING
        one = max(seconds - others, own, 0.0) / datums
        new = datums / (datums + min(self._seen, datums))
        self.work = one if self.work is None else self.work + new * (one - self.work)
        self._seen += datums

    @property
    def sure(self) -> bool:
        """Whether it is worth to cut sets ahead of their time."""
        return self._seen >= _SURE


@dataclass
class Sizer:
    """Cuts a queue of datums into sets, and learns from what sets took.

    slots: sets at once · batched: a start of the command takes long and is shared by a set, so sets are large · trials:
    the first sets may end before all their datums have begun ·
    pace: what is known of how long a datum takes · length, size: bytes that a datum adds to the command line, and
    bytes of its inputs.
    """

    slots: int
    spec: SetSpec
    length: Callable[[Task], int]
    size: Callable[[Task], int]
    batched: bool = False
    trials: bool = False
    pace: Pace = field(default_factory=Pace)

    def chunk(self, left: int) -> int:
        """Return how many datums make a chunk, if all are submitted at once.

        At least a minute's work, if that is known.
        """
        share = math.ceil(left / self.slots)
        work = self.pace.work
        return share if work is None else min(share, math.ceil(CHUNK / max(work, 0.001)))

    def _count(self, left: int, total: int, free: int, others: bool, at_work: int | None) -> int:
        if self.spec.number:
            return self.spec.number
        if self.spec.per_worker:
            return math.ceil(total / (self.spec.per_worker * self.slots))
        if self.spec.size_bytes:
            return left
        if self.batched:
            return min(MOST, math.ceil(total / self.slots))
        if self.pace.work is None:
            # a trial shows how long they take, and gives back what it has not begun
            return min(MOST, total if others else math.ceil(total / free)) if self.trials else 1
        # Towards the end smaller ones, so that all slots end together; but none that is bookkeeping above all.
        least = math.ceil(LEAST / max(self.pace.work, 0.001))
        share = math.ceil(left / free)
        if at_work is not None and self.pace.sure:
            even = math.ceil((left + at_work) / free)  # they end together by this alone, if datums are much alike
            if even * self.pace.work <= EVEN:
                share, least = even, math.ceil(SHORT / max(self.pace.work, 0.001))
        return min(enough(self.pace.work), max(share, least))

    @property
    def is_trial(self) -> bool:
        """Whether the next set is one that may end early."""
        return self.trials and self.pace.work is None

    def take(
        self,
        queue: Collection[Task],
        total: int,
        free: int | None = None,
        *,
        others: bool = False,
        at_work: int | None = None,
    ) -> int:
        """Return how many datums at the front of the queue make the next set (at least one).

        Args:
            queue: The datums that are in no set yet.
            total: The number of datums that the round began with.
            free: The slots that the queue has now, with those that its own sets are in. None: all.
            others: Whether other pipelines would fill every slot.
            at_work: The datums that are in sets, and not done yet, about. None: not known.
        """
        count = max(1, self._count(len(queue), total, free or self.slots, others, at_work))
        length = size = 0
        most = self.spec.size_bytes or (_TRIAL_SIZE if self.is_trial else None)
        for number, task in enumerate(islice(queue, count)):
            length += self.length(task)
            size += self.size(task) if most is not None else 0
            too_much = length > MAX_COMMAND // 2 or (most is not None and size > most)
            if number and too_much:
                return number
        return min(count, len(queue))
