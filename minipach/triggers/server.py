"""The process of `minipach serve`: sockets, time limits, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, cast

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from minipach.support.errors import Problem, UserError
from minipach.support.heaps import limit_heaps

_HEADER_TIME = 10.0  # seconds for the headers of a request to arrive
_HEADER_LIMIT = 16_384  # bytes of the headers of a request
_UNREAD = 100_000_000  # bytes of a refused body that are taken and dropped, so that its sender gets the answer
_HEAPS = 2  # for all threads: more of them keep memory that nobody uses
_CONNECTIONS = 500  # at once; more get 503
_END_TIME = 10  # seconds for requests that are being answered when the process is to end


class _Lingering:
    """A transport whose first close ends what it sends, and no more, while the body of a request still arrives.

    The kernel resets a connection that is closed with unread data. Then the sender would not see the answer.
    """

    def __init__(self, transport: asyncio.Transport, is_unread: Callable[[], bool]) -> None:
        self._transport = transport
        self._is_unread = is_unread
        self.lingers = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Return whether nothing is to be sent any more."""
        return self.lingers or self._transport.is_closing()

    def close(self) -> None:
        """End what is sent; close the connection at the second call, or if the request has arrived as a whole."""
        if self.lingers or self._transport.is_closing() or not self._is_unread():
            self._transport.close()
            return
        self.lingers = True
        self._transport.write_eof()
        self._transport.resume_reading()


class Protocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose next request does not arrive in time (slow loris)."""

    _deadline: asyncio.TimerHandle | None = None
    _dropped = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        self._lingering = _Lingering(transport, lambda: self.conn.their_state is h11.SEND_BODY)
        super().connection_made(cast(asyncio.Transport, self._lingering))
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what arrived; drop it, if the answer was sent without it."""
        if self._lingering.lingers:
            self._dropped += len(data)
            if self._dropped > _UNREAD:
                self.transport.close()
            return
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._unwatch()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Keep a deadline while no request is being answered. More data does not extend it."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(_HEADER_TIME, self._late)

    def _late(self) -> None:
        self._deadline = None
        self.transport.close()

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """A server that ends after SIGTERM or SIGINT, without sending the signal again to itself.

    at_end: is called when it is to end.
    """

    at_end: Callable[[], None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end: long answers are to end, too."""
        if self.at_end is not None:
            self.at_end()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on these signals, meanwhile."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises UserError."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, number)
    except (OSError, UnicodeError) as error:
        raise UserError(Problem("serve.no-host", host, str(error), "name an address of this machine")) from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(512)
        found.setblocking(False)
    except OSError as error:
        found.close()
        where = f"{host}:{port}"
        raise UserError(
            Problem("serve.no-port", where, error.strerror or str(error), "choose another --port")
        ) from None
    return found


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(app: Starlette, listener: socket.socket, at_end: Callable[[], None] | None = None) -> None:
    """Answer requests until SIGTERM or SIGINT.

    Args:
        app: The application.
        listener: A socket that listens.
        at_end: Is called then, to end answers that would continue without end.
    """
    options: dict[str, Any] = {
        "http": Protocol,
        "ws": "none",
        "loop": "asyncio",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "limit_concurrency": _CONNECTIONS,
        "timeout_graceful_shutdown": _END_TIME,
        "h11_max_incomplete_event_size": _HEADER_LIMIT,
    }
    limit_heaps(_HEAPS)
    with listener:
        server = Server(uvicorn.Config(app, **options))
        server.at_end = at_end
        server.run(sockets=[listener])
