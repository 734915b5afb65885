"""A thousand datums watched live: what a page knows is what `status` says, no change is missed, memory has a bound."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.consoles import shown
from tests.fixtures.projects import PATIENCE, Study

DATUMS = 1000
TABS = 20
COPY = 'for f in "$images"; do cp "$f" "$PFS/out/"; done\n'


class Watcher(threading.Thread):
    """What a page does: it follows the events, and keeps the rows of pipelines."""

    def __init__(self, link: str) -> None:
        super().__init__(daemon=True)
        self.link = link
        self.rows: dict[str, Any] = {}
        self.numbers: list[int] = []

    def run(self) -> None:
        kind = ""
        with httpx.stream("GET", f"{self.link}events", timeout=None) as answer:
            try:
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        kind = line.removeprefix("event: ")
                    if line.startswith("data: "):
                        self.take(kind, json.loads(line.removeprefix("data: ")))
            except httpx.HTTPError:
                return

    def take(self, kind: str, data: dict[str, Any]) -> None:
        rows = {} if kind == "state" else dict(self.rows)
        rows |= data["pipelines"]
        for name in data.get("gone", ()):
            rows.pop(name, None)
        self.rows = rows
        self.numbers.append(data["number"])


def memory(pid: int) -> int:
    """Return the resident memory of a process, in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_watched_is_what_status_says(study: Study, tmp_path: Path) -> None:
    for number in range(DATUMS):
        study.put(f"images/{number:04}", f"{number}\n", save=False)
    study.save("images")
    more = "datum_set_spec: {number: 100}\nminipach: {publish: available}\n"
    text = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/copy.sh]}\n' + more
    study.pipeline("edges", text, copy=COPY)
    with shown(study, tmp_path / "log") as console:
        watchers = [Watcher(console.link) for _ in range(TABS)]
        for watcher in watchers:
            watcher.start()
        httpx.get(f"{console.link}pipeline.json?pipeline=edges", timeout=PATIENCE)
        before = memory(console.process.pid)
        job = subprocess.Popen([sys.executable, "-m", "minipach", "schedule"], cwd=study.root)
        seen = 0
        while True:
            ended = job.poll() is not None
            seen += follows(study, watchers)
            if ended:
                break
            time.sleep(1)
        assert job.returncode == 0 and seen
        assert watchers[0].rows["edges"]["counts"]["current"] == DATUMS
        for watcher in watchers:
            assert watcher.numbers == list(range(watcher.numbers[0], watcher.numbers[-1] + 1)), "none is missed"
            assert watcher.rows == watchers[0].rows
        for _ in range(30):
            assert httpx.get(f"{console.link}pipeline?pipeline=edges", timeout=PATIENCE).status_code == 200
        assert memory(console.process.pid) - before < 150_000


def follows(study: Study, watchers: list[Watcher]) -> bool:
    """Wait until all know what `status` says; False if that has changed meanwhile."""
    said = status(study)
    deadline = time.monotonic() + PATIENCE
    while any(watcher.rows != said for watcher in watchers):
        if status(study) != said:
            return False
        assert time.monotonic() < deadline, (said, watchers[0].rows)
        time.sleep(0.2)
    return True


def status(study: Study) -> dict[str, Any]:
    return {row["name"]: row for row in study.minipach("status", "--json").json["pipelines"]}
