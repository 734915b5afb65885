"""`minipach.cli.bars`: what a terminal shows while a schedule runs."""

from __future__ import annotations

import os
import pty
import re
import select
import time
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from minipach.cli.bars import Bars, pace
from tests.fixtures.projects import MINIPACH, Study

SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/run.sh]}\ndatum_tries: 1\n'
RUN = 'sleep 2; [ "$MINIPACH_DATUM" != bad.txt ] || { echo no such column >&2; exit 3; }; cp "$images" "$PFS/out/"\n'


def drawn(bars: Bars, out: StringIO) -> str:
    """What the bars look like now."""
    bars._progress.refresh()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", out.getvalue())


def bars(names: list[str], expected: float | None = None) -> tuple[Bars, StringIO]:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=150)
    return Bars(lambda pipelines: dict.fromkeys(pipelines, names), lambda *_: expected, console), out


def test_a_bar_names_what_runs_and_what_failed() -> None:
    found, out = bars(["a.jpg", "b\x1b[2J.jpg", "c.jpg", "d.jpg", "[red]e"])
    try:
        found.draw("edges", 2, 1, 9)
        text = drawn(found, out)
    finally:
        found.stop()
    assert "edges" in text and "2/9" in text and "1 failed" in text
    assert r"now a.jpg, b\x1b[2J.jpg, c.jpg and 2 more" in text


def test_the_last_bar_says_so() -> None:
    found, _ = bars([])
    try:
        found.draw("a", 0, 0, 2)
        found.draw("b", 0, 0, 2)
        assert [found.take_off("a"), found.take_off("a"), found.take_off("b")] == [False, False, True]
    finally:
        found.stop()


@pytest.mark.parametrize(
    ("done", "ago", "expected", "words"),
    [
        (0, 7, None, ("", "0:07 so far")),
        (0, 10, 100.0, ("", "about 1:30 left")),
        (0, 200, 100.0, ("", "about 0:00 left")),
        (5, 10, None, ("30.0/min", "0:10 left")),
        (5, 10, 1.0, ("30.0/min", "0:10 left")),
        (10, 2, None, ("5.0/s", "0:00 left")),
        (1, 3600, None, ("0.0/min", "9:00:00 left")),
    ],
)
def test_rate_and_time_to_go(
    monkeypatch: pytest.MonkeyPatch, done: int, ago: float, expected: float | None, words: tuple[str, str]
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 10_000.0)
    assert pace(done, 10, 10_000.0 - ago, expected) == words


@pytest.mark.slow
def test_a_schedule_on_a_real_terminal(study: Study) -> None:
    for name in ("a.txt", "bad.txt", "c.txt"):
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.pipeline("edges", SPEC, run=RUN)
    shown = screen(study.root, "schedule", "-j", "2")
    assert re.search(r"edges .*0/3.*so far, now (a|bad)\.txt, (bad|c)\.txt", shown), shown
    assert re.search(r"edges .*[12]/3.*1 failed.*left, now c\.txt|edges .*[12]/3.*left, now", shown), shown
    assert shown.startswith("reading the project ...\n")
    assert shown.index("edges: bad.txt failed") < shown.index("edges: failed (2 computed, 1 failed)")
    assert "no such column" in shown
    assert shown.rstrip().endswith(
        "next: minipach run-one edges:bad.txt tries it with what you change; then minipach schedule"
    )


def screen(folder: Path, *command: str) -> str:
    """All that a command sends to a terminal of 150 columns, without its controls."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(
            MINIPACH[0], [*MINIPACH, *command], {**os.environ, "COLUMNS": "150", "TERM": "xterm", "NO_COLOR": ""}
        )
    data = b""
    while select.select([master], [], [], 120)[0]:
        try:
            more = os.read(master, 65536)
        except OSError:
            break
        if not more:
            break
        data += more
    os.waitpid(pid, 0)
    os.close(master)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode()).replace("\r\n", "\n").replace("\r", "\n")
