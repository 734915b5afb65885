"""git commands without a person: they ask for no password, and end when a remote does not answer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path

_LIMIT: ContextVar[float | None] = ContextVar("limit", default=None)  # seconds for each git command; None: no limit
_END_TIME = 5.0  # seconds between SIGTERM and SIGKILL
TIMED_OUT = 124  # the exit code, as that of timeout(1)
# git-annex ends a transfer itself that stands still; one that moves may last
_STALLED = {"annex.stalldetection": "1KB/120s"}


@contextlib.contextmanager
def unattended(limit: float) -> Iterator[None]:
    """Have git commands of this thread give up instead of waiting for a person, or longer than `limit` seconds.

    Transfers of contents (`git annex copy`) have no limit, but end when nothing moves.
    """
    found = {"GIT_TERMINAL_PROMPT": "0", "GIT_HTTP_LOW_SPEED_LIMIT": "100", "GIT_HTTP_LOW_SPEED_TIME": "60"}
    if "GIT_SSH_COMMAND" not in os.environ and "GIT_SSH" not in os.environ:
        found["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15"
    before = {name: os.environ.get(name) for name in found}
    os.environ.update(found)
    token = _LIMIT.set(limit)
    try:
        yield
    finally:
        _LIMIT.reset(token)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def limit_of(arguments: Sequence[str]) -> float | None:
    """Return the seconds that a git command may last here; None: it has no limit."""
    limit = _LIMIT.get()
    return None if "copy" in arguments[:4] and "annex" in arguments[:3] else limit


def settings_here() -> tuple[tuple[str, str], ...]:
    """Return the settings of git commands here, beside the usual ones."""
    return tuple(_STALLED.items()) if _LIMIT.get() is not None else ()


def run_within(
    command: Sequence[str], limit: float, *, cwd: Path, stdin: bytes | None, env: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """Run a command; after `limit` seconds, end it and all that it has started. Its exit code is then 124."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # its children hold its pipes: all of them are ended
    )
    try:
        out, err = process.communicate(stdin, limit)
    except subprocess.TimeoutExpired:
        _end(process)
        out, err = process.communicate()
        err += f"\nno answer for {limit:.0f} s; ended".encode()
        return subprocess.CompletedProcess(command, TIMED_OUT, out, err)
    except BaseException:
        _end(process)
        process.wait()
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a session: first with SIGTERM, so that git removes its lock files."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + _END_TIME
        while number == signal.SIGTERM and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
