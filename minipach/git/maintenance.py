"""git's own maintenance, after work that git's plumbing did: that never begins it, and our calls turn it off.

The user's settings decide, as after `git commit`: `maintenance.auto`, `gc.auto` and what else git reads. So objects are
packed as soon as git finds that there are too many.

git allows 6,700 loose objects, which take 26 MB. A schedule leaves about 30, of which no ref names six any more; those
stay loose even when git packs. So all are packed much earlier, those without a ref included. `git repack --geometric`
joins small packs, so that there are few of them, and never reads large ones for it.
"""

from __future__ import annotations

import logging
import os
import subprocess
from contextlib import suppress
from pathlib import Path

from minipach.git.child_environment import child_environment
from minipach.git.gc_lock import gc_held_off
from minipach.git.repo import Repo

_LOG = logging.getLogger(__name__)
_SAMPLE = "17"  # the folder whose files git counts, to guess how many loose objects there are
_SAMPLES = tuple(f"{number:x}7" for number in range(16))
_FEW = 2  # files there, or packs, that are too few for any setting
_HERE = ("-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false")  # it ends before the schedule does


def maintain(repo: Repo) -> None:
    """Run `git maintenance run --auto`, as git does after a commit. Call it while nothing is being written."""
    objects = repo.common_dir / "objects"
    due, many = _may_be_due(objects), _are_many(objects)
    if not (due or many) or _is_off(repo):
        return
    if due:
        _run(repo, *_HERE, "maintenance", "run", "--auto", "--quiet")
    if many and _are_many(objects) and repo.config_of_user("gc.auto") != "0":
        with gc_held_off(repo, patience=0) as held:
            if held:
                _run(repo, "repack", "-d", "-l", "--quiet", "--geometric=2")


def _run(repo: Repo, *args: str) -> None:
    done = subprocess.run(
        ["git", *args],
        cwd=repo.path,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        _LOG.info("%s: git %s failed: %s", repo.path, " ".join(args), os.fsdecode(done.stderr).strip())


def _are_many(objects: Path) -> bool:
    """Return whether there are about 256 loose objects: as many as one file for each folder that is looked at."""
    found = 0
    for name in _SAMPLES:
        with suppress(OSError):
            found += sum(1 for _ in os.scandir(objects / name))
    return found >= len(_SAMPLES)


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
