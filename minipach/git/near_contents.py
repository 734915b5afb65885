"""Many small contents of a repository on this machine: fetched one after the other, on one processor.

With several jobs (`-J`) git-annex starts processes of git for each of them, and asks git more often. That is worth it
for a remote that has to be waited for. A disk answers at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path

from minipach.git.annex_keys import size_of
from minipach.git.annex_layout import OBJECTS, is_plain, object_path
from minipach.git.repo import Repo

_SMALL = 1 << 20  # bytes: to copy more than that takes longer than all else that git-annex does for a content


def are_near(repo: Repo, keys: Sequence[str]) -> bool:
    """Return whether git remotes that are folders of this machine have all of these contents, and all are small."""
    if not all(is_plain(key) and (size_of(key) or 0) <= _SMALL for key in keys):
        return False
    folders = [Path(folder) for folder in map(_folder, _addresses(repo)) if folder]
    return all(any((folder / OBJECTS / object_path(key)).exists() for folder in folders) for key in keys)


def _addresses(repo: Repo) -> list[str]:
    return [value for key, value in repo.settings().items() if key.startswith("remote.") and key.endswith(".url")]


def _folder(address: str) -> str | None:
    """Return the folder of a remote; None if it may be on another machine."""
    if address.startswith("file:///"):
        return urllib.parse.unquote(address.removeprefix("file://"))
    return address if address.startswith("/") else None


@contextlib.contextmanager
def on_one_processor() -> Iterator[None]:
    """Keep what this thread starts meanwhile on the processor that it is on now.

    The threads of git-annex and the processes of git hand each other every step of a small content. From one
    processor to another of a busy machine, each step waits. Linux; elsewhere nothing changes.
    """
    now = _processor() if sys.platform == "linux" else None
    if now is None:
        yield
        return
    allowed = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):  # it may have been taken from this process meanwhile
        os.sched_setaffinity(0, {now})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _processor() -> int | None:
    """Return the processor of this thread; None where the kernel does not say (proc(5): field 39 of `stat`)."""
    try:
        fields = Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()
        return int(fields[36])
    except (OSError, IndexError, ValueError):
        return None
