"""Live updates: each change has a number, and a client that was away gets those that it missed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from minipach.console import live
from minipach.console.live import Live


class Rows:
    """Rows that a test changes."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {"edges": {"state": "new"}}

    def live(self) -> Live:
        return Live(lambda: json.dumps(self.rows), lambda: json.loads(json.dumps(self.rows)))


def parts(event: str) -> tuple[str, str, dict[str, Any]]:
    """The id, the kind and the data of an event."""
    lines = dict(line.split(": ", 1) for line in event.strip().split("\n"))
    return lines["id"], lines["event"], json.loads(lines["data"])


def run(story: Callable[[], Awaitable[None]]) -> None:
    live._PAUSE, live._BUSY = 0.01, 0.0
    asyncio.run(asyncio.wait_for(story(), 60))  # type: ignore[arg-type]


def test_a_client_that_was_away_gets_what_it_missed() -> None:
    async def story() -> None:
        rows = Rows()
        hub = rows.live()
        watching = hub.stream()
        first, kind, data = parts(await anext(watching))
        assert kind == "state" and data["pipelines"] == rows.rows
        other = hub.stream()
        await anext(other)
        for state in ("running", "current"):
            rows.rows["edges"] = {"state": state}
            rows.rows["more"] = {"state": state}
            await anext(watching)
        del rows.rows["more"]
        _, _, data = parts(await anext(watching))
        assert data["gone"] == ["more"]
        back = hub.stream(first)
        missed = [parts(await anext(back)) for _ in range(3)]
        assert [kind for _, kind, _ in missed] == ["change"] * 3
        assert [m[2]["pipelines"].get("edges", {}).get("state") for m in missed] == ["running", "current", None]

    run(story)


def test_numbers_of_another_process_or_forgotten_ones_get_the_whole_state() -> None:
    async def story() -> None:
        hub = Rows().live()
        known, _, _ = parts(await anext(hub.stream()))
        for after in ("", "x-1", known.replace("-1", "-99"), f"{known}x", "-"):
            assert parts(await anext(hub.stream(after)))[1] == "state", after

    run(story)


def test_after_its_end_streams_end() -> None:
    async def story() -> None:
        hub = Rows().live()
        stream = hub.stream()
        await anext(stream)
        hub.end()
        assert [event async for event in stream] == []

    run(story)


def test_many_clients_hear_each_change() -> None:
    async def story() -> None:
        rows = Rows()
        hub = rows.live()
        streams = [hub.stream() for _ in range(30)]
        for stream in streams:
            await anext(stream)
        for number in range(20):
            rows.rows["edges"] = {"state": str(number)}
            found = await asyncio.gather(*(anext(stream) for stream in streams))
            assert {parts(event)[2]["pipelines"]["edges"]["state"] for event in found} == {str(number)}

    run(story)
