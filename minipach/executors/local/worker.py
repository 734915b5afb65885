"""A worker process of the local executor: it runs one set after the other.

Each worker pays for what this module imports: nothing of the scheduler.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minipach.executors.child_process import serve_all
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


if __name__ == "__main__":
    gc.disable()  # until `serve_all` has imported the rest
    from minipach.execution.run_set import stop_early

    serve_all(serve, stop_early)
