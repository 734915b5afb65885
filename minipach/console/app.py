"""The console as an application of HTTP: who may ask, which page it is, and in which form it is sent."""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from minipach.console import pages
from minipach.console.actions import NAMES, Started, action
from minipach.console.addresses import address, values_of
from minipach.console.live import Live
from minipach.console.pages import PAGES, Asked, Page
from minipach.console.previews import kind_of
from minipach.console.reading import Reading
from minipach.console.rendering import STATIC, fingerprint, render
from minipach.git.repo import GitError
from minipach.planning.status import project_status
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError, problems_json
from minipach.views.datum_files import files_of_datum, read_file

ROOT = "/c"  # what all addresses of the console begin with; the token follows
_FORM = 65_536  # bytes of a form
_FILE = 20_000_000  # bytes of a file that is sent
_ASSETS = {"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"}
_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_HELP = 'Open the link that "minipach ui" prints.\n'

log = logging.getLogger("minipach.console")


class Console:
    """The routes of the console.

    token: part of each address; who does not have it sees nothing · actions: whether buttons work · hosts: names of
    this machine besides those of the loopback interface that a browser may ask for.
    """

    def __init__(self, project: Project, token: str, *, actions: bool = False, hosts: tuple[str, ...] = ()) -> None:
        self._token = token
        self._actions = actions
        self._hosts = frozenset(host.lower() for host in hosts)
        self._reading = Reading(project.root)
        self._started = Started(project.root)
        self._live = Live(self._reading.state, self._rows)
        self.prefix = f"{ROOT}/{token}"

    def routes(self) -> list[Route]:
        """Return the routes, for an application that has others, too."""
        methods = ["GET", "HEAD", "POST"]
        return [Route(f"{ROOT}/{{token}}/{{page:path}}", self._answer, methods=methods), Route("/", self._nothing)]

    def app(self) -> Starlette:
        """Return an application that has the console alone."""
        return Starlette(routes=self.routes())

    def end(self) -> None:
        """End the streams of events, so that the server can end."""
        self._live.end()

    def _rows(self) -> dict[str, Any]:
        return {row.name: row.as_json() for row in project_status(self._reading.project())}

    # --- who may ask ---

    async def _nothing(self, request: Request) -> Response:
        return _plain(404, _HELP, request)

    async def _answer(self, request: Request) -> Response:
        given = request.path_params["token"].encode("utf-8", "replace")
        if not self._is_our_name(request.headers.get("host", "")):
            return _plain(403, "This server has another name.\n", request)
        if not hmac.compare_digest(given, self._token.encode()):
            return _plain(404, _HELP, request)
        page = request.path_params["page"]
        if request.method == "POST":
            return await self._act(request, page)
        if page in _ASSETS:
            return _sent(200, (STATIC / page).read_bytes(), _ASSETS[page], {"Cache-Control": "max-age=86400"})
        if page == "events":
            return self._events(request)
        query = request.scope.get("query_string", b"")
        return await run_in_threadpool(self._page, page, values_of(query), request.method == "HEAD")

    def _is_our_name(self, host: str) -> bool:
        """Return whether a Host header is an address or `localhost`: a name could be one of an attacker's DNS."""
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        name = name.strip("[]").lower()
        if name == "localhost" or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    # --- pages ---

    def _page(self, word: str, values: Mapping[str, str], head: bool) -> Response:
        name, form = word, "html"
        for ending in ("json", "txt"):
            if word.endswith(f".{ending}"):
                name, form = word[: -len(ending) - 1], ending
        name = "" if name == "index" else name
        try:
            if word == "file":
                return self._file(values)
            asked = Asked(self._reading, values, self.prefix)
            if name not in PAGES:
                raise UserError(Problem("console.no-page", word, "no such page", "begin at the overview"))
            found = PAGES[name](asked)
        except UserError as error:
            found = _failed(error, 404)
            asked = Asked(self._reading, values, self.prefix)
        except (GitError, OSError, sqlite3.Error) as error:
            log.warning("console: %s", error)
            found = _failed(
                UserError(Problem("console.unreadable", "", f"the project can't be read now: {error}")), 503
            )
            asked = Asked(self._reading, values, self.prefix)
        return self._sent_page(found, form, name, asked, head=head)

    def _sent_page(self, page: Page, form: str, name: str, asked: Asked, *, head: bool) -> Response:
        if form == "json":
            data = {"schema": 1, **page.data}
            return _sent(page.status, json.dumps(data, ensure_ascii=True).encode(), "application/json")
        if form == "txt":
            text = f"{page.title}\n\n{pages.as_text(page.data)}"
            return _sent(page.status, text.encode("utf-8", "backslashreplace"), "text/plain; charset=utf-8")
        if head:
            return _sent(page.status, b"", "text/html; charset=utf-8")
        others = {end: asked.url(f"{name or 'index'}.{end}", **asked.values) for end in ("json", "txt")}
        text = render(
            page.template,
            title=page.title,
            project=self._reading.name,
            data=page.data,
            url=asked.url,
            name=name,
            others=others,
            actions=NAMES if self._actions else (),
            started=self._started.as_json(),
            version={asset: fingerprint(asset) for asset in _ASSETS},
            **page.context,
        )
        return _sent(page.status, text.encode("utf-8", "backslashreplace"), "text/html; charset=utf-8")

    def _file(self, values: Mapping[str, str]) -> Response:
        """Send a file of a datum, by its number among them: no path is asked for."""
        project = self._reading.project()
        number = values.get("file", "")
        files = files_of_datum(project, project.path_of(values.get("pipeline", "")), values.get("name", ""))
        if not number.isdecimal() or len(number) > 9 or int(number) >= len(files):
            raise UserError(Problem("console.no-file", number, "the datum has no such file", "go back to its page"))
        content = read_file(files[int(number)], _FILE)
        if content.data is None:
            raise UserError(Problem("console.no-content", number, "the content is not on this machine", "datalad get"))
        kind = kind_of(files[int(number)].path, content.data)
        return _sent(200, content.data, kind, {"Content-Security-Policy": "sandbox; default-src 'none'"})

    def _events(self, request: Request) -> Response:
        values = values_of(request.scope.get("query_string", b""))
        after = request.headers.get("last-event-id") or values.get("after", "")

        async def stream() -> AsyncIterator[str]:
            async for event in self._live.stream(after):
                yield event

        return StreamingResponse(stream(), media_type="text/event-stream", headers=HEADERS)

    # --- actions ---

    async def _act(self, request: Request, page: str) -> Response:
        if not self._actions:
            return _plain(403, "The console only shows. Start it with --actions.\n", request)
        if page != "act" or not _is_of_same_origin(request):
            return _plain(403, "This form was not sent from a page of the console.\n", request)
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > _FORM:
                return _plain(413, "The form is too large.\n", request)
        values = values_of(bytes(body))
        return await run_in_threadpool(self._start, values)

    def _start(self, values: Mapping[str, str]) -> Response:
        asked = Asked(self._reading, values, self.prefix)
        try:
            project = self._reading.project()
            self._started.start(action(project, values.get("action", ""), values.get("pipeline", "")))
        except UserError as error:
            return self._sent_page(_failed(error, 400), "html", "", asked, head=False)
        page = "pipeline" if values.get("pipeline") else ""
        back = address(self.prefix, page, pipeline=values.get("pipeline", "")) if page else f"{self.prefix}/"
        return RedirectResponse(back, 303, headers=HEADERS)


def _is_of_same_origin(request: Request) -> bool:
    """Return whether a form was sent from a page of this server. Other programs than browsers send neither header."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site not in (None, "same-origin"):
        return False
    return origin is None or origin == f"http://{request.headers.get('host', '')}"


def _failed(error: UserError, status: int) -> Page:
    return Page(
        "Not found" if status == 404 else "Problem",
        "problem.html",
        {"problems": problems_json(error.problems)},
        status=status,
    )


def _plain(status: int, text: str, request: Request) -> Response:
    del request
    return _sent(status, text.encode(), "text/plain; charset=utf-8")


def _sent(status: int, body: bytes, kind: str, more: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers={**HEADERS, **(more or {}), "Content-Type": kind})
