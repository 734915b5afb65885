"""Filters between a printing process and a file, such as the one that removes secrets."""

from __future__ import annotations

import os
import selectors
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

_PIPE = 1024 * 1024  # bytes; as much as a pipe ever holds, so that one read gets all


class Filter(Protocol):
    """Changes a stream of bytes as it comes."""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """Return the bytes that can be passed on so far; all bytes if nothing more comes."""
        ...


@contextmanager
def passing(target: int, filters: Sequence[Filter]) -> Iterator[int]:
    """Yield a descriptor that writes to `target` at once, through the filters in order.

    At the end, what was written until then is in the target. A process that holds the descriptor longer is not waited
    for: what it writes then goes nowhere.
    """
    source, entry = os.pipe()
    over, end = os.pipe()
    out = os.dup(target)  # the target itself may be led to the entry meanwhile
    thread = threading.Thread(target=_pass_on, args=(source, over, out, filters), daemon=True)
    thread.start()
    try:
        yield entry
    finally:
        os.close(entry)
        os.close(end)
        thread.join()
        for descriptor in (source, over, out):
            os.close(descriptor)


def _pass_on(source: int, over: int, out: int, filters: Sequence[Filter]) -> None:
    """Pass on until the source ends; or, when `over` has ended, what the source holds just then."""
    os.set_blocking(source, False)
    last = False
    with selectors.DefaultSelector() as ready:
        ready.register(source, selectors.EVENT_READ)
        ready.register(over, selectors.EVENT_READ)
        while not last:
            last = any(key.fd == over for key, _ in ready.select())
            data = b""
            with suppress(BlockingIOError):
                data = os.read(source, _PIPE)
                last = last or not data
            for each in filters:
                data = each.feed(data, last=last)
            _write(out, data)


def _write(out: int, data: bytes) -> None:
    """Write all of it; drop it if the disk is full, since the process that printed it must not wait."""
    with suppress(OSError):
        while data:
            data = data[os.write(out, data) :]


@contextmanager
def printing_to(target: int) -> Iterator[None]:
    """Send stdout and stderr of this process, and of all its children, to a descriptor."""
    _flush()  # what was printed before goes where it was meant to
    saved = os.dup(1), os.dup(2)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield
    finally:
        _flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for fd in saved:
            os.close(fd)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
