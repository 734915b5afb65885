"""A container of a pod that runs already."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import stat
import time

from minipach.execution.launcher.box import Box
from minipach.execution.launcher.core import OWN_FAILURE, POD, UNENDING, Failure, Suppress, put
from minipach.execution.launcher.files import remove_tree
from minipach.execution.launcher.processes import Started
from minipach.execution.launcher.runtime import Runtime

POD_PATIENCE = 300.0  # seconds for that container to begin a command


class PodBox(Box):
    """The folders of a datum that another container has mounted. They are emptied and never made again."""

    def _top(self, scratch):
        return POD

    def _make(self):
        for folder in (self.pfs, *self.modes):
            os.makedirs(folder, exist_ok=True)
        self.clear()

    def clear(self, keep=frozenset()):
        """Take away all that a datum has left, and keep the folders themselves; none of its inputs."""
        self.peak = 0
        for folder, mode in self.modes.items():
            with Suppress(OSError):
                os.chmod(folder, mode)
            clear_folder(folder)
        clear_folder(self.pfs, keep=("out",))
        remove_tree(self.full)


class Pod(Runtime):
    """A container that runs already, of the same image, which shares POD: an agent there (`pod-agent`) starts commands.

    POD has the folders of a box, `view`, and `call`, which belongs to the command as well: nothing in it is trusted.
    """

    name = "pod"
    is_engine = True

    def __init__(self, image, dataset):
        super().__init__(image, dataset)
        self.folder = os.path.join(POD, "call")
        self.id = ""
        self.box = None

    def new_box(self, launcher):
        """The folders of a datum, which the container has already."""
        return PodBox(launcher.scratch, False, apart=True)

    def view(self, scratch):
        """The folder for the pipeline's own files."""
        found = os.path.join(POD, "view")
        os.makedirs(found, exist_ok=True)
        clear_folder(found)
        return found

    def problem(self):
        """It is there, or it comes."""
        return ""

    def call(self, launcher, box, words, env, secrets, workdir, status):
        """A process of ours that stands for the command."""
        if not launcher.run.network:
            raise Failure("the record says that there is no network, which a container of a pod can't be without")
        if launcher.run.secret_files or launcher.run.writable or launcher.interactive:
            raise Failure("files with secrets, writable inputs and terminals are not possible in a container of a pod")
        clear_folder(self.folder, keep=("ask", "boot", "last"))
        self.id, self.box = os.urandom(8).hex(), box
        self._move(box.out, box.live)  # as err_cmd finds it
        lines = [
            "export " + name + "=" + shlex.quote(value)
            for name, value in {**env, **secrets}.items()
            if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
        ]
        odd = [
            name + "=" + value for name, value in {**env, **secrets}.items() if not re.fullmatch(r"[A-Za-z_]\w*", name)
        ]
        lines += ["cd -- " + shlex.quote(workdir) + " || exit 126"] if workdir else []
        lines.append("exec " + shlex.join([*(["env", *odd] if odd else []), *words]))
        return PodCall(self, "\n".join(lines) + "\n")

    def code_of(self, code, started, line):
        """The command's exit code: a message of ours says so."""
        return None if code == OWN_FAILURE and line.startswith("pod: ") else code

    def ask(self, launcher):
        """The command's group gets the signal."""
        self.say("term")

    def clear(self, launcher):
        """End a command whose end was not reported, and take over what the command wrote."""
        if launcher.child is not None and launcher.child.returncode != 0 and self.id:
            boot = self.read("boot")
            self.say("kill")
            end = time.monotonic() + UNENDING
            while self.read("last") != self.id and self.read("boot") == boot:
                if time.monotonic() >= end:
                    raise Failure("pod: the command's container does not answer")
                time.sleep(0.02)
        if self.box is not None:
            self._move(self.box.live, self.box.out)

    def _move(self, source, target):
        for name in os.listdir(source):
            os.rename(os.path.join(source, name), os.path.join(target, name))

    def say(self, what):
        """Write a line to the agent; whether it listens."""
        try:
            fd = os.open(os.path.join(self.folder, "ask"), os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            if not stat.S_ISFIFO(os.fstat(fd).st_mode):
                return False
            os.write(fd, f"{what} {self.id}\n".encode())
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def read(self, name):
        """A word that the agent has written."""
        try:
            fd = os.open(os.path.join(self.folder, name), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            return ""
        with open(fd, "rb") as file:
            return file.read(64).decode("ascii", "replace").strip()


class PodCall:
    """One command, by a process that passes on what it prints and ends with its exit code."""

    fds = ()

    def __init__(self, runtime, script):
        self.runtime = runtime
        self.script = script
        self.words = ["pod"]

    def start(self, launcher, source, out, err, status):
        """The process, with these descriptors."""
        runtime = self.runtime
        names = {
            name: os.path.join(runtime.folder, name + "." + runtime.id) for name in ("run", "in", "out", "err", "reply")
        }
        with open(os.open(names["run"], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(os.fsencode(self.script))
        target = os.open(names["in"], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(target, "wb") as file, open(os.dup(source), "rb") as lines:
            shutil.copyfileobj(lines, file)
        readers = {}
        for name in ("out", "err", "reply"):
            os.mkfifo(names[name], 0o600)
            readers[name] = os.open(names[name], os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        before, pid = launcher.before(), os.fork()
        if pid == 0:
            code = OWN_FAILURE
            try:
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                if before:
                    before()
                code = self._relay(readers, {"out": out, "err": err})
            finally:
                os._exit(code)
        for fd in readers.values():
            os.close(fd)
        return Started(pid)

    def _relay(self, readers, targets):
        """Pass on what the command prints, until it ends. Returns its exit code."""
        end = time.monotonic() + POD_PATIENCE
        while not self.runtime.say("run"):
            if time.monotonic() >= end:
                put(targets["err"], b"pod: the command's container does not start\n")
                return OWN_FAILURE
            time.sleep(0.1)
        ready = select.poll()
        for fd in readers.values():
            ready.register(fd, select.POLLIN)
        names, reply, has_begun = {fd: name for name, fd in readers.items()}, b"", False
        boot, is_over = self.runtime.read("boot"), False
        while not is_over:
            for fd, what in ready.poll(1000):
                data = os.read(fd, 1 << 16) if what & select.POLLIN else b""
                has_begun = True
                if names[fd] != "reply":
                    put(targets[names[fd]], data) if data else ready.unregister(fd)
                elif data:
                    reply += data
                    is_over = b"\n" in reply
                else:
                    is_over = True
            if self.runtime.read("boot") != boot or (not has_begun and time.monotonic() >= end):
                is_over = True
        for name, target in targets.items():
            with Suppress(BlockingIOError):
                while data := os.read(readers[name], 1 << 16):
                    put(target, data)
        if not re.fullmatch(rb"[0-9]{1,3}\n", reply):
            put(targets["err"], b"its container was ended, as where it is out of memory\n")
            return 137
        return min(int(reply), 255)


def clear_folder(folder, keep=()):
    """Delete what is in a folder, which stays, as a mount point has to."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name in keep:
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            remove_tree(path)
        else:
            os.unlink(path)
