"""The memory of the watcher and the receiver over a long run, with a commit or a signed event now and then."""

from __future__ import annotations

import http.client
import time
from pathlib import Path

from common import (
    BenchmarkError,
    call,
    conditions,
    median,
    minipach,
    new_pipeline,
    new_project,
    parser,
    simple_spec,
    table,
    workplace,
)
from receiver import SECRET, serving
from watch import use_of, wait, watching

from minipach.triggers.payloads import sample


def send(port: int, number: int) -> None:
    """Send one signed push."""
    headers, body = sample("github", SECRET, time.time(), f"delivery-{number}")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/hooks/github", body, dict(headers))
    status = connection.getresponse().status
    connection.close()
    if status != 202:
        raise BenchmarkError(f"the event was answered with {status}")


def run(project: Path, minutes: float, pause: float) -> list[list[str]]:
    """Return rows for the table: minute, events, memory of both, CPU seconds of both with their passes."""
    rows, number = [], 0
    began = time.monotonic()
    shown = began - 1
    with watching(project, 300) as watcher, serving(project) as (receiver, port):
        while time.monotonic() < began + minutes * 60:
            (project / "images" / f"file-{number}").write_text(f"{number}")
            call("git", "-C", "images", "add", f"file-{number}", cwd=project)
            call("git", "-C", "images", "commit", "-q", "-m", "x", cwd=project)
            send(port, number)
            number += 1
            wait(project)
            now = time.monotonic()
            if now >= shown:
                shown = now + 60
                uses = [use_of(process.pid) for process in (watcher, receiver)]
                memory = [f"{use.memory:.1f}" for use in uses]
                rows.append([f"{(now - began) / 60:.0f}", f"{number}", *memory, *(f"{use.cpu:.1f}" for use in uses)])
                print(" ".join(rows[-1]), flush=True)
            time.sleep(pause)
    left = [name for n in range(number) if not (project / "edges" / (name := f"file-{n}")).exists()]
    if left:
        raise BenchmarkError(f"no result of {left[:3]}")
    return rows


def main() -> None:
    """Build a project, run, print the beginning, the middle and the end."""
    options = parser(__doc__ or "")
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--pause", type=float, default=10, help="seconds between two events")
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions() + "\n")
        project = new_project(scratch / "project", "images")
        new_pipeline(project, simple_spec("/*"), script='cp "$images" "$PFS/out/"\n')
        (project / "images" / "first").write_text("first")
        call("datalad", "save", "-d", ".", "-r", "-m", "x", cwd=project)
        minipach(project, "schedule")
        rows = run(project, chosen.minutes, chosen.pause)
        titles = ["minute", "events of each", "watcher MB", "receiver MB", "watcher CPU s", "receiver CPU s"]
        print()
        table(titles, [rows[0], rows[len(rows) // 2], rows[-1]])
        for name, column in (("watcher", 2), ("receiver", 3)):
            early, late = ([float(row[column]) for row in part] for part in (rows[1:11] or rows, rows[-10:]))
            print(f"{name}: median of minutes 1 to 10 {median(early):.1f} MB, of the last 10 {median(late):.1f} MB")


if __name__ == "__main__":
    main()
