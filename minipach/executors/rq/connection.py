"""The connection to Redis: where it is, as `minipach.redis` says, and one clear line where it is away."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from minipach.git.repo import Repo
from minipach.model.local_state import LocalState
from minipach.project.settings import local_setting
from minipach.support.errors import Problem, UserError

DEFAULT = "redis://127.0.0.1:6379"
_OWN_PASSWORD = LocalState.in_root(Path()).redis_password.parts
_CONNECT = 5.0  # seconds for a connection to come about
_ANSWER = 15.0  # seconds for an answer

Client: TypeAlias = Any  # a redis.Redis that gives bytes, as RQ wants it; its own types leave that open
# what a Redis that is away, begins, or is out of memory says; not what a wrong command gets
AWAY = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
)
_PASSING = ("LOADING", "MISCONF", "OOM")  # the same, where redis-py has no class for it, or a script met it


def redis_url(repo: Repo) -> str:
    """Return where Redis is.

    `MINIPACH_REDIS`, else the local setting `minipach.redis`. UserError if it is no address.
    """
    url = local_setting(repo, "redis") or DEFAULT
    if urlsplit(url).scheme not in ("redis", "rediss", "unix"):
        raise UserError(
            Problem(
                "redis.bad-address",
                "minipach.redis",
                f"{shown(url)} is no address",
                "use redis://, rediss:// (TLS) or unix:///path",
            )
        )
    return url


def shown(url: str) -> str:
    """Return an address as it may be shown: without its password, which also the query may have."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    name = f"{parts.username}@" if parts.username else ""
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, name + place, parts.path, "", ""))


def connect(repo: Repo) -> Client:
    """Return a client for the project's Redis; nothing is sent yet. UserError if the setting makes no sense."""
    url = redis_url(repo)
    password = None
    file = local_setting(repo, "redis-password-file")
    # that of `minipach up` belongs to its own server: no other gets its password
    theirs = bool(os.environ.get("MINIPACH_REDIS")) and bool(file) and Path(str(file)).parts[-4:] == _OWN_PASSWORD
    if file and not theirs and not urlsplit(url).password:
        try:
            password = Path(file).read_text().strip()
        except OSError as error:
            raise UserError(
                Problem("redis.password-file", "minipach.redis-password-file", f"{file}: {error.strerror}")
            ) from None
    more = {"password": password} if password else {}
    try:
        return redis.Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT,
            socket_timeout=_ANSWER,
            health_check_interval=15,
            retry=Retry(NoBackoff(), 1),  # a connection that Redis has closed meanwhile
            **more,
        )
    except (ValueError, redis.exceptions.RedisError):  # whose text may quote the address
        raise UserError(
            Problem(
                "redis.bad-address",
                "minipach.redis",
                f"{shown(url)} can't be read",
                "write redis://[USER:PASSWORD@]HOST[:PORT][/DB]",
            )
        ) from None


def check(client: Client, repo: Repo) -> None:
    """Raise UserError unless Redis answers and lets us in."""
    try:
        client.ping()
    except redis.exceptions.RedisError as error:
        raise UserError(away(repo, error)) from None


def passes(error: Exception) -> bool:
    """Return whether Redis may well take the same command later."""
    return isinstance(error, AWAY) or any(word in str(error) for word in _PASSING)


def away(repo: Repo, error: Exception, meanwhile: str = "") -> Problem:
    """Return the problem that Redis can't be used, and why. Never with a password.

    Args:
        repo: A repo of the project.
        error: What Redis or its client said.
        meanwhile: The consequence until it can be used again.
    """
    why = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    secret = urlsplit(redis_url(repo)).password
    if secret:
        why = why.replace(secret, "...")
    why = re.sub(r"^Command # [0-9]+ \(.*\) of pipeline caused error: ", "", why)
    fix = "see that it runs, git config minipach.redis ADDRESS, or minipach up"
    if isinstance(error, redis.exceptions.AuthenticationError):
        fix = "set MINIPACH_REDIS=redis://USER:PASSWORD@HOST"
    elif isinstance(error, redis.exceptions.NoPermissionError):
        fix = "ask its administrator to give the user what it lacks"
    elif isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM" in why:
        fix = "give it more memory (its setting maxmemory)"
    elif "MISCONF" in why:
        fix = "see its log, and whether its disk is full"
    return Problem("redis.away", f"Redis at {shown(redis_url(repo))}", f"{why}; {meanwhile}" if meanwhile else why, fix)
