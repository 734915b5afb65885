"""A worker process of the local executor: it runs one set after the other.

Each worker pays for what this module imports: nothing of the scheduler. With the number of a socket as its argument,
the program is the fork server of such workers.
"""

from __future__ import annotations

import gc
import json
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from minipach.executors.child_process import import_runner, serve_all
from minipach.executors.local.fork_server import serve_forks
from minipach.git.child_environment import entered
from minipach.git.repo import Repo
from minipach.git.worktrees import Slot
from minipach.model.work_set import WorkSet


def serve(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a set: {"slot": path, "work": set, "lost": n, "env": {...}} becomes its outcome."""
    from minipach.execution.run_set import run_set

    work = WorkSet.from_json(request["work"])
    with entered(request["env"]):
        outcome = run_set(work, Slot(Repo(Path(work.repo)), Path(request["slot"])), request["lost"])
    answer: dict[str, Any] = json.loads(outcome.to_json())
    return answer


def _work() -> NoReturn:
    from minipach.execution.run_set import stop_early

    serve_all(serve, stop_early)


def _prepare() -> None:
    from minipach.execution import run_set

    assert run_set
    import_runner()


if __name__ == "__main__":
    gc.disable()  # until all is imported
    if sys.argv[1:]:
        serve_forks(socket.socket(fileno=int(sys.argv[1])), _prepare, _work)
    _work()
