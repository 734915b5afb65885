"""The process that the workers of a schedule are forked from: it imports what they need once, for all of them.

It works on nothing itself and has one thread, so a fork of it is whole. A worker is a process group of its own, as one
that is started by itself. Messages are JSON, one for each packet of a socket; each request has one answer:

- `{"umask": 18}`, with the two ends that become the stdin and stdout of a new worker: `{"pid": 12}`;
- `{"wait": 12}`: `{"code": -9}`, or `{"code": null}` while that worker runs.

The end of the socket ends the process. Its workers end by the end of their own stdin, or finish what they do.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import IO, Any, NoReturn

from minipach.executors.child_process import QUIET, WorkerProcess, spawn
from minipach.git.child_environment import child_environment
from minipach.git.shared_modes import current_mask
from minipach.support.processes import is_alive

_PACKET = 4096  # bytes; each message is far shorter
_MODULE = "minipach.executors.local.worker"
_CODE_UNKNOWN = -signal.SIGKILL  # of a worker whose fork server was killed, too: nobody can ask the kernel any more


class ForkServer:
    """The parent's side."""

    def __init__(self) -> None:
        """Start the process. It imports while this one does something else."""
        self.environment = child_environment(QUIET)
        self.folder = os.getcwd()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=self.environment,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        self._awaited: deque[_Forked] = deque()  # they have no number yet: it may still import

    def fork(self) -> WorkerProcess:
        """Return a new worker. If the process is gone, the worker's stdout ends at once."""
        child_in, ours_in = os.pipe()
        ours_out, child_out = os.pipe()
        worker = _Forked(self, os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb"))
        self._awaited.append(worker)
        with contextlib.suppress(OSError):
            socket.send_fds(self._socket, [json.dumps({"umask": current_mask()}).encode()], [child_in, child_out])
        os.close(child_in)
        os.close(child_out)
        return worker

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process; call it when its workers have ended."""
        self._socket.close()
        self._process.wait()

    def kill(self) -> None:
        """End the process at once. It has no worker."""
        self._process.kill()
        self.close()

    def code(self, pid: int) -> int | None:
        """Return the exit code of a worker, or None while it runs."""
        self.meet()
        try:
            self._socket.send(json.dumps({"wait": pid}).encode())
            return _code(self._answer())
        except OSError:
            return None if is_alive(pid) else _CODE_UNKNOWN

    def meet(self) -> None:
        """Read the numbers of the workers that were forked last."""
        while self._awaited:
            worker = self._awaited.popleft()
            with contextlib.suppress(OSError):
                worker.number = int(self._answer()["pid"])

    def _answer(self) -> Mapping[str, Any]:
        data = self._socket.recv(_PACKET)
        if not data:
            raise ConnectionResetError("the fork server ended")
        answer: dict[str, Any] = json.loads(data)
        return answer


def _code(answer: Mapping[str, Any]) -> int | None:
    return None if answer["code"] is None else int(answer["code"])


class _Forked:
    """A worker that was forked: a process whose exit code its parent, the fork server, knows."""

    def __init__(self, server: ForkServer, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.stdin: IO[bytes] | None = stdin
        self.stdout: IO[bytes] | None = stdout
        self.returncode: int | None = None
        self.number: int | None = None
        self._server = server

    @property
    def pid(self) -> int:
        """The number of the process. Raises ProcessLookupError if it never came into being."""
        if self.number is None:
            self._server.meet()
        if self.number is None:
            raise ProcessLookupError("the fork server ended before it made the worker")
        return self.number

    def poll(self) -> int | None:
        if self.returncode is None:
            try:
                self.returncode = self._server.code(self.pid)
            except ProcessLookupError:
                self.returncode = _CODE_UNKNOWN
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        began, pause = time.monotonic(), 0.0005
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() - began >= timeout:
                raise subprocess.TimeoutExpired(_MODULE, timeout)
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        return code


def new_worker_source() -> ForkServer | None:
    """Return a fork server, or None where each worker is started by itself.

    macOS: its libraries may not be used after a fork, and it has no packets on a local socket.
    """
    return ForkServer() if sys.platform == "linux" else None


def new_worker(server: ForkServer | None) -> WorkerProcess:
    """Return a worker that is forked, or started if there is no fork server."""
    return spawn(_MODULE) if server is None else server.fork()


# --- in the process itself -----------------------------------------------------------------------------------


def serve_forks(control: socket.socket, prepare: Callable[[], None], work: Callable[[], NoReturn]) -> NoReturn:
    """Fork workers until the socket ends. prepare: imports what they need · work: what a worker does, to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    gc.disable()
    prepare()
    gc.freeze()  # objects that no collection touches stay in pages that all workers share
    while True:
        try:
            data, ends, _, _ = socket.recv_fds(control, _PACKET, 2)
        except OSError:
            data, ends = b"", []
        if not data:
            os._exit(0)
        request = json.loads(data)
        if len(ends) == 2:
            pid = os.fork()
            if pid == 0:
                _become_worker(control, ends, request["umask"], work)
            for end in ends:
                os.close(end)
            answer: dict[str, int | None] = {"pid": pid}
        else:
            answer = {"code": _ended(request["wait"])}
        with contextlib.suppress(OSError):
            control.send(json.dumps(answer).encode())


def _ended(pid: int) -> int | None:
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return _CODE_UNKNOWN
    return os.waitstatus_to_exitcode(status) if found else None


def _become_worker(control: socket.socket, ends: list[int], umask: int, work: Callable[[], NoReturn]) -> NoReturn:
    try:
        os.setsid()
        os.umask(umask)  # a schedule sets it for what the project's `core.sharedRepository` asks for
        control.close()
        for number, end in enumerate(ends):
            os.dup2(end, number)
            os.close(end)
        gc.enable()
        work()
    finally:  # never back into the loop of the fork server
        os._exit(1)
