"""Cron lines: what is due when, on the nights when clocks change too."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipach.spec.cron_line import BadLineError, parse_line, parse_moment


def at(text: str) -> int:
    return parse_moment(text)


def due(line: str, zone: str, first: str, last: str) -> list[str]:
    found = parse_line(line, zone).between(at(first), at(last), at(first))
    return [datetime.fromtimestamp(tick, UTC).astimezone(ZoneInfo(zone)).strftime("%d %H:%M %z") for tick in found]


@pytest.mark.parametrize(
    ("zone", "night", "line", "expected"),
    [
        # put forward: a fixed time in the gap comes once, at the first minute after it
        ("Europe/Berlin", "2026-03-29", "30 2 * * *", ["29 03:00 +0200"]),
        ("Europe/Berlin", "2026-03-29", "0,30 2 * * *", ["29 03:00 +0200"]),
        ("America/New_York", "2026-03-08", "30 2 * * *", ["08 03:00 -0400"]),
        ("Australia/Lord_Howe", "2026-10-04", "15 2 * * *", ["04 02:30 +1100"]),
        # put back: a fixed time that comes twice is due once, the first time
        ("Europe/Berlin", "2026-10-25", "30 2 * * *", ["25 02:30 +0200"]),
        ("America/New_York", "2026-11-01", "30 1 * * *", ["01 01:30 -0400"]),
        ("Australia/Lord_Howe", "2026-04-05", "45 1 * * *", ["05 01:45 +1100"]),
    ],
)
def test_a_fixed_time_is_due_once_on_both_nights(zone: str, night: str, line: str, expected: list[str]) -> None:
    day = datetime.fromisoformat(night).replace(tzinfo=ZoneInfo(zone))
    first = int(day.timestamp())
    last = int(day.replace(hour=23, minute=59).timestamp())
    found = parse_line(line, zone).between(first, last, first)
    assert [datetime.fromtimestamp(t, ZoneInfo(zone)).strftime("%d %H:%M %z") for t in found] == expected


@pytest.mark.parametrize(
    ("zone", "first", "last", "count"),
    [
        ("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", 46),
        ("Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z", 50),
        ("America/New_York", "2026-03-08T05:00:00Z", "2026-03-09T03:59:59Z", 46),
        ("America/New_York", "2026-11-01T04:00:00Z", "2026-11-02T04:59:59Z", 50),
        ("Australia/Lord_Howe", "2026-10-03T13:30:00Z", "2026-10-04T12:59:59Z", 47),
        ("Australia/Lord_Howe", "2026-04-04T13:00:00Z", "2026-04-05T13:29:59Z", 49),
    ],
)
def test_an_interval_goes_on_through_both_nights(zone: str, first: str, last: str, count: int) -> None:
    found = list(parse_line("*/30 * * * *", zone).between(at(first), at(last), 0))
    assert len(found) == count
    assert {b - a for a, b in pairwise(found)} == {1800}


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia"]
LINES = ["30 2 * * *", "*/20 * * * *", "0 */7 * * *", "15 1 1,15 * *", "0 0 * * 0", "45 1 * * *", "@daily", "@every 7h"]
MOMENTS = st.integers(1_293_840_000, 1_924_991_999)  # 2011 to 2030


@settings(deadline=None)
@given(st.sampled_from(ZONES), st.sampled_from(LINES), MOMENTS, st.integers(0, 9 * 86400), st.integers(0, 9 * 86400))
def test_ticks_do_not_depend_on_where_one_begins_to_look(zone: str, text: str, first: int, one: int, two: int) -> None:
    line, origin, last = parse_line(text, zone), 1_000_000_000, first + one + two
    whole = list(line.between(first, last, origin))
    assert whole == sorted(set(whole)) and all(first <= tick <= last for tick in whole)
    middle = first + one
    assert [*line.between(first, middle, origin), *line.between(middle + 1, last, origin)] == whole
    assert line.newest(first, last, origin) == (whole[-1] if whole else None)
    following = line.following(middle, origin)
    assert following is not None
    assert following == next((tick for tick in whole if tick > middle), following) and following > middle


def test_years_past_2038_are_like_others() -> None:
    assert due("0 3 1 1 *", "UTC", "2037-06-01", "2040-06-01") == ["01 03:00 +0000"] * 3


def test_every_counts_from_the_start() -> None:
    line = parse_line("@every 90s")
    assert list(line.between(0, 400, 100)) == [190, 280, 370]
    assert list(line.between(280, 280, 100)) == [280]
    assert line.newest(0, 189, 100) is None and line.newest(0, 300, 100) == 280


def test_the_zone_of_a_line() -> None:
    assert parse_line("CRON_TZ=Europe/Berlin 0 3 * * *").zone == "Europe/Berlin"
    assert parse_line("TZ=Asia/Tokyo @daily").zone == "Asia/Tokyo"
    with pytest.raises(BadLineError, match="the line names the timezone Asia/Tokyo, but `timezone` is Europe/Berlin"):
        parse_line("TZ=Asia/Tokyo @daily", "Europe/Berlin")


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "61 * * * *", "0 0 30 2 *", "0 0 31 2,4 *", "@reboot", "@every", "@every 0s", "@every 1d",
     "*/0 * * * *", "5-1 * * * *", "a b c d e", "0 3 * * *; rm -rf /", "٣ 3 * * *", "0 " * 500, "CRON_TZ= 0 3 * * *",
     "1,,2 * * * *", "0 0 * * L", "0 0 * * #", "-", "0 0 L-3 * *"],
)  # fmt: skip
def test_a_line_that_is_none_is_an_error_with_a_fix(text: str) -> None:
    with pytest.raises(BadLineError) as found:
        parse_line(text)
    assert found.value.fix and "\n" not in str(found.value)


@settings(deadline=None)
@given(st.text(max_size=30) | st.text("0123456789*/-,L#@ MONJA?", max_size=30))
def test_any_text_is_a_line_or_an_error(text: str) -> None:
    try:
        line = parse_line(text)
    except BadLineError:
        return
    assert line.following(1_700_000_000, 0) is not None


@pytest.mark.parametrize("zone", ["Europe/Brelin", "../../etc/passwd", "/etc/passwd", "Europe", "", "\0", "A" * 300])
def test_a_timezone_that_is_none(zone: str) -> None:
    with pytest.raises(BadLineError):
        parse_line(f"CRON_TZ={zone} @daily")
    if zone == "Europe/Brelin":
        with pytest.raises(BadLineError, match=r"use .Europe/Berlin"):
            parse_line("@daily", zone)


def test_moments() -> None:
    assert parse_moment("2026-01-31", "Europe/Berlin") == parse_moment("2026-01-30T23:00:00Z")
    assert parse_moment("2026-01-31T03:00:00+02:00") == parse_moment("2026-01-31T01:00:00Z")
    for text in ("yesterday", "2026-02-30", "1969-12-31", "20260131", "2026-01-31T25:00:00Z", "0001-01-01"):
        with pytest.raises(BadLineError):
            parse_moment(text)
