"""The console of a large project: its first page after a change, its other pages, its memory, and 20 tabs."""

from __future__ import annotations

import contextlib
import http.client
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

from common import (
    MINIPACH,
    BenchmarkError,
    check_out,
    conditions,
    minipach,
    new_pipeline,
    new_project,
    parser,
    simple_spec,
    table,
    workplace,
)
from forge import import_files, publish_forged
from watch import use_of

from minipach.model.job_entries import Attempt, DatumResult, Took, Try
from minipach.project.project import find_project
from minipach.records.job_history import open_ledger

JOB = "f" * 64  # the id of the job whose tries are made up
TABS = 20
OLDER = b"Updating: this is what was last known"


def path_of(number: int) -> str:
    """The path of an input: a thousand in a folder."""
    return f"d{number // 1000:03d}/img-{number:06d}.dat"


def build(root: Path, datums: int) -> Path:
    """A project with a pipeline whose datums are all published."""
    project = new_project(root, "images")
    import_files(project / "images", map(path_of, range(datums)))
    check_out(project / "images")
    new_pipeline(project, simple_spec("/*/*"))
    publish_forged(project)
    check_out(project / "edges")
    minipach(project, "schedule")
    return project


@contextlib.contextmanager
def shown(project: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the console; yield its process and its link."""
    log = project / ".git" / "minipach" / "ui.log"
    with log.open("wb") as out:
        command = [*MINIPACH, "ui", "--no-open", "--port", "0"]
        process = subprocess.Popen(command, cwd=project, stdout=out, stderr=out)
    try:
        while not (found := re.search(r"http://\S+", log.read_text())):
            if process.poll() is not None:
                raise BenchmarkError(log.read_text())
            time.sleep(0.05)
        yield process, found[0]
    finally:
        process.terminate()
        process.wait()


def get(link: str, page: str) -> tuple[float, bytes]:
    """Fetch a page; the seconds until all of it is here, and its content."""
    place = urlsplit(link)
    connection = http.client.HTTPConnection(place.netloc, timeout=600)
    began = time.monotonic()
    connection.request("GET", place.path + page)
    answer = connection.getresponse()
    data = answer.read()
    seconds = time.monotonic() - began
    connection.close()
    if answer.status != 200:
        raise BenchmarkError(f"{page}: {answer.status} {data[:300]!r}")
    return seconds, data


class Views:
    """Rows of the table of one process: page, wall seconds, CPU seconds of the server, size, memory."""

    def __init__(self, process: subprocess.Popen[bytes], link: str) -> None:
        self.rows: list[list[str]] = []
        self._process = process
        self._link = link

    def view(self, what: str, page: str) -> bytes:
        """Look at a page."""
        before = use_of(self._process.pid).cpu
        seconds, data = get(self._link, page)
        self._add(what, seconds, before, data)
        return data

    def until_now(self, what: str, page: str) -> None:
        """Look at a page until it shows the state of now."""
        before, began = use_of(self._process.pid).cpu, time.monotonic()
        while OLDER in (data := get(self._link, page)[1]):
            time.sleep(1)
        self._add(what, time.monotonic() - began, before, data)

    def at_once(self, what: str, pages: list[str]) -> None:
        """Look at pages from 20 tabs at once."""
        before, began = use_of(self._process.pid).cpu, time.monotonic()
        sizes: list[int] = []

        def look(number: int) -> None:
            sizes.append(len(get(self._link, pages[number % len(pages)])[1]))

        tabs = [threading.Thread(target=look, args=(number,)) for number in range(TABS)]
        for tab in tabs:
            tab.start()
        for tab in tabs:
            tab.join()
        if len(sizes) != TABS:
            raise BenchmarkError(f"{what}: {len(sizes)} of {TABS} tabs have an answer")
        self._add(what, time.monotonic() - began, before, b" " * sum(sizes))

    def _add(self, what: str, seconds: float, cpu: float, data: bytes) -> None:
        use = use_of(self._process.pid)
        older = "older" if OLDER in data else ""
        sizes = [f"{len(data) / 1000:.0f}", f"{use.memory:.0f}", older]
        self.rows.append([what, f"{seconds:.2f}", f"{use.cpu - cpu:.2f}", *sizes])
        print(*self.rows[-1], sep="  ", flush=True)


def add_tries(project: Path, datums: int) -> None:
    """Note a job of made-up tries: each fourth datum has two, each tenth failed."""
    ledger = open_ledger(find_project(project))
    began = time.time() - datums / 5
    with ledger.together():
        key = ledger.start_job(JOB, "edges")
        for number in range(datums):
            at, host = began + number / 5, f"host{number % 16}"
            before = (Try("failed", 1, "no", at, at + 1, 1.0, host=host),) if number % 4 == 0 else ()
            kind = "failed" if number % 10 == 0 else "ok"
            result = DatumResult(0, kind, int(kind != "ok"), "", took=Took(at + 1, at + 2.5, 1.5, 1.0, 50_000_000))
            more = {"before": before}
            tried = Attempt(path_of(number), f"{number:064x}", result, 1 + len(before), host, "", at, at + 3, **more)
            ledger.add_attempt(key, "edges", tried)
        ledger.end_job(key, "failed", Counter(), "")
    ledger.close()


def change(project: Path, first: int, last: int, salt: str) -> None:
    """Commit new contents of some inputs."""
    import_files(project / "images", map(path_of, range(first, last)), salt=salt)
    check_out(project / "images")


def main() -> None:
    """Build a project, look at its pages, print."""
    options = parser(__doc__ or "")
    options.add_argument("--datums", type=int, default=100_000)
    options.add_argument("--project", type=Path, help="use a project that this benchmark has built")
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions() + "\n")
        project = chosen.project or build(scratch / "project", chosen.datums)
        name = quote(path_of(7))
        pages = [
            ("overview", ""),
            ("pipeline", "pipeline?pipeline=edges"),
            ("pipeline, last page", "pipeline?pipeline=edges&page=1000"),
            ("pipeline, by state, filtered", "pipeline?pipeline=edges&find=d05&sort=state"),
            ("strip", "strip?pipeline=edges"),
            ("datum", f"datum?pipeline=edges&name={name}"),
            ("failures", "failures"),
        ]
        with shown(project) as (process, link):
            views = Views(process, link)
            views.view("overview, first of this process", "")
            views.until_now("overview of now", "")
            change(project, 10, 40, f"{time.time()}")
            views.view("overview, after a change of 30 inputs", "")
            views.until_now("overview of now", "")
            change(project, 0, chosen.datums, f"{time.time()}")
            views.view("overview, after a change of all inputs", "")
            views.until_now("overview of now", "")
            views.view("pipeline, after it", pages[1][1])
            views.until_now("pipeline of now", pages[1][1])
            for _ in range(2):
                for what, page in pages:
                    views.view(what, page)
            add_tries(project, chosen.datums)
            tabs = [f"job?id={JOB}", f"job?id={JOB}&lanes=worker", f"bars?id={JOB}&lanes=datum"]
            tabs += [f"bars?id={JOB}&lanes=worker", "pipeline?pipeline=edges", "", "failures"]
            for what in ("first", "again", "and again"):
                views.at_once(f"20 tabs of a job and others at once, {what}", tabs)
            streams = [tab(link) for _ in range(TABS)]
            views.view("overview, 20 tabs listen", "")
            for stream in streams:
                stream.close()
        print()
        table(["page", "wall s", "CPU s", "kB", "memory MB", "state"], views.rows)


def tab(link: str) -> http.client.HTTPConnection:
    """Listen to the events, as a tab does."""
    place = urlsplit(link)
    connection = http.client.HTTPConnection(place.netloc, timeout=600)
    connection.request("GET", place.path + "events")
    if connection.getresponse().status != 200:
        raise BenchmarkError("no events")
    return connection


if __name__ == "__main__":
    main()
