"""What is made of a project is made once for all who ask at once, and an error is not kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from minipach.console import gantt
from minipach.console.pages import failures, jobs
from minipach.console.reading import Reading
from tests.fixtures.consoles import HOST, console_of
from tests.fixtures.stories import troubled

TABS = 20


def test_who_asks_at_once_gets_what_is_made_once(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    together = threading.Barrier(TABS)
    made: list[object] = []

    def ask(_: int) -> object:
        together.wait()
        return reading.made("tries", 1, lambda: made.append(object()) or made[-1])

    with ThreadPoolExecutor(TABS) as tabs:
        found = list(tabs.map(ask, range(TABS)))
    assert len(made) == 1 and all(one is made[0] for one in found)
    assert reading.made("tries", 2, lambda: "newer") == "newer"


def test_an_error_is_not_kept(tmp_path: Path) -> None:
    reading = Reading(tmp_path)

    def fail() -> str:
        raise OSError("away")

    assert reading.made("tries", 1, lambda: "before") == "before"
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            reading.made("tries", 2, fail)
    assert reading.made("tries", 2, lambda: "back") == "back"


def test_twenty_tabs_at_once_cost_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    console = console_of(troubled())
    calls: list[str] = []

    def count(module: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(module, name)

        def counted(*given: Any, **more: Any) -> Any:
            calls.append(name)
            return real(*given, **more)

        monkeypatch.setattr(module, name, counted)

    count(jobs, "timeline_of")
    count(jobs, "as_columns")
    count(jobs, "critical_path")
    count(gantt, "as_svg")
    count(failures, "failures_of_last_jobs")

    async def open_tabs() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=console.app(), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            pages = ("job?id=edges", "bars?id=edges", "failures.json")
            asked = [asyncio.create_task(client.get(f"{console.prefix}/{page}")) for page in pages * TABS]
            gone = asyncio.create_task(client.get(f"{console.prefix}/job?id=edges"))
            await asyncio.sleep(0)
            gone.cancel()  # somebody closes a tab; the others wait on
            return await asyncio.gather(*asked)

    answers = asyncio.run(open_tabs())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 3, "all tabs show the same"
    assert sorted(calls) == ["as_columns", "as_svg", "critical_path", "failures_of_last_jobs", "timeline_of"]
