"""Warm child processes of an executor: requests as JSON lines on stdin, answers as JSON lines on stdout.

When stdin ends while a request is worked on, the parent is gone: the child's whole process tree ends at once, since
nobody would know of it any more.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn, Protocol, TextIO

from minipach.git.child_environment import child_environment
from minipach.model.launch_protocol import LAUNCHER_GRACE
from minipach.model.repo_layout import LAUNCHER

QUIET = {
    "DATALAD_LOG_LEVEL": "error",
    "DATALAD_UI_PROGRESSBAR": "none",
    # datalad's worker threads poll with sleeps of 0.1 s: for the few files of a set, one after the other is faster
    "DATALAD_RUNTIME_MAX__JOBS": "0",
}


class WorkerProcess(Protocol):
    """The part of a child's process that an executor needs. `subprocess.Popen` has it."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    returncode: int | Any

    @property
    def pid(self) -> int:
        """The number of the process, and of its group."""

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises subprocess.TimeoutExpired."""


def spawn(module: str, *arguments: str, without: Iterable[str] = ()) -> subprocess.Popen[bytes]:
    """Return a child that runs `python -m module`, as a group that can be ended as a whole.

    without: variables of the environment that it does not get.
    """
    env = child_environment(QUIET)
    for name in without:
        env.pop(name, None)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
        start_new_session=True,
    )


def ended_within(process: WorkerProcess, seconds: float) -> bool:
    """Wait for the end of a child that gets no more requests, and return whether it came. Its answers are dropped.

    The end of its answers says so at once. `wait` with a timeout would sleep, and look again.
    """
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as answers:
        answers.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0 and answers.select(left):
            if not os.read(process.stdout.fileno(), 65536):
                break
    try:
        process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


# --- in the child --------------------------------------------------------------------------------------------


def serve_all(
    serve: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    stop_early: Callable[[], bool] | None = None,
    *,
    runs_sets: bool = True,
) -> NoReturn:
    """Serve requests until stdin ends, then end this process. The first answer is an empty line: warm.

    stop_early: asked when this process must end; whether what it serves can still give something if its launcher ends ·
    runs_sets: whether it needs what sets run with.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not end up among the answers

    ending = threading.Event()

    def end(number: int, frame: object) -> None:
        ending.set()
        if stop_early is None or not stop_early():
            end_group(number, frame)
        signal.signal(signal.SIGTERM, end_group)
        end_launchers()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us

    with contextlib.suppress(BrokenPipeError):  # the parent is gone; so are we
        requests, asked_to_end = sys.stdin.buffer, lambda: os.kill(os.getpid(), signal.SIGTERM)
        answer(requests, answers, serve, import_runner if runs_sets else _import_nothing, asked_to_end, ending)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # what datalad does when Python ends takes 0.2 s, and there is nothing left to do


def import_runner() -> None:
    """Import what sets run with. Imports leave next to nothing to collect, and looking for it takes a tenth of them.

    What is there afterwards stays until the end, so later collections leave it out.
    """
    gc.disable()
    try:
        from minipach.git.datalad_imports import import_containers_run

        import_containers_run()
    finally:
        gc.freeze()
        gc.enable()


def _import_nothing() -> None:
    pass


def answer(
    requests: BinaryIO,
    answers: TextIO,
    serve: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    warm: Callable[[], None],
    end: Callable[[], None],
    ending: threading.Event | None = None,
) -> None:
    """Answer one request after the other; the parent sends the next one when it has the answer to the one before.

    warm: called once, while requests are read already. end: called if the requests end while one is worked on ·
    ending: set when no further request shall be served.
    """
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    busy = threading.Event()

    def listen() -> None:
        for line in requests:
            busy.set()
            lines.put(line)
        lines.put(None)
        if busy.is_set():
            end()

    threading.Thread(target=listen, daemon=True).start()
    warm()
    answers.write("\n")
    answers.flush()
    while (line := lines.get()) is not None:
        done = json.dumps(serve(json.loads(line)))
        busy.clear()  # before the answer is out: from then on, the next request may come
        answers.write(done + "\n")
        answers.flush()
        if ending is not None and ending.is_set():
            return


def end_launchers() -> None:
    """Ask the launchers of this child to end; what they have finished they report."""
    for launcher in _launchers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(launcher, signal.SIGTERM)


def end_group(_number: int, _frame: object) -> None:
    """Handle a signal: ask this child's whole process tree to end, then end it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + LAUNCHER_GRACE
    while time.monotonic() < deadline and _launcher_runs():
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)


def _launcher_runs() -> bool:
    """Return whether a launcher of this child is still ending its command (Linux; elsewhere it has half a second)."""
    if not os.path.isdir("/proc/self"):
        time.sleep(0.5)
        return False
    return bool(_launchers())


def _launchers() -> list[int]:
    """Return the launchers of this child."""
    group = os.getpgid(0)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # `sh .minipach/launch IMAGE ...`; datalad's own `sh -c '...'` names it too, and ends with it
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if LAUNCHER.encode() in words[:8] and os.getpgid(int(entry.name)) == group:
                found.append(int(entry.name))
    return found
