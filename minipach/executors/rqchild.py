"""A warm process of a worker: sets by id as JSON lines on stdin, outcomes as JSON lines on stdout.

When stdin ends while a set runs, the worker is gone: the set's whole process tree ends at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minipach.chunk import run_work
from minipach.executors.local import end_group
from minipach.executors.setrefs import UnknownSetError, has_whole_result, read_set
from minipach.git import GitError, Repo
from minipach.sets import Outcome, WorkSet
from minipach.slots import Slot


def serve_all(serve: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
    """Serve requests until stdin ends: {"set": id, "repo": path, "slot": path, "env": {...}}."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not end up among the answers
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    busy = threading.Event()

    def listen() -> None:
        for line in sys.stdin.buffer:
            busy.set()
            requests.put(line)
        requests.put(None)
        if busy.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, end_group)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker ends us
    threading.Thread(target=listen, daemon=True).start()
    import datalad_container.containers_run  # noqa: F401

    answers.write("\n")  # warm
    answers.flush()
    while (line := requests.get()) is not None:
        answers.write(json.dumps(serve(json.loads(line))) + "\n")
        answers.flush()
        busy.clear()


def serve(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run one set; {"outcomes": [...]} (a chunk has several), or {"gone": why} if there is nothing to run any more."""
    repo = Repo(Path(request["repo"]))
    os.environ.update(request["env"])
    try:
        work = read_set(repo, request["set"])
        if os.path.realpath(work.repo) != os.path.realpath(repo.path):
            return {"gone": f"{repo.path}: set {work.id} is of another folder, {work.repo}"}
        if has_whole_result(repo, work):
            return {"outcomes": [json.loads(done_before(work).to_json())]}
        told: list[Outcome] = []
        run_work(work, Slot(repo, Path(request["slot"])), told.append)
        return {"outcomes": [json.loads(outcome.to_json()) for outcome in told]}
    except (UnknownSetError, GitError) as error:
        return {"gone": str(error)}
    finally:
        repo.close()


def done_before(work: WorkSet) -> Outcome:
    """The outcome of a set whose result is there already: its worker was lost after it had done its work."""
    return Outcome(work.id, "ok", 0, "", 0.0, 1, work.log, platform.node())


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # the worker is gone; so are we
        serve_all(serve)
