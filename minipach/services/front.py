"""The port of a service on this machine: each connection is passed on to the program that serves just then."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

ADDRESS = "127.0.0.1"
_PIECE = 1 << 16  # bytes
_MOST = 512  # connections of a service at once

T = TypeVar("T")
Connect = Callable[[], socket.socket | None]


class Loop:
    """The thread in which the connections of all services are passed on."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; what is still open is cut."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()


class Front:
    """One port. It listens from `serve` on, until `close`."""

    def __init__(self, loop: Loop, port: int) -> None:
        self._loop = loop.loop
        self._port = port
        self._connect: Connect | None = None
        self._server: asyncio.Server | None = None
        self._open: dict[Connect, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, connect: Connect) -> None:
        """Pass new connections on to a program. Raises OSError where the port is taken."""
        self._connect = connect
        if self._server is None:
            self._server = self._call(asyncio.start_server(self._pass_on, ADDRESS, self._port, limit=_PIECE))

    def in_use(self, connect: Connect) -> int:
        """Return how many connections to a program are open."""
        return self._open.get(connect, 0)

    def close(self) -> None:
        """Listen no more, and cut what is open."""
        server, self._server, self._connect = self._server, None, None
        if server is not None:
            self._call(self._end(server))

    async def _end(self, server: asyncio.Server) -> None:
        server.close()
        for task in list(self._tasks):
            task.cancel()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connect = self._connect
        task = asyncio.current_task()
        if connect is None or len(self._tasks) >= _MOST or task is None:
            writer.close()
            return
        self._tasks.add(task)
        self._open[connect] = self._open.get(connect, 0) + 1
        try:
            found = await asyncio.to_thread(connect)
            if found is not None:
                found.setblocking(False)
                inner, outer = await asyncio.open_connection(sock=found, limit=_PIECE)
                try:
                    await asyncio.gather(_copy(reader, outer), _copy(inner, writer))
                finally:
                    outer.close()
        except (OSError, asyncio.CancelledError):
            pass  # one of the two has gone away, or the service is ended
        finally:
            self._tasks.discard(task)
            self._open[connect] -= 1
            if not self._open[connect]:
                del self._open[connect]
            writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass bytes on until their end, and then the end."""
    while data := await source.read(_PIECE):
        target.write(data)
        await target.drain()
    with contextlib.suppress(OSError, RuntimeError):
        target.write_eof()
