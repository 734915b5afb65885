"""Logs of workers that share no filesystem with the project: their last part comes through Redis, when a set has ended.

And, for those who follow, what a set prints meanwhile: a bounded stream for each, written every second or so. What is
sent is what is in the log, which holds no secret. To lose some of it, or all, costs a set nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.exceptions import RedisError

from minipach.executors.rq.connection import Client
from minipach.executors.rq.names import Names
from minipach.model.work_set import WorkSet
from minipach.records.job_logs import MOST_SENT, end_of_log, lost_log, split_log

_PLACE = re.compile(rb"[0-9]{1,15}")
_KEEP = 14 * 24 * 3600  # seconds
_KEEP_TAIL = 24 * 3600  # seconds after the last that a set has printed
_EVERY = 1.0  # seconds between two looks at what is printed
_PIECE = 64 * 1024  # bytes that are sent at a time, at most: of more, the last
_ENTRY = 128  # bytes that Redis needs for an entry of a stream beside its text, about


# --- of a set that has ended -----------------------------------------------------------------------------------


def send_log(client: Client, names: Names, set_id: str, path: Path) -> None:
    """Send the end of a log, which takes the place of what was sent while it grew."""
    try:
        data = end_of_log(path)
    except OSError:
        return
    with contextlib.suppress(redis.exceptions.ResponseError), client.pipeline() as pipe:  # a full Redis, say
        pipe.set(names.log(set_id), data, ex=_KEEP)
        pipe.delete(names.tail(set_id))
        pipe.srem(names.tails, set_id)
        pipe.execute()


def send_lost_log(client: Client, names: Names, set_id: str, number: int, path: Path) -> None:
    """Send the end of the log of a try (from 1) whose process was lost."""
    with contextlib.suppress(OSError, redis.exceptions.ResponseError):
        client.set(names.lost_log(set_id, number), end_of_log(path), ex=_KEEP)


def keep_tail(client: Client, names: Names, set_id: str, number: int) -> None:
    """Keep what a lost worker had sent as the log of its try, unless that log came; another begins now."""
    with contextlib.suppress(redis.exceptions.ResponseError):
        if not client.exists(names.lost_log(set_id, number)) and (data := _tail(client, names, set_id)):
            client.set(names.lost_log(set_id, number), data, ex=_KEEP)


def _tail(client: Client, names: Names, set_id: str) -> bytes:
    return b"".join(fields.get(b"text", b"") for _, fields in client.xrange(names.tail(set_id)))[-MOST_SENT:]


def receive_log(client: Client, names: Names, work: WorkSet, lost: int = 0, *, last: bool = True) -> None:
    """Write the log of a set where `minipach logs` looks for it, if it came through Redis.

    lost: how many tries there were whose worker was lost · last: whether the one after them came to its end.
    """
    keys = [names.log(work.id), *(names.lost_log(work.id, n) for n in range(1, lost + 1 + (not last)))]
    # MGET gives nothing for what is of another kind
    data, *before = (text if text is None else text[-2 * MOST_SENT :] for text in client.mget(keys))
    for number, text in enumerate(before[:lost], 1):
        _write_log(Path(lost_log(work.log, number)), text, len(work.parts))
    if data is None and not last:
        with contextlib.suppress(redis.exceptions.ResponseError):  # of another kind
            data = before[lost] or _tail(client, names, work.id) or None
    _write_log(Path(work.log), data, len(work.parts))


def _write_log(path: Path, data: bytes | None, count: int) -> None:
    if data is None:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_bytes(data)
        os.replace(new, path)  # as a whole: somebody may follow it
        if count > 1:
            with contextlib.suppress(ValueError):  # its beginning is cut off
                split_log(path, count)


# --- of sets that run ------------------------------------------------------------------------------------------


@dataclass
class _Sent:
    """The length of the log that was sent, and the sizes of the entries that its stream still has."""

    since: float
    place: int = 0
    begun: bool = False
    sizes: deque[int] = field(default_factory=deque)


class Tails:
    """Sends what running sets print. Never raises; a set that ends within a second costs nothing at all."""

    def __init__(self, folder: Path) -> None:
        """folder: where the sets' logs are, each named after its set."""
        self._folder = folder
        self._sets: dict[str, _Sent] = {}
        self._looked = 0.0

    def send(self, client: Client, names: Names, running: Collection[str]) -> None:
        """Send what these sets have printed since, if it is time to look."""
        now = time.monotonic()
        if now - self._looked < _EVERY:
            return
        self._looked = now
        self._sets = {i: self._sets.get(i) or _Sent(now) for i in running}
        for set_id, sent in self._sets.items():
            if now > sent.since:  # not at first sight: most sets are short
                with contextlib.suppress(OSError, RedisError):
                    self._send_one(client, names, set_id, sent)

    def _send_one(self, client: Client, names: Names, set_id: str, sent: _Sent) -> None:
        with (self._folder / f"{set_id}.log").open("rb") as file:
            size = file.seek(0, 2)
            if size == sent.place:
                return
            if size < sent.place:  # begun again
                sent.place, sent.begun = 0, False
            place = max(sent.place, size - _PIECE)
            file.seek(place)
            data = file.read(_PIECE)
        key = names.tail(set_id)
        with client.pipeline() as pipe:
            if not sent.begun:
                # what another try or worker had sent goes (MAXLEN, below), not the key: Redis would then number from
                # the clock again, and who has read some of this very millisecond would take the new ones for read
                sent.sizes.clear()
            sent.sizes.append(len(data) + _ENTRY)
            while sum(sent.sizes) > MOST_SENT:
                sent.sizes.popleft()
            pipe.xadd(key, {"at": place, "text": data}, maxlen=len(sent.sizes), approximate=False)
            pipe.expire(key, _KEEP_TAIL)
            pipe.sadd(names.tails, set_id)
            pipe.expire(names.tails, _KEEP_TAIL)
            pipe.execute()
        sent.place, sent.begun = place + len(data), True


class TailReader:
    """Reads what running sets print, from its beginning, as far as that is there. Never raises."""

    def __init__(self, client: Client, names: Names) -> None:
        self._client = client
        self._names = names
        self._last: dict[str, bytes] = {}

    def new(self, sets: Iterable[str]) -> Mapping[str, list[tuple[int, bytes]]]:
        """Return what is new, by set: (offset in its log, text) in order; a new log begins at a lower offset."""
        with contextlib.suppress(RedisError):
            there = {member.decode("utf-8", "replace") for member in self._client.smembers(self._names.tails)}
            wanted = sorted(there.intersection(sets))
            if not wanted:
                return {}
            with self._client.pipeline(transaction=False) as pipe:
                for set_id in wanted:
                    pipe.xread({self._names.tail(set_id): self._last.get(set_id, b"0")})
                answers = [() if isinstance(a, Exception) else a for a in pipe.execute(raise_on_error=False)]
            found = {}
            for set_id, answer in zip(wanted, answers, strict=True):
                entries = [entry for _, rows in answer for entry in rows]
                if entries:
                    self._last[set_id] = entries[-1][0]
                    rows = [(fields.get(b"at", b""), fields.get(b"text", b"")) for _, fields in entries]
                    found[set_id] = [(int(at), text) for at, text in rows if _PLACE.fullmatch(at)]
            return found
        return {}
