"""An S3 server of the project's own for `minipach up --store`: SeaweedFS, reachable from this machine alone."""

from __future__ import annotations

import io
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from minipach.executors.rq.private_server import BackgroundService, write_private
from minipach.git.child_environment import child_environment
from minipach.project.background_command import start_minipach
from minipach.project.project import Project
from minipach.storage.private_store import PARTS, program, read_credentials, read_ports, write_ports
from minipach.storage.s3 import Credentials, client
from minipach.storage.s3 import bucket as bucket_of
from minipach.storage.setup import add, states
from minipach.storage.store import Store, stores
from minipach.support.errors import Problem, UserError

if TYPE_CHECKING:
    from minio import Minio

NAME = "local"
_START = 60.0  # seconds until all parts of the server answer
_PATIENCE = 1.5  # seconds for requests that are under way when the server ends


def service(project: Project) -> BackgroundService:
    """Return the server of this project."""
    folder = project.local.store
    return BackgroundService(
        "S3 server", folder / "store.pid", ("weed",), folder / "data", patience=_PATIENCE, kill=True
    )


def stop(project: Project) -> bool:
    """End the server; return whether it ran.

    By itself it waits 15 s for connections between its own parts. It has written what it has acknowledged. So it is
    killed, and its files are synced to the disk, as it would do at its end.
    """
    if not service(project).stop():
        return False
    for path in (project.local.store / "data").rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    return True


def receiver(project: Project) -> BackgroundService:
    """Return the process that hears the events of the server, and starts passes."""
    return BackgroundService("receiver", project.local.store / "serve.pid", (" serve ",), project.root)


def start_receiver(project: Project, notify: Callable[[str], None], is_serving: Callable[[], bool]) -> None:
    """Start `minipach serve` in the background, unless this clone has one that runs. Raises UserError."""
    mine, log = receiver(project), project.local.store / "serve.log"
    if mine.pid() is not None:
        return
    if is_serving():
        notify("receiver: another minipach serve runs; start it again, so that it hears the S3 server")
        return
    with log.open("wb") as out:
        process = start_minipach(project.root, ("serve", "--port", "0"), out)
    mine.pid_file.write_text(f"{process.pid}\n")
    deadline = time.monotonic() + _START
    while not is_serving() and time.monotonic() < deadline:
        if process.poll() is not None:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            problem = f"ended with {process.returncode}: {''.join(last)}"
            raise UserError(Problem("serve.ended", "minipach serve", problem, f"see {log}"))
        time.sleep(0.1)
    notify(f"receiver: process {process.pid}; an upload into a bucket that is an input starts a pass; see {log}")


def start(project: Project, notify: Callable[[str], None]) -> None:
    """Start the server if it doesn't run, and set it up as a store of the project. Raises UserError."""
    running = service(project)
    folder = project.local.store
    (folder / "data").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    ports, key = _ports(project), _key(project)
    url = f"http://127.0.0.1:{ports['s3']}"
    store = stores(project).get(NAME) or Store(NAME, "s3", url, "contents")
    if store.url != url:
        problem = f"a store of this name is at {store.place}, not on this machine"
        raise UserError(Problem("store.exists", NAME, problem, f"minipach store remove {NAME} first"))
    if running.pid() is None:
        _start(folder, ports, key, running.pid_file)
        notify(f"S3 server: {url}; its data stay in {folder / 'data'}")
    if not all(row.enabled for row in states(project, store)):
        os.environ |= {"AWS_ACCESS_KEY_ID": key.access, "AWS_SECRET_ACCESS_KEY": key.secret}
        add(project, store, notify)


def _start(folder: Path, ports: Mapping[str, int], key: Credentials, pid_file: Path) -> None:
    command = [program(), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
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


def _ports(project: Project) -> Mapping[str, int]:
    """Return the ports, chosen once."""
    known = read_ports(project.local)
    if known is not None:
        return known
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PARTS]
    ports = {part: int(one.getsockname()[1]) for part, one in zip(PARTS, sockets, strict=True)}
    for one in sockets:
        one.close()
    write_ports(project.local, ports)
    return ports


def _key(project: Project) -> Credentials:
    """Return the credentials, made once."""
    known = read_credentials(project.local)
    if known is None:
        known = Credentials(f"minipach-{secrets.token_hex(8)}", secrets.token_urlsafe(32))
        write_private(project.local.store / "key", f"{known.access}\n{known.secret}\n")
    return known
