"""Bounds of a datum: the kernel's limit of processes, and what is looked at while the command runs."""

from __future__ import annotations

import os
import resource
import time

from minipach.execution.launcher.core import POLL, Suppress
from minipach.execution.launcher.processes import descendants, statm, threads


def amount(number):
    """Bytes for people."""
    return f"{number / 1e9:.4g} GB" if number >= 1e9 else f"{number / 1e6:.4g} MB"


class Bound:
    """The kernel's limit on what this process starts, some way above the one that is looked at: a fork bomb is faster.

    For an ordinary user a resource limit, which does not hold for root; for root a control group below its own, so that
    the other limits of that hold, too. In version 2 it must be a threaded one: its own group holds processes.
    """

    table, mounted = "/proc/self/cgroup", "/sys/fs/cgroup"

    def __init__(self, most, is_engine=False):
        self.group = None
        self.enabled = False
        self.refused = 0
        self.most = most = 2 * most + 64
        if os.getuid() != 0:
            _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
            wanted = threads() + most
            with Suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NPROC, (wanted if hard < 0 else min(wanted, hard), hard))
            return
        with Suppress(OSError, KeyError):
            with open(self.table) as file:
                rows = [line.rstrip("\n").split(":", 2) for line in file]
            groups = {row[1]: row[2].strip("/") for row in rows}
            is_first = "pids" in groups
            above = os.path.join(self.mounted, *(("pids", groups["pids"]) if is_first else (groups[""],)))
            for name in os.listdir(above):  # of launchers that were killed; the others are in use
                if name.startswith("minipach-"):
                    with Suppress(OSError):
                        os.rmdir(os.path.join(above, name))
            if not is_first and (is_engine or not self._enable(above)):  # they make groups, and limit these
                return
            group = os.path.join(above, f"minipach-{os.getpid()}")
            os.mkdir(group)
            self.above, self.group = above, group
            if not is_first and self._words(group, "cgroup.type") == ["domain", "invalid"]:
                self._write(group, "cgroup.type", "threaded")
            self._write(group, "pids.max", str(most))
            self._write(group, "cgroup.procs", str(os.getpid()))

    def _words(self, group, name):
        """The words of a group's file; the root has no type."""
        with Suppress(FileNotFoundError), open(os.path.join(group, name)) as file:
            return file.read().split()
        return []

    def _write(self, group, name, text):
        with open(os.path.join(group, name), "w") as file:
            file.write(text)

    def _enable(self, above):
        """Have groups of version 2 below one limit processes; whether they can."""
        if "pids" not in self._words(above, "cgroup.controllers"):
            return False
        if "pids" not in self._words(above, "cgroup.subtree_control"):
            self._write(above, "cgroup.subtree_control", "+pids")
            self.enabled = True
        return True

    def reason(self):
        """A message if the kernel has refused processes since the last question, or ""."""
        before = self.refused
        words: list[str] = []
        with Suppress(OSError):
            words = self._words(self.group, "pids.events") if self.group else []
        if "max" in words[:-1]:
            self.refused = int(words[words.index("max") + 1])
        return f"the kernel refused it more than {self.most} processes" if self.refused > before else ""

    def end(self):
        """Leave the group, and take it away."""
        if self.group:
            with Suppress(OSError), open(os.path.join(self.above, "cgroup.procs"), "w") as file:
                file.write(str(os.getpid()))
            with Suppress(OSError):
                os.rmdir(self.group)
                if self.enabled and not any(name.startswith("minipach-") for name in os.listdir(self.above)):
                    self._write(self.above, "cgroup.subtree_control", "-pids")


class Watch:
    """Looks whether a datum keeps to its limits, and what it takes on disk."""

    def __init__(self, launcher, box, process):
        self.launcher = launcher
        self.box = box
        self.top = process.pid if launcher.runtime.ends_all else os.getpid()
        self.limits = launcher.run.limits
        self.before = threads()
        self.next_look = time.monotonic() + POLL / 2  # the kernel's own bound holds before
        self.next_disk = time.monotonic() + 1.0

    def look(self, now):
        """The reason why the datum must end, or "". The launcher knows the kind of limit then."""
        kind, why = self._look(now)
        self.launcher.limit_hit = kind
        return why

    def _look(self, now):
        if now < self.next_look:  # what is printed wakes the launcher, too
            return "", ""
        self.next_look = now + POLL / 2
        most = self.limits["processes"]
        if threads() - self.before > most:
            below = descendants(os.getpid())
            if len(below) > most:
                return "processes", f"it had more than {most} processes, which is the limit"
        if (
            "memory" in self.limits
            and not self.launcher.runtime.is_engine
            and self.limits["memory"] < sum(map(statm, descendants(self.top)))
        ):
            self.launcher.is_out_of_memory = True
            return "memory", f"it used more than {amount(self.limits['memory'])} of memory, which is the limit"
        if self.launcher.printed > self.limits.get("disk", self.launcher.printed):
            return "disk", f"it printed more than {amount(self.limits['disk'])}, which is its limit of disk"
        if now >= self.next_disk:
            used = self.box.measure()
            self.next_disk = time.monotonic() + max(1.0, 20 * (time.monotonic() - now))
            if used > self.limits.get("disk", used):
                return "disk", f"it used more than {amount(self.limits['disk'])} of disk, which is the limit"
        return "", ""
