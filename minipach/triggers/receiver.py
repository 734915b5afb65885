"""The receiver: an HTTP server that hears push events of forges and events of buckets, and starts passes.

It answers at once, and does nothing else itself: a line in `.git/minipach/heard`, then a pass in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from minipach.git.git_error import GitError
from minipach.model.local_state import LocalState
from minipach.project.project import Project, find_project
from minipach.support.errors import UserError
from minipach.support.text import printable
from minipach.support.validation import InvalidError, parse_object
from minipach.triggers import alerts
from minipach.triggers.bucket_listener import Listeners
from minipach.triggers.due_times import LINE, DueTimes
from minipach.triggers.heard_lines import unanswered, write_request
from minipach.triggers.payloads import read
from minipach.triggers.receiver_status import keep
from minipach.triggers.signatures import FORGES, EventRefusedError, Headers, verify
from minipach.triggers.starter import Starter
from minipach.triggers.webhook_secrets import Access, access, missing

BODY_LIMIT = 4_000_000  # bytes; GitHub sends at most 25 MB, with thousands of commits in one push
_BODY_TIME = 20.0  # seconds for a body to arrive
_FRESH = 5.0  # seconds after which secrets are read again
_TURN = 5.0  # seconds between two looks whether a pass was killed
_ALERTS = 30.0  # seconds between two looks whether an alert is due
_CLOCKS = 300.0  # seconds after which clocks are read again without a pass
_REMEMBERED = 1000  # delivery ids

log = logging.getLogger("minipach.serve")


class Receiver:
    """The routes of the server, and what they count. every: seconds between two looks without an event; 0: none."""

    def __init__(self, project: Project, *, every: float, body_limit: int = BODY_LIMIT) -> None:
        self._project = project
        self._state: LocalState = project.local
        self._every = every
        self._limit = body_limit
        self._access: Access = access(project.repo)
        self._read_at = time.monotonic()
        self._starter = Starter(project)
        self._due_times = DueTimes(project)
        self._clocks_read = 0.0
        self._clocks_for = -1  # passes that had ended when the clocks were read
        self._wake = asyncio.Event()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._deliveries: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._background: asyncio.Task[None] | None = None
        self._last: dict[str, dict[str, str]] = {}  # by forge and outcome: what and when
        self._changed = True

    def app(self, more: Sequence[BaseRoute] = ()) -> Starlette:
        """Return the ASGI application. more: routes of others that it answers, too."""
        routes = [
            Route("/hooks/{forge}", self._hook, methods=["POST"]),
            Route("/healthz", self._health, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            *more,
        ]
        return Starlette(routes=routes, lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        write_request(self._state, "serve: begins")  # events may have been missed
        loop = asyncio.get_running_loop()
        self._listeners = Listeners(self._project, lambda: _wake(loop, self._wake))
        self._background = asyncio.create_task(self._turns())
        try:
            with self._state.serving.open("a"):  # open while this process lives
                yield
        finally:
            self._background.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._background
            self._listeners.stop()

    async def _turns(self) -> None:
        """Start passes: after an event, at due times, and regularly."""
        looked = evaluated = time.monotonic()
        while True:
            try:
                if self._every and time.monotonic() - looked >= self._every:
                    looked = time.monotonic()
                    write_request(self._state, "serve: looks")
                if time.monotonic() - evaluated >= _ALERTS:
                    evaluated = time.monotonic()
                    alerts.evaluate_in_background(find_project(self._project.root))
                await asyncio.to_thread(self._listeners.follow)
                await asyncio.to_thread(self._look_at_clocks)
                await asyncio.to_thread(self._starter.turn)
                if self._changed:
                    self._changed = False
                    keep(self._state, self._access.forges, self._last)
            except (OSError, UserError, GitError) as error:
                log.error("serve: no pass can be started: %s", error)
            waits = (_TURN, self._every or _TURN, self._due_times.seconds())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait for wait in waits if wait is not None)):
                    await self._wake.wait()
            self._wake.clear()

    def _look_at_clocks(self) -> None:
        """Write a line if a tick is due. The clocks are read again after each pass, and every few minutes."""
        full = time.monotonic() - self._clocks_read >= _CLOCKS
        if full or self._clocks_for != self._starter.ended:
            self._clocks_for = self._starter.ended
            self._clocks_read = time.monotonic()
            self._due_times.read(again=full)
        if self._due_times.is_due():
            write_request(self._state, LINE)

    # --- routes ---

    async def _hook(self, request: Request) -> Response:
        forge = request.path_params["forge"]
        if forge not in FORGES:
            return _answer(404, "there is no such hook")
        try:
            headers = Headers([(k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers.raw])
            body = await self._body(request, headers)
            await self._check(forge, headers, body)
            event = (
                await asyncio.to_thread(read, forge, headers, body)
                if len(body) > 100_000
                else read(forge, headers, body)
            )
        except EventRefusedError as error:
            outcome = {400: "malformed", 401: "refused", 408: "slow", 413: "too-large"}.get(error.status, "unavailable")
            self._note(forge, outcome, str(error))
            answers = {401: "the signature is missing or wrong", 503: "not available now"}
            response = _answer(error.status, answers.get(error.status, str(error)))
            if error.status in (408, 413):
                response.headers["Connection"] = "close"
            return response
        except ClientDisconnect:
            self._note(forge, "malformed", "the sender went away")
            return _answer(400, "the body ended early")
        again = self._is_known(forge, event.delivery)
        what = event.what + (f" ({event.delivery}{', again' if again else ''})" if event.delivery else "")
        if not event.counts:
            self._note(forge, "ignored", what)
            return _answer(202, "ignored")
        try:
            write_request(self._state, f"{forge}: {what}")
        except OSError as error:
            self._note(forge, "unavailable", f"{what}: {error}")
            return _answer(503, "not available now")
        self._note(forge, "heard", what)
        self._wake.set()
        return _answer(202, "heard")

    async def _body(self, request: Request, headers: Headers) -> bytes:
        """Return the body. Raises EventRefusedError if it is too large or takes too long; then the rest isn't read."""
        length = headers.get("Content-Length") or "0"
        if not length.isdecimal() or int(length[:20]) > self._limit:
            raise EventRefusedError(413, f"the body has more than {self._limit} bytes")
        found = bytearray()
        try:
            async with asyncio.timeout(_BODY_TIME):
                async for piece in request.stream():
                    found += piece
                    if len(found) > self._limit:
                        raise EventRefusedError(413, f"the body has more than {self._limit} bytes")
        except TimeoutError:
            raise EventRefusedError(408, f"the body took longer than {_BODY_TIME:.0f} s") from None
        return bytes(found)

    async def _check(self, forge: str, headers: Headers, body: bytes) -> None:
        """Raise EventRefusedError unless the sender may start a pass."""
        if time.monotonic() - self._read_at > _FRESH:
            self._read_at = time.monotonic()
            try:
                self._access = await asyncio.to_thread(access, self._project.repo)
            except (UserError, GitError, OSError) as error:
                self._access = Access({}, frozenset())  # until that is mended, nobody
                log.error("serve: %s", printable(str(error)))
        if forge in self._access.unsigned:
            return
        secrets = self._access.secrets.get(forge, ())
        if not secrets:
            raise EventRefusedError(401, str(missing(forge)))
        verify(forge, headers, body, secrets, time.time())

    def _is_known(self, forge: str, delivery: str) -> bool:
        """Return whether a delivery id was seen before. That decides nothing: it is for the log."""
        if not delivery:
            return False
        key = forge, delivery
        known = key in self._deliveries
        self._deliveries[key] = None
        self._deliveries.move_to_end(key)
        while len(self._deliveries) > _REMEMBERED:
            self._deliveries.popitem(last=False)
        return known

    def _note(self, forge: str, outcome: str, what: str) -> None:
        self._counts[forge, outcome] += 1
        now = datetime.now(UTC).isoformat(timespec="seconds")
        kind = "heard" if outcome in ("heard", "ignored") else "refused"
        self._last.setdefault(forge, {}).update({kind: now, f"{kind}_what": printable(what)})
        self._changed = True
        log.info("%s %s: %s: %s", now, forge, outcome, what)

    async def _health(self, _request: Request) -> Response:
        if not os.access(self._state.folder, os.W_OK) or self._background is None or self._background.done():
            return PlainTextResponse("not able to start passes\n", 503)
        return PlainTextResponse("ok\n")

    async def _metrics(self, _request: Request) -> Response:
        rows = [
            "# HELP minipach_events_total Events by sender and outcome.",
            "# TYPE minipach_events_total counter",
            *(f'minipach_events_total{{forge="{f}",outcome="{o}"}} {n}' for (f, o), n in sorted(self._counts.items())),
            "# HELP minipach_passes_started_total Passes that this process has started.",
            "# TYPE minipach_passes_started_total counter",
            f"minipach_passes_started_total {self._starter.started}",
            "# HELP minipach_unanswered_lines Lines that no pass has answered yet.",
            "# TYPE minipach_unanswered_lines gauge",
            f"minipach_unanswered_lines {unanswered(self._state)}",
        ]
        if last := _last_pass(self._state.looked):
            rows += [
                "# HELP minipach_last_pass_timestamp_seconds Begin of the last pass that has ended.",
                "# TYPE minipach_last_pass_timestamp_seconds gauge",
                f"minipach_last_pass_timestamp_seconds {last[0]:.0f}",
                "# HELP minipach_last_pass_seconds Duration of that pass.",
                "# TYPE minipach_last_pass_seconds gauge",
                f"minipach_last_pass_seconds {last[1]:g}",
                "# HELP minipach_last_pass_problems Problems of that pass.",
                "# TYPE minipach_last_pass_problems gauge",
                f"minipach_last_pass_problems {last[2]}",
            ]
        return PlainTextResponse("\n".join(rows) + "\n", media_type="text/plain; version=0.0.4")


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the process ends
        loop.call_soon_threadsafe(event.set)


def _answer(status: int, outcome: str) -> Response:
    return JSONResponse({"outcome": outcome}, status)


def _last_pass(looked: Path) -> tuple[float, float, int] | None:
    """Return when the last pass began, its seconds and the number of its problems."""
    try:
        data = parse_object(looked.read_bytes())
        began = datetime.fromisoformat(data["at"]).timestamp()
        return began, float(data["seconds"]), len(data["problems"])
    except (OSError, InvalidError, KeyError, TypeError, ValueError):
        return None
