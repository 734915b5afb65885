"""The start of a schedule's workers before the schedule itself is imported, which takes as long.

Whether there is work is not known then, so it is guessed: a schedule notes how the project's repositories look when
nothing is left to do, and while they look the same, nothing starts early. A wrong guess costs a start, and changes no
result. What was started is used only by an executor that would start the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from minipach.executors.child_process import QUIET
from minipach.executors.local.fork_server import ForkServer, new_worker_source
from minipach.git.child_environment import child_environment
from minipach.model.local_state import LocalState
from minipach.support.files import write_whole

_SEEN = ("HEAD", "index", os.path.join("refs", "heads"))  # in a `.git`: they change with each commit and checkout
_MOST = 5000  # paths; to look at more would take longer than a start
_early: list[ForkServer] = []


def start_early(arguments: Sequence[str]) -> None:
    """Start the fork server if the command line is a `schedule` that probably has work in the current folder."""
    if sys.platform != "linux" or arguments[:1] != ["schedule"] or {"-h", "--help"}.intersection(arguments):
        return
    if _may_have_work():
        made = new_worker_source()
        if made is not None:
            _early.append(made)


def take_early() -> ForkServer | None:
    """Return the fork server that was started, or a new one; None where there is none (see `new_worker_source`)."""
    while _early:
        server = _early.pop()
        if server.alive and server.folder == os.getcwd() and server.environment == child_environment(QUIET):
            return server
        server.kill()
    return new_worker_source()


def end_early() -> None:
    """End what was started early and that nobody took."""
    while _early:
        _early.pop().kill()


def note_state(state: LocalState, repos: Iterable[Path], specs: Iterable[Path], *, local: bool, done: bool) -> None:
    """Note how the repositories look.

    Args:
        state: The local state of the project.
        repos: The folders of its repositories, the superdataset among them.
        specs: Its specs.
        local: Whether the executor is `local`.
        done: Whether nothing is left to do.
    """
    paths = [*(os.path.join(repo, ".git", name) for repo in repos for name in _SEEN), *map(os.fspath, specs)]
    seen = {path: _stamp(path) for path in paths} if local and done and len(paths) <= _MOST else None
    text = json.dumps({"schema": 1, "local": local, "seen": seen})
    with contextlib.suppress(OSError):
        state.folder.mkdir(parents=True, exist_ok=True)
        if not state.early_start.is_file() or state.early_start.read_text() != text:
            write_whole(state.early_start, text)


def _may_have_work() -> bool:
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return False
    for above in (here, *here.parents):
        if (above / ".git").is_dir() and (found := LocalState.in_root(above).early_start).is_file():
            try:
                noted = json.loads(found.read_bytes())
                seen = noted["seen"]
                return bool(noted["local"]) and (seen is None or any(_stamp(k) != v for k, v in seen.items()))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                return True
    return any((above / ".datalad" / "config").is_file() for above in (here, *here.parents))


def _stamp(path: str) -> list[int] | None:
    """Return the time of change (ns), the number and the size of a file; None: it isn't there."""
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    return [info.st_mtime_ns, info.st_ino, info.st_size]
