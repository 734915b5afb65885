"""A bound for the memory that a process with many threads keeps: glibc has a heap of its own for each thread."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  # of malloc.h


def limit_heaps(most: int) -> bool:
    """Let all threads of this process share a few heaps; return whether the C library can do so.

    What one thread has freed, another one can use then. Heaps that are there already stay.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, most))
