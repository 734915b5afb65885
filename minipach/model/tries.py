"""What is told of each try of a datum: those that came to nothing, and what the last one took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Took:
    """What the last try of a datum took.

    began, ended: in unix seconds, of the datum itself in a set of several · seconds, cpu: wall and processor time, its
    share of the set's own work included · memory: peak in bytes · disk: peak of its scratch space and outputs, in bytes
    (None: not known).
    """

    began: float
    ended: float
    seconds: float
    cpu: float
    memory: int | None = None
    disk: int | None = None


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


def took(
    own: Sequence[tuple[float, float, float, float]], count: int, began: float, seconds: float, cpu: float
) -> list[Took]:
    """What each datum of a try of `count` datums took.

    own: per datum when it began and ended (unix seconds), its wall and its processor time; without, all count alike ·
    began: in unix seconds, of the try · seconds, cpu: of the whole try. What the datums themselves did not take
    (checkout, container, commit) is shared out evenly.
    """
    if len(own) != count:
        return [Took(began, began + seconds, seconds / count, cpu / count)] * count
    more = max(0.0, seconds - sum(wall for _, _, wall, _ in own)) / count
    more_cpu = max(0.0, cpu - sum(used for _, _, _, used in own)) / count
    return [Took(begin, end, wall + more, used + more_cpu) for begin, end, wall, used in own]
