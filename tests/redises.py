"""A real Redis and real workers for tests; each is ended by its number."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
from rq import Queue
from rq.job import Job

from minipach.executors.rqboard import Board
from minipach.executors.rqnames import Names, project_id
from minipach.executors.rqprivate import redis_program
from minipach.git import Repo
from tests.projects import MINIPACH, PATIENCE, Study, run
from tests.remains import WAIT, until


class Redis:
    """A server behind a socket in a folder of its own. It keeps what it has over a `kill` and the next `start`."""

    def __init__(self, user: str = "", password: str = "") -> None:
        self.user, self.password = user, password
        options = ["--user", user, "on", f">{password}", "~*", "&*", "+@all", "--requirepass", "another"]
        self.options = options if user else []
        self.folder = Path(tempfile.mkdtemp(prefix="mp-redis."))  # a short path: a socket's may not be long
        self.socket = self.folder / "s"
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    @property
    def url(self) -> str:
        who = f"{self.user}:{self.password}@" if self.user else ""
        return f"unix://{who}{self.socket}"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=15)

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        fixed = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""]
        self.process = subprocess.Popen(
            [redis_program(), *fixed, "--appendonly", "yes", *self.options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        until("Redis answers", self.answers)

    def answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.exceptions.RedisError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Redis:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


class Workers:
    """`minipach worker` processes of a project, and a look at its jobs in Redis."""

    def __init__(self, study: Study, server: Redis) -> None:
        self.study = study
        self.server = server
        self.all: list[subprocess.Popen[bytes]] = []
        self.log = server.folder / "workers.log"
        atexit.register(self.stop)

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "MINIPACH_REDIS": self.server.url}

    @property
    def board(self) -> Board:
        return Board(self.server.client(), Names(project_id(Repo(self.study.root))))

    def start(self, *options: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start one, and wait until it is known."""
        return self.launch(*MINIPACH, "worker", *options, env=env)

    def launch(self, *command: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """The same with a whole command."""
        before = set(self.board.workers())
        with self.log.open("ab") as log:
            worker = subprocess.Popen(
                command,
                cwd=self.study.root,
                env={**self.env, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.all.append(worker)
        until("the worker serves", lambda: set(self.board.workers()) - before or worker.poll() is not None)
        assert worker.poll() is None, self.said
        return worker

    @property
    def said(self) -> str:
        """What they have said."""
        return self.log.read_text() if self.log.is_file() else ""

    def minipach(self, *arguments: str, code: int = 0, timeout: float = PATIENCE) -> str:
        """Run minipach in the project, with this Redis; its stdout and stderr."""
        env = {"MINIPACH_REDIS": self.server.url, "MINIPACH_EXECUTOR": "rq"}
        done = run(*MINIPACH, *arguments, cwd=self.study.root, env=env, timeout=timeout)
        assert done.code == code, f"exit {done.code}, wanted {code}\n{done.out}\n{done.err}\n{self.said}"
        return done.out + done.err

    def schedule(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """`minipach schedule --json` with this Redis; pipelines by name."""
        env = {"MINIPACH_REDIS": self.server.url, "MINIPACH_EXECUTOR": "rq"}
        done = run(*MINIPACH, "schedule", "--json", *arguments, cwd=self.study.root, env=env)
        assert done.code == code, f"exit {done.code}, wanted {code}\n{done.out}\n{done.err}\n{self.said}"
        return {p["name"]: p for p in json.loads(done.out)["pipelines"]}

    def jobs(self) -> dict[str, str]:
        """The states of the sets' jobs in Redis, by job."""
        client = self.server.client()
        start = Job.key_for(self.board.names.job(""))
        prefix = start.decode() if isinstance(start, bytes) else str(start)
        found = {}
        for key in client.scan_iter(f"{prefix}*"):
            if client.type(key) == b"hash" and not key.endswith(b"-publish"):
                found[key.decode().rpartition(":")[2]] = (client.hget(key, "status") or b"").decode()
        return found

    def queues(self) -> set[str]:
        """The classes of queues that there are."""
        names = self.board.names
        return {q.name.removeprefix(names.queues) for q in Queue.all(self.server.client())} - {"publish"}

    def end(self, worker: subprocess.Popen[bytes], number: int = signal.SIGTERM, seconds: float = WAIT) -> int:
        """End one; its exit code."""
        worker.send_signal(number)
        code = worker.wait(seconds)
        self.all.remove(worker)
        return code

    def stop(self) -> None:
        for worker in list(self.all):
            if worker.poll() is None:
                worker.terminate()
        deadline = time.monotonic() + 20
        for worker in list(self.all):
            try:
                worker.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        self.all.clear()

    def __enter__(self) -> Workers:
        # projects of tests are copies of one, so they have one id in Redis: what an earlier one left there isn't ours
        self.server.client().flushall()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
