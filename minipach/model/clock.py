"""The clock of an input: when its ticks are due. A tick is a moment, in whole seconds since 1970 (UTC)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
TICK_GLOB = "/[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z"
LAST_MOMENT = 253402300799  # the end of the year 9999: a name has four digits for the year
TICK_REPO_BEGAN = 946684800  # the date of the first commit of each repo of ticks: 2000-01-01


@dataclass(frozen=True, slots=True)
class Clock:
    """The times at which an input gets a new tick, and the policy for missed ones.

    line: a cron line, or `@every 60s` · zone: its timezone · start, end: the first and the last moment (None: the
    moment at which the repo of ticks was made; no end) · overwrite: only the newest tick stays · depends_on_past: a
    tick waits until the one before it has succeeded · max_active_runs: at most so many ticks have no result yet (0: no
    limit) · expired_limit: a missed tick that is older than so many seconds is not made up (None: no limit).
    """

    line: str
    zone: str = "UTC"
    start: int | None = None
    end: int | None = None
    overwrite: bool = False
    depends_on_past: bool = False
    max_active_runs: int = 0
    expired_limit: int | None = None


def tick_name(tick: int) -> str:
    """Return the name of a tick's file: its time in UTC, as in RFC 3339."""
    return datetime.fromtimestamp(tick, UTC).strftime("%04Y-%m-%dT%H:%M:%SZ")


def tick_of(name: str) -> int | None:
    """Return the tick that a file's name stands for; None: it is no tick."""
    if not _NAME.fullmatch(name):
        return None
    try:
        found = datetime.strptime(name, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(found.timestamp())


def tick_content(tick: int) -> bytes:
    """Return the content of a tick's file. It differs, so that no two ticks are the same content."""
    return f"{tick_name(tick)}\n".encode()


def tick_committer(tick: int) -> str:
    """Return who commits a tick, and when: the same on each machine, so that the commits are the same."""
    return f"minipach <minipach@localhost> {tick} +0000"
