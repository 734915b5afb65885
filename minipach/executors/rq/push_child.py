"""The pusher of a worker without a shared filesystem: pushes the results of all its sets, many at once.

Arguments: the folder of the clones, the project's address, how many bytes of contents to keep.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minipach.executors.child_process import serve_all
from minipach.executors.clones import Clones, ContentCache
from minipach.executors.transfer import Transfer
from minipach.git.git_error import GitError
from minipach.git.repo import Repo


class PushChild:
    """Serves the requests of one worker."""

    def __init__(self, root: Path, url: str, cache: int) -> None:
        self.clones = Clones(root, url)
        self._cache = ContentCache(self.clones, cache)
        self._transfer = Transfer(self.clones)

    def serve(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Push {path of a repo: refs}; {"failed": {path: {ref: why}}, "pushes": n}.

        Refs that are not there are pushed already. What is pushed is removed here. {"prepare": path}: get ready for the
        first push of a repo, while its sets run; {"prepared": path}.
        """
        if "prepare" in request:
            with contextlib.suppress(GitError):  # the push will say why
                self.clones.enable_stores(self.clones.clone(request["prepare"]))
            return {"prepared": request["prepare"]}
        failed = {}
        for path, refs in request["refs"].items():
            repo = Repo(self.clones.root / path)
            try:
                failed[path] = self._push(repo, refs)
            finally:
                repo.close()
        with contextlib.suppress(GitError):
            self._cache.trim()
        return {"failed": failed, "pushes": self._transfer.pushes}

    def _push(self, repo: Repo, refs: Sequence[str]) -> dict[str, str]:
        there = repo.refs("refs/minipach/")
        wanted = [ref for ref in dict.fromkeys(refs) if ref in there]
        failed = self._transfer.push_all(repo, wanted) if wanted else {}
        pushed = [ref for ref in wanted if ref not in failed]
        now = repo.refs("refs/minipach/")
        with contextlib.suppress(GitError):  # they are pushed; a ref that stays is harmless
            repo.update_refs([f"delete {ref} {there[ref]}" for ref in pushed if now.get(ref) == there[ref]])
        return failed


if __name__ == "__main__":
    child = PushChild(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    serve_all(child.serve, lambda: True, runs_sets=False)
