"""One processor for programs whose threads and helpers hand each other every piece of work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def on_one_processor(number: int) -> Iterator[None]:
    """Keep what this thread starts meanwhile on one of the processors that this process may use.

    number: which, counted round. git-annex asks git's helpers some things for each file, and waits for them; where
    that goes from processor to processor of a busy machine, it takes up to twice as long (docs/design/thousand.md).
    Linux; elsewhere nothing changes.
    """
    if sys.platform != "linux":
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[number % len(allowed)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
