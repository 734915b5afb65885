"""One program of a service: its slot with the datum's inputs, its sandbox, its log, and the connections to its port."""

from __future__ import annotations

import array
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

from minipach.execution.chosen_runtime import chosen_runtime
from minipach.execution.datum_layout import command_line, has_network, lay_out
from minipach.execution.secrets import SecretError, redacting, secret_values
from minipach.execution.staging import StagingError
from minipach.git.child_environment import child_environment
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.worktrees import Owner, Slot, clear_scratch, kill_inside, slots_dir
from minipach.model.launch_protocol import INTERACTIVE, LAUNCHER_GRACE, TESTED
from minipach.model.pipeline import Service
from minipach.model.work_set import WorkSet
from minipach.support.text import printable

PORT = "PORT"  # the variable with the port on which the program is to listen
_PATIENCE = 5.0  # seconds for an answer
_LINE = 4096  # bytes of an answer that are looked at
_TAIL = 8192  # bytes of the log in which the last line is looked for
_GRACE = LAUNCHER_GRACE + 1


class Instance:
    """One program. It is laid out in a thread, started by `advance`, and ended by `end`.

    With a network, it is the machine's: the program gets a free port in `$PORT`. Without, it has a loopback of its own,
    where it listens on the port of the spec, and the program `doorway` connects to it.
    """

    def __init__(self, work: WorkSet, service: Service, log: Path) -> None:
        """log: the file that gets what the program prints."""
        self.datum = str(work.datums[0]["id"])
        self.began = time.monotonic()
        self.why = ""
        self._service = service
        self._log = log
        self._shares_network = has_network(work.head)
        self._port = _free_port() if self._shares_network else service.port
        # the options of the launcher come in any order; a variable of the spec counts before this one
        self._work = replace(work, head=("-e", f"{PORT}={self._port}", *work.head))
        self._repo = Repo(Path(work.repo))
        self._owner = Owner(self._repo)
        self._slot = Slot(self._repo, slots_dir(self._repo) / f"{self._owner.name}.0")
        self._secrets: dict[str, str] = {}
        self._tested = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._door: _Door | None = None
        self._is_ready = False
        self._is_over = False
        self._open = contextlib.ExitStack()
        self._thread = threading.Thread(target=self._lay_out, daemon=True)
        self._thread.start()

    @property
    def state(self) -> Literal["starting", "ready", "ended"]:
        """Its state, as `advance` last saw it."""
        return "ended" if self._is_over else "ready" if self._is_ready else "starting"

    @property
    def seconds(self) -> float:
        """The time since it was started; what precedes that, such as fetching inputs, does not count."""
        return time.monotonic() - self.began if self._process is not None else 0.0

    def _lay_out(self) -> None:
        try:
            self._secrets = secret_values(self._work.secrets, self._work.secrets_folder)
            lay_out(self._work, self._slot, get=True)
            self._tested = chosen_runtime(self._slot.path, self._work.image).name
            self.why = refusal(self._tested)
        except (StagingError, SecretError, GitError, OSError) as error:
            self.why = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)

    def advance(self) -> None:
        """Start the program when its inputs are there; look whether it has ended, or answers."""
        if self._is_over or self._thread.is_alive():
            return
        if self.why:
            self._is_over = True
        elif self._process is None:
            self._start()
        elif (code := self._process.poll()) is not None:
            self._is_over = True
            said = self._last_line()
            self.why = f"it ended with exit code {code}" + (f": {said}" if said else "")
        elif not self._is_ready:
            self._is_ready = self._answers()

    def _start(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        file = self._open.enter_context(self._log.open("ab"))
        to = self._open.enter_context(redacting(file.fileno(), list(self._secrets.values())))
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            command_line(self._work),
            cwd=self._slot.path,
            env=child_environment({INTERACTIVE: "", TESTED: self._tested, **self._secrets}),
            stdin=subprocess.DEVNULL,
            stdout=to,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _answers(self) -> bool:
        """Return whether the health check passes."""
        found = self.connect()
        if found is None:
            return False
        with found:
            if not self._service.health:
                return True
            try:
                found.settimeout(_PATIENCE)
                host = f"127.0.0.1:{self._service.external}"
                found.sendall(f"GET {self._service.health} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                data = b""
                while b"\n" not in data and len(data) < _LINE and (more := found.recv(_LINE)):
                    data += more
            except OSError:
                return False
            words = data.split(b"\n")[0].split()
            return len(words) > 1 and words[0].startswith(b"HTTP/") and words[1][:1] in (b"2", b"3")

    def connect(self) -> socket.socket | None:
        """Return a connection to the program; None: nobody listens."""
        if self._shares_network:
            try:
                return socket.create_connection(("127.0.0.1", self._port), timeout=_PATIENCE)
            except OSError:
                return None
        if self._door is None or self._door.is_closed:
            inside = _inside(self._process.pid) if self._process is not None else None
            if inside is None:
                return None
            self._door = _Door(inside, self._port)
        return self._door.connect()

    def _last_line(self) -> str:
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
                lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            return ""
        lines = [line for line in lines if not line.startswith("datum: ")] or lines  # those are the launcher's
        return printable(lines[-1][:200]) if lines else ""

    def ask_to_end(self) -> None:
        """Send SIGTERM; the launcher passes it on, and ends a program that does not end by itself."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGTERM)

    def end(self) -> None:
        """End the program, by SIGKILL if it takes too long, and remove what it had."""
        self.ask_to_end()
        self._thread.join()
        if self._process is not None:
            try:
                self._process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        if self._door is not None:
            self._door.close()
        self._open.close()
        if self._slot.path.exists():
            kill_inside(self._slot.path)
            clear_scratch(self._slot.path)
        self._slot.remove()
        self._owner.release()
        self._repo.close()


def refusal(runtime: str) -> str:
    """Return why a runtime can't run services: no port of its containers is reached; "": it can."""
    return f"{runtime} can't run services; install bubblewrap" if runtime in ("docker", "podman") else ""


class _Door:
    """The program `doorway` of one sandbox."""

    def __init__(self, inside: int, port: int) -> None:
        self._lock = threading.Lock()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(2 * _PATIENCE)
        with theirs:
            command = [
                sys.executable,
                "-P",
                "-m",
                "minipach.services.doorway",
                str(inside),
                str(port),
                str(theirs.fileno()),
            ]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=child_environment(),
                cwd="/",
                start_new_session=True,
            )

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def connect(self) -> socket.socket | None:
        """Return a connection to the port; None: nobody listens there."""
        with self._lock:
            try:
                self._ours.send(b"?")
                size = array.array("i").itemsize
                data, ancillary, _, _ = self._ours.recvmsg(1, socket.CMSG_SPACE(size))
            except OSError:
                return None
        for level, kind, payload in ancillary:
            if data == b"+" and (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(payload[:size])
                return socket.socket(fileno=numbers[0])
        return None

    def close(self) -> None:
        """End it."""
        self._ours.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _inside(launcher: int) -> int | None:
    """Return a process below the launcher that has another network than this one; None: there is none (yet)."""
    try:
        ours = os.stat("/proc/self/ns/net")
    except OSError:
        return None
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = Path(entry.path, "stat").read_text(errors="replace").rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    below, found = [launcher], []
    while below:
        below = [child for parent in below for child in children.get(parent, ())]
        found += below
    for process in found:
        with contextlib.suppress(OSError):
            if not os.path.samestat(os.stat(f"/proc/{process}/ns/net"), ours):
                return process
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
