"""The runtime bubblewrap."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time

from minipach.execution.launcher.core import AT_FAULT, HOME, IMAGE_PATH, NOT_FOUND, Suppress
from minipach.execution.launcher.files import find_program
from minipach.execution.launcher.namespaces import Namespaces
from minipach.execution.launcher.processes import spawn
from minipach.execution.launcher.runtime import TESTED, Call, devices, host_env
from minipach.execution.launcher.shared_mounts import OWN, Shared, SharedCall


class Bubblewrap(Namespaces):
    """bubblewrap begins with an empty root, so that no mount point needs to be in the image."""

    name = "bubblewrap"
    odd = ""
    program: str | None = None
    options: list[str] | None = None
    ends_with_us = True
    shared = None  # False: it is of no use here

    def problem(self):
        """It needs namespaces."""
        if not find_program("bwrap"):
            return "not installed (bwrap)"
        if self.name == TESTED:
            return ""
        test = [self._program(), "--unshare-all", *self._no_more_users(), "--share-net"]
        test += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"]
        for pause in (0, 1, 1):  # it gives up where something below / is unmounted meanwhile
            time.sleep(pause)
            if output_of(test) is not None:
                break
        else:
            return "installed, but can't make namespaces here"
        if self.image.kind == "squashfs" and not find_program("unsquashfs"):
            return "needs unsquashfs"
        return ""

    @property
    def ends_all(self):  # type: ignore[override]
        """The end of a process namespace's first process is the end of all in it. A bubblewrap may be killed."""
        return bool(self.shared)

    def call(self, launcher, box, words, env, secrets, workdir, status):
        """bwrap with its arguments in a file that nobody else can open; or what the datums of a set share."""
        env = {**env, **secrets, **({} if "PATH" in env else {"PATH": IMAGE_PATH})}
        named = self.image.files(words)
        if launcher.placed.mounts:  # of this datum alone
            self.close()
        if self.shared is None:
            self.shared = self._share(launcher, box, named) or False
        if isinstance(self.shared, Shared) and self.shared.shows.issuperset(named):
            return SharedCall(self.shared, words, env, workdir)
        self.close()
        arguments = [*self._no_more_users(), *self._arguments(launcher, box, named, box.tmp)]
        arguments += ["--chdir", workdir or "/"]
        for name, value in env.items():
            arguments += ["--setenv", name, value]
        fd = private_file(b"".join(os.fsencode(a) + b"\0" for a in arguments), launcher.scratch)
        start = [self._program(), "--args", str(fd), "--json-status-fd", str(status), "--"]
        return Call([*start, *words], {"PATH": host_env()["PATH"]}, fds=(fd,))

    def is_setuid(self):
        """Old installations have it so."""
        return bool(os.stat(self._program()).st_mode & stat.S_ISUID)

    def _program(self):
        self.program = self.program or find_program("bwrap")
        return self.program

    def _no_more_users(self):
        """bwrap's options against user namespaces in the sandbox, where it has them (since 0.8, if it is not setuid).

        In a user namespace of its own, a command of root's could mount the host's control groups, writable.
        """
        if self.options is None:
            said = output_of([self._program(), "--version"]) or b""
            version = said.strip().rpartition(b" ")[2].split(b".")[:2]  # of "bubblewrap 0.8.0"
            able = all(map(bytes.isdigit, version)) and list(map(int, version)) >= [0, 8] and not self.is_setuid()
            self.options = ["--unshare-user", "--disable-userns"] if able else []
        return self.options

    def _share(self, launcher, box, named):
        """The mounts that the sandboxes of all datums share, or None where each needs a bubblewrap of its own."""
        if launcher.interactive or launcher.run.batched or not launcher.run.network:
            return None
        if len(launcher.run.datums) < 2 and self._no_more_users():
            return None
        arguments = self._arguments(launcher, box, named, box.top)
        own = [*named, *launcher.run.secret_files, *self.image.folders(launcher.run.shown)]
        if any((path + "/").startswith(place + "/") or place.startswith(path + "/") for path in own for place in OWN):
            return None
        fd = private_file(b"".join(os.fsencode(a) + b"\0" for a in arguments), launcher.scratch)
        with Suppress(OSError, ValueError, KeyError, AttributeError, ImportError):
            return Shared([self._program(), "--args", str(fd)], fd, launcher, named)
        return None

    def close(self):
        """Each datum has a bubblewrap of its own from now on."""
        if isinstance(self.shared, Shared):
            self.shared.end()
        self.shared = False

    def _arguments(self, launcher, box, named, tmp):
        """bwrap's arguments for the sandbox, with the folder `tmp` at /tmp."""
        points = ["/pfs", "/project", "/tmp", "/var/tmp", HOME, *launcher.run.secret_files]
        arguments = ["--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--clearenv"]
        if launcher.run.network:
            arguments.append("--share-net")
        if not launcher.interactive:
            arguments.append("--new-session")
        if not hasattr(self, "root"):
            self.root = self.image.bubblewrap_root(points, launcher.run.network)
        arguments += self.root
        arguments += ["--proc", "/proc", "--dev", "/dev"]
        arguments += [*(["--size", launcher.run.shm()] if launcher.run.shm() else []), "--tmpfs", "/dev/shm"]
        arguments += ["--remount-ro", "/proc"]  # without any capability, root could write below it
        for device in devices():
            arguments += ["--dev-bind-try", device, device]
        # of the machine what programs ask it for; nothing that is mounted below, such as control groups
        for part in ("bus", "class", "dev", "devices", "module") if devices() else ("devices",):
            arguments += ["--ro-bind-try", "/sys/" + part, "/sys/" + part]
        arguments += ["--bind", tmp, "/tmp", "--bind", box.vartmp, "/var/tmp", "--bind", box.home, HOME]
        arguments += ["--ro-bind", launcher.view, "/project"]
        arguments += ["--bind" if launcher.run.writable else "--ro-bind", box.pfs, "/pfs"]
        arguments += ["--bind", box.live, "/pfs/out"]
        for target, source in launcher.placed.mounts.items():
            arguments += ["--ro-bind", source, box.seen(target)]
        for path in launcher.run.secret_files:
            arguments += ["--ro-bind", launcher.scratch + "/secrets" + path, path]
        if not hasattr(self, "folders"):
            self.folders = self.image.bubblewrap_folders(launcher.run.shown)
        arguments += self.folders  # after /tmp and HOME: they may lie there
        for path in named:
            arguments += ["--ro-bind-try", path, path]
        return [*arguments, "--remount-ro", "/", "--remount-ro", "/dev"]

    def code_of(self, code, started, line):
        """The command's exit code: bwrap reports one only of a command that it could execute."""
        if b'"exit-code"' in started or started == b"begun":
            return code
        if started.startswith(b"errno "):
            return NOT_FOUND if started == b"errno %d" % errno.ENOENT else AT_FAULT
        if line.startswith("bwrap: Can't chdir to "):
            return AT_FAULT
        if line.startswith("bwrap: execvp "):
            return NOT_FOUND if "No such file" in line else AT_FAULT
        return None


def output_of(words):
    """The standard output of a program, which is named by its whole path; None where it fails."""
    reader, writer = os.pipe()
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        process = spawn(words, os.environ, (), {0: nothing, 1: writer, 2: nothing})
    finally:
        os.close(writer)
        os.close(nothing)
    with open(reader, "rb") as file:
        text = file.read()
    return None if process.wait() else text


def private_file(data, folder):
    """A descriptor to read data from, that has no name anywhere."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("minipach", 0)
        os.write(fd, data) if len(data) < 1 << 30 else None
        os.lseek(fd, 0, os.SEEK_SET)
        return fd
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(data)
        file.seek(0)
        return os.dup(file.fileno())
