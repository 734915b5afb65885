"""Threads of a process share heaps, so that what one has freed is used by another."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

THREADS = """
import ctypes, sys, threading
from minipach.support.heaps import limit_heaps

if len(sys.argv) > 1:
    assert limit_heaps(int(sys.argv[1]))
together = threading.Barrier(9)
for _ in range(8):
    threading.Thread(target=lambda: (bytearray(5000), together.wait()), daemon=True).start()
together.wait()
ctypes.CDLL(None).malloc_stats()
"""


def heaps(*most: str) -> int:
    """Return how many heaps eight threads have."""
    ended = subprocess.run([sys.executable, "-c", THREADS, *most], capture_output=True, text=True, check=True)
    return ended.stderr.count("Arena ")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such heaps")
def test_threads_share_a_few_heaps() -> None:
    assert heaps("2") <= 2 < heaps()
