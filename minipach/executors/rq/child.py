"""A warm process of a worker. It gets ids of sets on stdin and runs those sets."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minipach.execution.chunk import done_before, run_rest
from minipach.execution.run_set import stop_early
from minipach.executors.child_process import serve_all
from minipach.executors.stored_sets import UnknownSetError, finished, has_whole_result, read_set
from minipach.git.gc_lock import gc_held_off
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.worktrees import Slot


def serve(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run one set, {"set": id, "repo": path, "slot": path, "env": {...}, "lost": n, "again": bool}.

    lost: how often its worker was lost · again: it was begun before; what has a result by now is not run again.

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
        kept = finished(repo, work) if request["again"] else []
        ended = [done_before(work, kept)] if kept else []
        left = [index for index in range(len(work.parts)) if index not in kept]
        with gc_held_off(repo):
            run_rest(work, left, Slot(repo, Path(request["slot"])), ended.append, request["lost"])
        return {"outcomes": [json.loads(outcome.to_json()) for outcome in ended]}
    except (UnknownSetError, GitError) as error:
        return {"gone": str(error)}
    finally:
        repo.close()


if __name__ == "__main__":
    serve_all(serve, stop_early)
