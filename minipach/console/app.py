"""The console as an application of HTTP: who may ask, which page it is, and in which form it is sent."""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from minipach.console.actions import NAMES, Started, action
from minipach.console.addresses import address, values_of
from minipach.console.compose import given_spec, saved
from minipach.console.live import Live
from minipach.console.pages.compose import compose
from minipach.console.pages.datum import VERSIONS, chosen_file
from minipach.console.pages.jobs import job_bars
from minipach.console.pages.page import Asked, Page
from minipach.console.pages.registry import PAGES, as_text
from minipach.console.previews import kind_of
from minipach.console.reading import Reading
from minipach.console.rendering import STATIC, fingerprint, render
from minipach.console.strip import letters
from minipach.git.git_error import GitError
from minipach.git.repo import is_dataset
from minipach.project.lock import project_lock
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.text import quoted
from minipach.views.datum_files import at_version, place_of, read_file
from minipach.views.datum_table import STATES

ROOT = "/c"  # what all addresses of the console begin with; the token follows
_FORM = 65_536  # bytes of a form
_SPEC_FORM = 400_000  # bytes of a form that has a spec
_FIELDS = 400
_FILE = 20_000_000  # bytes of a file in git that is sent
_SMALL = 1_000_000  # bytes of an annexed file; larger ones are sent in pieces
_SCRIPT = "text/javascript; charset=utf-8"
ASSETS = {
    "console.css": "text/css; charset=utf-8",
    "console.js": _SCRIPT,
    "strip.js": _SCRIPT,
    "gantt.js": _SCRIPT,
    "volume.js": _SCRIPT,
    "compose.js": _SCRIPT,
    "niivue.umd.js": _SCRIPT,
}
_SCRIPTS = {  # of pages, besides
    "pipeline": ("strip.js",),
    "datum": ("volume.js",),
    "job": ("gantt.js",),
    "compose": ("compose.js",),
}
PACKED = frozenset({"niivue.umd.js"})  # kept and sent compressed
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
        self._others = {"file": self._file, "strip": self._strip, "at": self._at, "bars": self._bars}
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
        return {row.name: row.as_json() for row in self._reading.summary().status}

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
        if page in ASSETS:
            return _asset(page)
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
            if word in self._others:
                return self._others[word](values)
            asked = Asked(self._reading, values, self.prefix, waits=form != "html", can_act=self._actions)
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
            text = f"{page.title}\n\n{as_text(page.data)}"
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
            older=asked.older,
            scripts=_SCRIPTS.get(name, ()),
            saved=_saved(asked),
            version={asset: fingerprint(f"{asset}.gz" if asset in PACKED else asset) for asset in ASSETS},
            **page.context,
        )
        return _sent(page.status, text.encode("utf-8", "backslashreplace"), "text/html; charset=utf-8")

    def _file(self, values: Mapping[str, str]) -> Response:
        """Send a file of a datum, by its number among them: no path is asked for."""
        project = self._reading.project()
        number, commit = values.get("file", ""), values.get("commit", "")
        path = project.path_of(values.get("pipeline", ""))
        file = chosen_file(self._reading, path, values.get("name", ""), number)
        if commit:
            older = at_version(file, commit, VERSIONS) if file.side == "output" else None
            if older is None:
                raise UserError(Problem("console.no-file", commit, "the file has no such version", "see its history"))
            file = older
        headers = {"Content-Security-Policy": "sandbox; default-src 'none'"}
        there = place_of(file)
        if there is not None and (size := there.stat().st_size) > _SMALL:
            with there.open("rb") as opened:
                kind = kind_of(file.path, opened.read(_SMALL))
            headers |= {"Content-Type": kind, "Content-Length": str(size)}
            return StreamingResponse(_pieces(there), headers={**HEADERS, **headers})
        content = read_file(file, _FILE)
        if content.data is None:
            raise UserError(Problem("console.no-content", number, "the content is not on this machine", "datalad get"))
        return _sent(200, content.data, kind_of(file.path, content.data), headers)

    def _strip(self, values: Mapping[str, str]) -> Response:
        """Send a letter for each datum of a pipeline, after a line that says which datums these are."""
        table = self._reading.soon_table(self._reading.project().path_of(values.get("pipeline", ""))).value
        state = values.get("state", "")
        shown = letters(table, state if state in STATES else "", values.get("find", ""))
        return _sent(200, f"{table.fingerprint}\n{shown}".encode(), "text/plain; charset=utf-8")

    def _bars(self, values: Mapping[str, str]) -> Response:
        """Send all tries of a job as columns of JSON."""
        packed = {"Content-Encoding": "gzip"}
        return _sent(200, job_bars(Asked(self._reading, values, self.prefix)), "application/json", packed)

    def _at(self, values: Mapping[str, str]) -> Response:
        """Lead to the datum at a place of the strip; to the pipeline, if the strip is another by now."""
        path = self._reading.project().path_of(values.get("pipeline", ""))
        table = self._reading.soon_table(path).value
        place = values.get("row", "")
        where = address(self.prefix, "pipeline", pipeline=path)
        is_same = values.get("of", "") == table.fingerprint
        if is_same and place.isdecimal() and len(place) < 10 and int(place) < len(table.rows):
            where = address(self.prefix, "datum", pipeline=path, name=table.rows[int(place)].name)
        return RedirectResponse(where, 303, headers=HEADERS)

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
        forms = {"act": self._start, "compose": self._compose}
        if page not in forms or not _is_of_same_origin(request):
            return _plain(403, "This form was not sent from a page of the console.\n", request)
        most = _FORM if page == "act" else _SPEC_FORM
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > most:
                return _plain(413, "The form is too large.\n", request)
        values = values_of(bytes(body), most, _FIELDS)
        return await run_in_threadpool(forms[page], values)

    def _compose(self, values: Mapping[str, str]) -> Response:
        """Show the effect of a spec that was sent, or save it."""
        asked = Asked(self._reading, values, self.prefix, waits=False, can_act=True)
        try:
            if values.get("do") != "save":
                return self._sent_page(compose(asked), "html", "compose", asked, head=False)
            project = self._reading.project()
            try:
                spec = given_spec(project, values)
                with project_lock(project.local.lock, wait=False, notify=log.info):
                    done = saved(project, spec, values)
            except UserError as error:
                kept = compose(asked)
                shown = [*kept.data["failed"], *problems_json(error.problems)]
                kept.context["failed"] = list({problem["text"]: problem for problem in shown}.values())
                return self._sent_page(replace(kept, status=409), "html", "compose", asked, head=False)
            where = {} if done.branch else {"pipeline": spec.path}
            page = "pipeline" if where else ""
            return RedirectResponse(address(self.prefix, page, **where, saved=done.commit), 303, HEADERS)
        except UserError as error:
            return self._sent_page(_failed(error, 400), "html", "", asked, head=False)
        except (GitError, OSError, sqlite3.Error) as error:
            log.warning("console: %s", error)
            problem = Problem("console.unreadable", "", f"the project can't be read now: {error}")
            return self._sent_page(_failed(UserError(problem), 503), "html", "", asked, head=False)

    def _start(self, values: Mapping[str, str]) -> Response:
        asked = Asked(self._reading, values, self.prefix)
        try:
            project = self._reading.project()
            self._started.start(
                action(project, values.get("action", ""), values.get("pipeline", ""), values.get("datum", ""))
            )
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


def _saved(asked: Asked) -> tuple[str, str] | None:
    """Return the commit that a form has just made, and the command that takes it back; "" where it is on a branch."""
    commit, path = asked.value("saved"), asked.value("pipeline")
    if not asked.can_act or not re.fullmatch("[0-9a-f]{40}", commit):
        return None
    if not path:
        return commit, ""
    project = asked.reading.project()
    where = path if is_dataset(project.root / path) else project.holder_of(path)
    return commit, f"git -C {quoted(where or '.')} revert --no-edit {commit[:12]}"


def _asset(name: str) -> Response:
    kept = {"Cache-Control": "max-age=86400"}
    if name in PACKED:
        return _sent(200, (STATIC / f"{name}.gz").read_bytes(), ASSETS[name], {**kept, "Content-Encoding": "gzip"})
    return _sent(200, (STATIC / name).read_bytes(), ASSETS[name], kept)


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while piece := opened.read(1 << 18):
            yield piece


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
