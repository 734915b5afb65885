"""What is told of each try of a datum: those that came to nothing, and what the last one took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_SINCE_1970 = 1e9  # seconds: no machine is up for so long


@dataclass(frozen=True, slots=True)
class Took:
    """What the last try of a datum took.

    began, ended: in unix seconds, of the datum itself in a set of several · seconds, cpu: wall and processor time, its
    share of the set's own work included · memory: peak in bytes (None: not known).
    """

    began: float
    ended: float
    seconds: float
    cpu: float
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """A try that was not the last one.

    kind: `failed`, or `lost`: not the command's fault, so that it doesn't count for `datum_tries` · started, ended: in
    unix seconds (None: not known) · log: the file that has what it printed, maybe with other tries ("": not kept).
    """

    kind: str
    exit: int
    message: str
    started: float | None = None
    ended: float | None = None
    seconds: float = 0.0
    cpu: float = 0.0
    memory: int | None = None
    host: str = ""
    log: str = ""

    @staticmethod
    def of(took: Took, kind: str, code: int, message: str, host: str, log: str) -> Try:
        """A try that took this."""
        return Try(
            kind, code, message, took.began or None, took.ended or None, took.seconds, took.cpu, took.memory, host, log
        )


@dataclass(frozen=True, slots=True)
class Mark:
    """What the datum script noted after a datum: a clock, and the processor time of its processes up to then."""

    clock: float
    cpu: float


def took(marks: Sequence[Mark], count: int, began: float, seconds: float, cpu: float) -> list[Took]:
    """What each datum of a try of `count` datums took.

    marks: one before the first datum, one after each; without, all count alike · began: in unix seconds, of the try ·
    seconds, cpu: of the whole try, processor time as the kernel counts it. What the datums themselves did not take
    (checkout, container, commit) is shared out evenly.
    """
    ended = began + seconds
    pairs = list(pairwise(marks))
    own = [(after.clock - before.clock, after.cpu - before.cpu) for before, after in pairs]
    if len(own) != count or any(wall < 0 or used < 0 for wall, used in own):
        return [Took(began, ended, seconds / count, cpu / count)] * count
    offset = _boot_time(marks[-1].clock)
    if not began - 1 <= marks[0].clock + offset <= marks[-1].clock + offset <= ended + 1:
        offset = ended - marks[-1].clock  # the container has a clock of its own
    more = max(0.0, seconds - sum(wall for wall, _ in own)) / count
    # not every kind of container has its processes counted for whoever started it
    more_cpu = max(0.0, cpu - sum(used for _, used in own)) / count
    return [
        Took(before.clock + offset, after.clock + offset, wall + more, used + more_cpu)
        for (before, after), (wall, used) in zip(pairs, own, strict=True)
    ]


def _boot_time(clock: float) -> float:
    """What makes unix seconds of the datum script's clock: it counts from the machine's start, or from 1970."""
    if clock > _SINCE_1970:
        return 0.0
    try:
        return time.time() - float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
