"""Cron lines: checked, and turned into ticks. Pure: the present is an argument."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from minipach.model.clock import LAST_MOMENT
from minipach.support.text import nearest

_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ZONE_FIRST = re.compile(r"(?:CRON_TZ|TZ)=(\S+)\s+")
_EVERY = re.compile(r"@every\s+((?:[0-9]{1,9}[hms])+)")
_PART = re.compile(r"([0-9]+)([hms])")
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_LONGEST = 200  # characters of a line
_EARLIER = 26 * 3600  # where to begin before a moment: a clock that is put forward delays a tick by less than this
_WINDOWS = (1, 8, 63, 400, 366 * 9, 366 * 60)  # days to look back for the last tick
EXAMPLE = "write minute, hour, day, month and weekday, as in 0 3 * * *; or @daily, or @every 10m"


class BadLineError(ValueError):
    """A cron line or a timezone that can't be used: what is wrong, and the fix."""

    def __init__(self, message: str, fix: str) -> None:
        self.message, self.fix = message, fix
        super().__init__(f"{message}; {fix}")


@dataclass(frozen=True, slots=True)
class CronLine:
    """A checked cron line. expression: for cronsim; "" for `@every` · every: its seconds."""

    expression: str
    zone: str
    every: int = 0

    def between(self, first: int, last: int, origin: int) -> Iterator[int]:
        """Yield the ticks from `first` to `last`, both included, in order.

        origin: what `@every` counts from; the origin itself is no tick.
        """
        if self.every:
            step = max(1, -(-(first - origin) // self.every))
            yield from range(origin + step * self.every, last + 1, self.every)
            return
        newest = first - 1
        begin = datetime.fromtimestamp(max(0, first - _EARLIER), UTC).astimezone(_zone(self.zone))
        simulation = CronSim(self.expression, begin)
        while True:
            try:
                moment = int(next(simulation).timestamp())
            except (StopIteration, OverflowError, ValueError):  # no tick for 50 years, or until the year 9999
                return
            if moment > last:
                return
            if moment > newest:
                newest = moment
                yield moment

    def following(self, after: int, origin: int) -> int | None:
        """Return the first tick after a moment; None: there is none for 50 years."""
        return next(self.between(after + 1, LAST_MOMENT, origin), None)

    def newest(self, first: int, last: int, origin: int) -> int | None:
        """Return the last tick from `first` to `last`; None: there is none."""
        if self.every:
            steps = (last - origin) // self.every
            found = origin + steps * self.every
            return found if steps >= 1 and found >= first else None
        for days in _WINDOWS:
            begin = max(first, last - days * 86400)
            found_here = deque(self.between(begin, last, origin), maxlen=1)
            if found_here:
                return found_here[0]
            if begin == first:
                return None
        return None


@lru_cache(maxsize=256)
def parse_line(text: str, zone: str = "") -> CronLine:
    """Return a checked cron line.

    Args:
        text: The line; `CRON_TZ=Europe/Berlin` may stand before it.
        zone: The timezone, if the line names none.

    Raises:
        BadLineError: It can't be read, or is never due.
    """
    rest = text.strip()
    if found := _ZONE_FIRST.match(rest):
        if zone and zone != found[1]:
            raise BadLineError(
                f"the line names the timezone {found[1]}, but `timezone` is {zone}", "remove one of them"
            )
        zone, rest = found[1], rest[found.end() :]
    zone = zone or "UTC"
    _zone(zone)
    if every := _EVERY.fullmatch(rest):
        seconds = sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(every[1]))
        if not 1 <= seconds <= 366 * 86400:
            raise BadLineError(f'"{rest}" is no time from a second to a year', "write @every 10m, or @every 24h")
        return CronLine("", zone, seconds)
    expression = _NAMED.get(rest.lower(), rest)
    if expression.startswith("@") or len(expression) > _LONGEST or not expression.isascii():
        raise BadLineError(f"the cron line {_shown(rest)} can't be read", EXAMPLE)
    fields = ["*" if field == "?" else field for field in expression.split()]
    expression = " ".join(fields)
    try:
        simulation = CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError, AssertionError, TypeError, RecursionError) as error:
        why = f": {str(error).lower()}" if isinstance(error, CronSimError) else ""
        raise BadLineError(f"the cron line {_shown(rest)} can't be read{why}", EXAMPLE) from None
    try:
        next(simulation)
    except StopIteration:
        raise BadLineError(f"the cron line {_shown(rest)} is never due", EXAMPLE) from None
    return CronLine(expression, zone)


def check_zone(name: str) -> None:
    """Raise BadLineError if there is no such timezone."""
    _zone(name)


def local_time(moment: int, zone: str) -> datetime:
    """Return a moment as clocks show it in a timezone."""
    return datetime.fromtimestamp(moment, UTC).astimezone(_zone(zone))


_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d\d:\d\d)?)?")


def parse_moment(text: str, zone: str = "UTC") -> int:
    """Return the moment that a text stands for, in seconds since 1970.

    Raises:
        BadLineError: It is no date or time, or before 1970.
    """
    fix = "write a date or a time, as in 2026-01-31 or 2026-01-31T03:00:00Z"
    if not _DATE.fullmatch(text):
        raise BadLineError(f"{_shown(text)} is no time", fix)
    try:
        found = datetime.fromisoformat(text.upper())
        found = found if found.tzinfo else found.replace(tzinfo=_zone(zone))
        moment = int(found.timestamp() // 1)
    except (ValueError, OverflowError):
        raise BadLineError(f"{_shown(text)} is no time", fix) from None
    if not 0 <= moment <= LAST_MOMENT:
        raise BadLineError(f"{_shown(text)} is before 1970, or after 9999", "write a time between")
    return moment


def _shown(text: str) -> str:
    short = text if len(text) <= 60 else text[:57] + "..."
    return '"' + "".join(c if c.isprintable() else "?" for c in short) + '"'


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        found = ZoneInfo(name)
        datetime(2024, 1, 1, tzinfo=found) + timedelta(0)
    except (LookupError, ValueError, OSError):
        near = nearest(name, sorted(available_timezones())) or "write a name such as Europe/Berlin, or UTC"
        raise BadLineError(f"there is no timezone {_shown(name)}", near) from None
    return found
