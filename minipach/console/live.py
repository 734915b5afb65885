"""Live updates by server-sent events, each with a sequence number, so that a client that was away misses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Any

from minipach.git.git_error import GitError
from minipach.support.errors import UserError

_PAUSE = 1.0  # seconds between two looks
_BUSY = 3.0  # a look that takes long is followed by a pause of so many times as long
_BEAT = 15.0  # seconds after which a line is sent that says nothing, so that both sides see a broken connection
_REMEMBERED = 500  # changes that a client which was away is sent; after more it is sent the whole state

log = logging.getLogger("minipach.console")
Rows = dict[str, Any]


class Live:
    """The changes of a project's pipelines, numbered from 1 since this process began.

    state: what differs whenever there may be a change; it is cheap · read: the rows of pipelines by name.
    """

    def __init__(self, state: Callable[[], Hashable], read: Callable[[], Rows]) -> None:
        self._state = state
        self._read = read
        self._epoch = secrets.token_hex(4)  # numbers of another process mean nothing here
        self._number = 0
        self._rows: Rows = {}
        self._changes: deque[tuple[int, Rows, list[str]]] = deque(maxlen=_REMEMBERED)
        self._news = asyncio.Event()  # each change has its own
        self._clients = 0
        self._looking: asyncio.Task[None] | None = None
        self._ended = False

    def end(self) -> None:
        """End all streams; new ones end at once."""
        self._ended = True

    async def stream(self, after: str = "") -> AsyncIterator[str]:
        """Yield the events after one that a client has seen (`EPOCH-NUMBER`), and those to come.

        A client that saw none, or one that is not known any more, gets the whole state first.
        """
        self._clients += 1
        if self._looking is None or self._looking.done():
            await self._look()
            self._looking = asyncio.create_task(self._watch())
        try:
            seen = self._place(after)
            if seen is None:
                seen = self._number
                yield self._event("state", seen, {"pipelines": self._rows})
            beat = time.monotonic()
            while not self._ended:
                for number, rows, gone in [change for change in self._changes if change[0] > seen]:
                    yield self._event("change", number, {"pipelines": rows, "gone": gone})
                    seen, beat = number, time.monotonic()
                if time.monotonic() - beat > _BEAT:
                    yield ":\n\n"
                    beat = time.monotonic()
                if self._number == seen:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), 0.5)
        finally:
            self._clients -= 1

    def _place(self, after: str) -> int | None:
        epoch, _, number = after.partition("-")
        if epoch != self._epoch or not number.isdecimal() or len(number) > 15 or int(number) > self._number:
            return None
        oldest = self._changes[0][0] if self._changes else self._number + 1
        return int(number) if int(number) >= oldest - 1 else None

    def _event(self, kind: str, number: int, data: dict[str, Any]) -> str:
        text = json.dumps({"number": number, **data}, ensure_ascii=True)
        return f"id: {self._epoch}-{number}\nevent: {kind}\ndata: {text}\n\n"

    async def _watch(self) -> None:
        """Look while there are clients."""
        last: Hashable = None
        while self._clients and not self._ended:
            began = time.monotonic()
            try:
                state = await asyncio.to_thread(self._state)
                if state != last:
                    last = state
                    await self._look()
            except (UserError, GitError, OSError, sqlite3.Error) as error:
                log.warning("console: the project can't be read now: %s", error)
            await asyncio.sleep(max(_PAUSE, _BUSY * (time.monotonic() - began)))

    async def _look(self) -> None:
        """Read the rows, and note what changed."""
        try:
            rows = await asyncio.to_thread(self._read)
        except (UserError, GitError, OSError, sqlite3.Error) as error:
            log.warning("console: the project can't be read now: %s", error)
            return
        changed = {name: row for name, row in rows.items() if self._rows.get(name) != row}
        gone = sorted(self._rows.keys() - rows.keys())
        if not changed and not gone:
            return
        self._rows = rows
        self._number += 1
        self._changes.append((self._number, changed, gone))
        self._news.set()
        self._news = asyncio.Event()
