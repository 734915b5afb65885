"""Logs of workers that share no filesystem with the project: their last part comes through Redis."""

from __future__ import annotations

import contextlib
from pathlib import Path

from minipach.executors.redislink import Client
from minipach.executors.rqnames import Names
from minipach.logs import split_log
from minipach.sets import WorkSet

MOST = 256 * 1024  # bytes of a log that are sent
_KEEP = 14 * 24 * 3600  # seconds


def send_log(client: Client, names: Names, set_id: str, path: Path) -> None:
    """Send the end of a log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MOST))
            data = file.read()
    except OSError:
        return
    if size > MOST:
        data = f"minipach: {size - MOST} bytes before this were not sent\n".encode() + data.partition(b"\n")[2]
    client.set(names.log(set_id), data, ex=_KEEP)


def receive_log(client: Client, names: Names, work: WorkSet) -> None:
    """Write the log of a set where `minipach logs` looks for it, if it came through Redis."""
    data = client.get(names.log(work.id))
    if data is None:
        return
    path = Path(work.log)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if len(work.parts) > 1:
            with contextlib.suppress(ValueError):  # its beginning is cut off
                split_log(path, len(work.parts))
