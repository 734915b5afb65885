"""A warm process of a worker without a shared filesystem: fetches a set and what it needs, and runs it.

The worker's pusher pushes its result (see push_child), with those of other sets.

Arguments: the folder of the clones, the project's address, how many bytes of contents to keep.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minipach.execution.chunk import as_members, done_before, run_work
from minipach.execution.run_set import is_stopping, stop_early
from minipach.execution.staging import StagingError
from minipach.executors.child_process import serve_all
from minipach.executors.clones import Clones, ContentCache
from minipach.executors.stored_sets import UnknownSetError, has_whole_result
from minipach.executors.transfer import Transfer, in_a_line
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.worktrees import Slot
from minipach.model.repo_layout import RESULT_REFS
from minipach.model.work_set import Outcome, WorkSet


class CloneChild:
    """Serves the requests of one worker."""

    def __init__(self, root: Path, url: str, cache: int) -> None:
        self.clones = Clones(root, url)
        self._cache = ContentCache(self.clones, cache)
        self._transfer = Transfer(self.clones)

    def stop_early(self) -> bool:
        """End the running set with its finished datums. Return False if there is nothing that could still be pushed."""
        return stop_early() or self._transfer.is_pushing

    def serve(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run one set; {"outcomes": [...], "log": path, "refs": [...]}, or {"gone": why}.

        Of a set that was begun before, only the datums without a result run. refs: what must be in the project before
        anybody may hear of these outcomes.
        """
        repo = Repo(Path(request["repo"]))
        os.environ.update(request["env"])
        path = os.path.relpath(repo.path, self.clones.root)
        refs: list[str] = []  # that the project has
        results: list[str] = []
        try:
            original = self._transfer.fetch_set(repo, request["set"], refs)
            if has_whole_result(repo, original):
                results += {RESULT_REFS + original.id} - set(refs)
                return _answer([done_before(original)], original.log, None, results)
            work = self._transfer.here(original, path)
            kept = self._transfer.finished(repo, work) if request["again"] else []
            if kept:  # perhaps by what this worker has not pushed yet
                results += repo.refs(RESULT_REFS).keys() - set(refs)
            ended = [done_before(work, kept)] if kept else []
            left = [index for index in range(len(work.parts)) if index not in kept]
            if left:
                results += self._run(repo, work, left, Slot(repo, Path(request["slot"])), ended)
            return _answer(ended, original.log, work.log, results)
        except (UnknownSetError, StagingError) as error:
            return {"gone": str(error)}
        except GitError as error:
            return {"gone": in_a_line(error)}
        finally:
            with contextlib.suppress(GitError):
                there = repo.refs("refs/minipach/")
                repo.update_refs([f"delete {ref}" for ref in dict.fromkeys(refs) if ref in there])
                if not results:  # else the pusher does it
                    self._cache.trim()
            repo.close()

    def _run(self, repo: Repo, work: WorkSet, left: Sequence[int], slot: Slot, ended: list[Outcome]) -> list[str]:
        """Run these datums of a set. Returns the result ref that must be pushed."""
        # one log for each set: the one that is sent
        part = work if len(left) == len(work.parts) else replace(work.part(left), log=work.log)
        # the set's own staging reports missing contents: as that, datum by datum, and in the log
        with contextlib.suppress(StagingError):
            self._transfer.fetch_contents(repo, part)
        run_work(part, slot, as_members(work, left, ended.append))
        ref = RESULT_REFS + part.id
        if repo.resolve(ref) is None:
            return []
        if is_stopping():  # nobody waits for the answer
            self._transfer.push(repo, ref)
            repo.update_refs([f"delete {ref}"])
            return []
        return [ref]


def _answer(outcomes: list[Outcome], log: str, here: str | None, refs: Sequence[str]) -> dict[str, Any]:
    """Return the outcomes, with the log's name as the project knows it."""
    rows = [json.loads(replace(o, log=log).to_json()) for o in outcomes]
    return {"outcomes": rows, "log": here, "refs": sorted(set(refs))}


if __name__ == "__main__":
    child = CloneChild(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    serve_all(child.serve, child.stop_early)
