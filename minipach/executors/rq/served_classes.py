"""What a worker offers, as its signs of life tell it: slots, room on its machine, and the classes of sets it serves."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minipach.executors.rq.capacity import Room
from minipach.executors.rq.names import ResourceClass


@dataclass(frozen=True, slots=True)
class Offer:
    """Of one worker. queues: patterns of the classes that it keeps to (none: all that fit)."""

    slots: int
    room: Room
    queues: tuple[str, ...] = ()

    @staticmethod
    def of(facts: Mapping[str, Any]) -> Offer:
        """What a worker has told."""
        room = Room(facts["gpus"], facts["cpus"], facts["memory"], facts["gpu_type"])
        return Offer(facts["slots"], room, tuple(facts.get("queues", ())))

    def serves(self, kind: ResourceClass) -> bool:
        """Whether it would ever run a set of this class."""
        return bool(self.slots) and self.room.can_ever(kind) and keeps_to(kind, self.queues)


def keeps_to(kind: ResourceClass, queues: Sequence[str]) -> bool:
    """Whether a worker with these patterns serves this class."""
    return not queues or any(fnmatch.fnmatch(kind.name, pattern) for pattern in queues)


def nobody_for(kind: ResourceClass, offers: Sequence[Offer]) -> str:
    """Why none of these would ever run a set of this class; "" if one would."""
    able = [offer for offer in offers if offer.slots]
    if any(offer.serves(kind) for offer in able):
        return ""
    if not able:
        return "no worker serves this project"
    if any(offer.room.can_ever(kind) for offer in able):
        return f"no worker with --queue for {kind.name}"
    return f"no worker has {kind.name}"
