"""Processes: how they are started, seen, and waited for; signals."""

from __future__ import annotations

import os
import resource
import signal
import sys

from minipach.execution.launcher.core import Ended, Suppress


def linux_library():
    """The C library where it has prctl(2), or None. A call lets no other thread run: this process has only one."""
    try:
        import ctypes

        found = ctypes.PyDLL(None, use_errno=True)
        return found if found.prctl and found.syscall else None
    except (ImportError, OSError, AttributeError):
        return None


LIBRARY = linux_library()
PRCTL = LIBRARY.prctl if LIBRARY is not None else None
MACHINE = os.uname().machine if sys.maxsize > 1 << 32 else ""
KEYCTL = {"x86_64": 250, "aarch64": 219}.get(MACHINE)  # keyctl(2)'s number


def leave_keyring():
    """Have an empty session keyring: the one that was inherited may hold keys of the user, or of another datum."""
    if LIBRARY is not None and KEYCTL is not None:
        LIBRARY.syscall(KEYCTL, 1, None)  # KEYCTL_JOIN_SESSION_KEYRING; refused: so it is to the command


def adopt_orphans():
    """Become the parent of what this process's children leave behind (Linux), so that it can be ended."""
    return PRCTL is not None and PRCTL(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER


def children(pid):
    """The children of a process, by any of its threads."""
    found = []
    with Suppress(OSError, ValueError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(n) for n in file.read().split()]
    return found


def descendants(pid):
    """All processes below one, as far as can be seen now."""
    todo = children(pid)
    found: list[int] = []
    while todo and len(found) < 100000:
        child = todo.pop()
        found.append(child)
        todo += children(child)
    return found


def statm(pid):
    """Resident bytes of a process."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def threads():
    """The number of the machine's processes and threads; 0: not known."""
    try:
        fd = os.open("/proc/loadavg", os.O_RDONLY)
        try:
            return int(os.read(fd, 200).split()[3].split(b"/")[1])
        finally:
            os.close(fd)
    except (OSError, ValueError, IndexError):
        return 0


class Signals:
    """Signals that ask to end, and the end of children: both wake the loop that waits."""

    def __init__(self):
        self.asked = 0
        self.reader, self.writer = os.pipe()
        for end in (self.reader, self.writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _note(self, number, _frame):
        self.asked = self.asked or number

    def check(self):
        """Raises Ended where a signal came."""
        if self.asked:
            raise Ended

    def drain(self):
        """Forget what woke the loop."""
        with Suppress(BlockingIOError):
            os.read(self.reader, 4096)


def spent():
    """Processor seconds of all children that have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


class Started:
    """A process that is a child of this one."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        """The exit code; None while it runs."""
        if self.returncode is None:
            pid, ended = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(ended)
        return self.returncode

    def wait(self):
        """Wait for its end."""
        while self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def spawn(words, env, inherited, streams):
    """Start a program, by its whole path, in a session of its own. streams: {number there: descriptor}."""
    for fd in inherited:
        os.set_inheritable(fd, True)
    actions = [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in streams.items()]
    reset = [signal.SIGPIPE, signal.SIGXFSZ]  # Python ignores them
    return Started(os.posix_spawn(words[0], words, env, file_actions=actions, setsid=True, setsigdef=reset))
