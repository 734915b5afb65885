"""A warm process of a worker: runs the sets that it is told the ids of."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minipach.execution.chunk import run_work
from minipach.executors.child_process import serve_all
from minipach.executors.sets_in_git import UnknownSetError, has_whole_result, read_set
from minipach.git.gc_lock import gc_held_off
from minipach.git.repo import GitError, Repo
from minipach.git.worktrees import Slot
from minipach.model.work_set import Outcome, WorkSet


def serve(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run one set, {"set": id, "repo": path, "slot": path, "env": {...}, "lost": n}.

    {"outcomes": [...]} (a chunk has several), or {"gone": why} if there is nothing to run any more.
    """
    repo = Repo(Path(request["repo"]))
    os.environ.update(request["env"])
    try:
        work = read_set(repo, request["set"])
        if os.path.realpath(work.repo) != os.path.realpath(repo.path):
            return {"gone": f"{repo.path}: set {work.id} is of another folder, {work.repo}"}
        if has_whole_result(repo, work):
            return {"outcomes": [json.loads(done_before(work).to_json())]}
        told: list[Outcome] = []
        with gc_held_off(repo):
            run_work(work, Slot(repo, Path(request["slot"])), told.append, request["lost"])
        return {"outcomes": [json.loads(outcome.to_json()) for outcome in told]}
    except (UnknownSetError, GitError) as error:
        return {"gone": str(error)}
    finally:
        repo.close()


def done_before(work: WorkSet) -> Outcome:
    """Return the outcome of a set whose result is there already: its worker was lost after it had done its work."""
    return Outcome(work.id, "ok", 0, "", 0.0, 1, work.log, platform.node())


if __name__ == "__main__":
    serve_all(serve)
