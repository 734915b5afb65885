"""git's own maintenance, after work that git's plumbing did: that never begins it, and our calls turn it off.

The user's settings decide, as after `git commit`: `maintenance.auto`, `gc.auto` and what else git reads. So objects are
packed as soon as git finds that there are too many.
"""

from __future__ import annotations

import logging
import os
import subprocess
from contextlib import suppress
from pathlib import Path

from minipach.git.repo import Repo, child_environment

_LOG = logging.getLogger(__name__)
_SAMPLE = "17"  # the folder whose files git counts, to guess how many loose objects there are
_FEW = 2  # files there, or packs, that are too few for any setting
_HERE = ("-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false")  # it ends before the schedule does


def maintain(repo: Repo) -> None:
    """Run `git maintenance run --auto`, as git does after a commit. Call it while nothing is being written."""
    if not _may_be_due(repo.common_dir / "objects") or _is_off(repo):
        return
    done = subprocess.run(
        ["git", *_HERE, "maintenance", "run", "--auto", "--quiet"],
        cwd=repo.path,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        _LOG.info("%s: git maintenance failed: %s", repo.path, os.fsdecode(done.stderr).strip())


def _may_be_due(objects: Path) -> bool:
    """Return whether git might find something to do. Nothing is started to know that."""
    loose = packs = 0
    with suppress(OSError):
        loose = sum(1 for _ in os.scandir(objects / _SAMPLE))
    with suppress(OSError):
        packs = sum(entry.name.endswith(".pack") for entry in os.scandir(objects / "pack"))
    return loose >= _FEW or packs >= _FEW


def _is_off(repo: Repo) -> bool:
    """Return whether the user has turned it off; git itself asks before it starts the command."""
    done = subprocess.run(
        ["git", "config", "--type=bool", "--get", "maintenance.auto"],
        cwd=repo.path,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.stdout.strip() == b"false"
