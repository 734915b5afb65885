"""Requests to the API of a forge: JSON, retries, no redirects. The token is in a header, and in no message."""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from minipach.support.errors import Problem, UserError
from minipach.support.text import printable

_PATIENCE = 30.0  # seconds for an answer
_TRIES = 5
_LONGEST = 60.0  # seconds to wait before one more try, whatever the forge asks for
_MOST = 20_000_000  # bytes of an answer
_BUSY = frozenset({429, 500, 502, 503, 504})
_UNSAFE = frozenset({"POST"})  # a repeated one may do the same twice


class AnswerError(Exception):
    """An answer that is no success. status: 0 where there was none."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        self.why = why
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Api:
    """The API of one forge.

    Args:
        url: Its address, without a slash at the end.
        headers: Are sent with each request, the token among them.
        secret: The token, which is removed from messages.
        sleep: Waits some seconds.
        now: Returns the time in seconds since 1970.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    secret: str = field(default="", repr=False)
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time

    def ask(self, method: str, path: str, data: Any = None, *, again: bool | None = None) -> Any:
        """Send a request and return its answer as data (None where it is empty).

        Args:
            method: GET, POST, PUT, PATCH or DELETE.
            path: The path after the address.
            data: Becomes the body, as JSON.
            again: Whether an unclear failure is tried again; by default, unless that could do the same twice.

        Raises:
            AnswerError: The forge refused, or did not answer.
        """
        repeats = again if again is not None else method not in _UNSAFE
        for attempt in range(_TRIES):
            try:
                return self._ask(method, path, data)
            except _Busy as busy:
                limited = busy.status in (403, 429)  # nothing was done
                if attempt == _TRIES - 1 or not (repeats or limited):
                    raise AnswerError(busy.status, busy.why) from None
                self.sleep(min(_LONGEST, busy.after if busy.after is not None else 2**attempt * random.uniform(0.5, 1)))
        raise AssertionError

    def _ask(self, method: str, path: str, data: Any) -> Any:
        body = None if data is None else json.dumps(data).encode()
        headers = {"Accept": "application/json", "User-Agent": "minipach", **self.headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with _opener.open(request, timeout=_PATIENCE) as answer:
                text = answer.read(_MOST)
        except urllib.error.HTTPError as error:
            with error:
                raise self._failed(error) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise _Busy(0, self._clean(f"no answer ({why})"), None) from None
        if not text.strip():
            return None
        try:
            return json.loads(text)
        except ValueError:
            raise AnswerError(0, "the answer is no JSON; is this the address of the API?") from None

    def _failed(self, error: urllib.error.HTTPError) -> AnswerError | _Busy:
        try:
            said = _message(json.loads(error.read(100_000)))
        except (OSError, http.client.HTTPException, ValueError):
            said = ""
        why = self._clean(f"answered {error.code}" + (f" ({said})" if said else ""))
        after = _retry_after(error.headers, self.now())
        limited = error.code == 403 and (after is not None or error.headers.get("x-ratelimit-remaining") == "0")
        if error.code in _BUSY or limited:
            return _Busy(error.code, why, after)
        return AnswerError(error.code, why)

    def _clean(self, text: str) -> str:
        plain = text.replace(self.secret, "***") if self.secret else text
        return printable(" ".join(plain.split()))[:300]


class _Busy(Exception):
    def __init__(self, status: int, why: str, after: float | None) -> None:
        self.status = status
        self.why = why
        self.after = after
        super().__init__(why)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A handler that follows nothing: the token goes where the user says."""

    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        """Return no request."""


_opener = urllib.request.build_opener(_NoRedirects)


def check_address(url: str, *, plain: bool = False) -> str:
    """Return the address of an API without a slash at its end.

    Args:
        url: The address.
        plain: Whether HTTP is allowed for other hosts, too.

    Raises:
        UserError: It is no address, or the token would go over the network in plain text.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        good = good and url.isascii() and url.isprintable() and " " not in url and not (parts.query or parts.fragment)
        host = parts.hostname or ""
        bare = parts.username is None and parts.password is None
    except ValueError:
        good, bare = False, True
    if not bare:
        raise UserError(Problem("ci.bad-address", "--api", "the address has a user or a password", "leave that out"))
    if not good:
        fix = "write an address such as --api https://forge.example.org/api/v1"
        raise UserError(Problem("ci.bad-address", "--api", "not an address of an API", fix))
    if parts.scheme == "http" and not plain and not _is_loopback(host):
        problem = f"{host} is asked without encryption, so that others could read the token"
        raise UserError(Problem("ci.plain-http", "--api", problem, "use https, or add --allow-http"))
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _retry_after(headers: Any, now: float) -> float | None:
    """Return the seconds that a forge asks to wait (Retry-After, or the reset of its rate limit)."""
    value = headers.get("retry-after")
    if value:
        try:
            return max(0.0, float(value))
        except ValueError:
            pass
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
        except (TypeError, ValueError):
            return None
    if headers.get("x-ratelimit-remaining") == "0":
        try:
            return max(0.0, float(headers.get("x-ratelimit-reset") or "") - now)
        except ValueError:
            return None
    return None


def _message(data: Any) -> str:
    """Return what a forge says of an error."""
    if isinstance(data, dict):
        for key in ("message", "error", "errors"):
            if found := data.get(key):
                return _message(found) if not isinstance(found, str) else found
        return ""
    if isinstance(data, list):
        return _message(data[0]) if data else ""
    return str(data)
