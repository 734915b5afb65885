"""Mounts that the sandboxes of a set share."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys

from minipach.execution.launcher.core import HOME, OWN_FAILURE, NotBegun, Suppress
from minipach.execution.launcher.files import find_program
from minipach.execution.launcher.namespaces import (
    BIND,
    NEW_CGROUPS,
    NEW_IPC,
    NEW_MOUNTS,
    NEW_PIDS,
    NEW_USERS,
    NEW_UTS,
    NO_DEV,
    NO_EXEC,
    NO_SUID,
    READ_ONLY,
)
from minipach.execution.launcher.processes import LIBRARY, MACHINE, Started, leave_keyring, spawn
from minipach.execution.launcher.runtime import host_env

OWN = ("/tmp", "/var/tmp", HOME, "/pfs", "/dev/shm", "/proc")  # what each datum has of its own
CLONE = {"x86_64": 56, "aarch64": 220}  # clone(2)'s number
CLONE_PARENT = 0x8000
OWNER_OF_NAMESPACE = 0xB701  # ioctl_ns(2): NS_GET_USERNS


class Shared:
    """The part that the sandboxes of a set share: mounts that bubblewrap makes once.

    A helper process enters the namespaces that bubblewrap has left, in which no process is. For each command it starts
    a process in namespaces of its own: a copy of those mounts, and new process, IPC, UTS and control group namespaces.
    That process mounts what the datum has of its own (OWN), enters a user namespace of its own, gives up all
    privileges, and starts the command; when the command ends, it ends, and the kernel ends all else in there. It is a
    child of the launcher's. The command can't look into it: it is not dumpable.
    """

    def __init__(self, start, arguments, launcher, named):
        """Raises OSError, ValueError, KeyError, AttributeError or ImportError where this can't be done."""
        import ctypes

        self.shows = set(named)
        if LIBRARY is None:
            raise OSError(errno.ENOSYS, "no Linux")
        self.clone_number = CLONE[MACHINE]
        self.library = LIBRARY
        self.library.mount.argtypes = (*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p)
        self.ctypes = ctypes
        self.size = launcher.run.limits.get("file-size")
        self.shm = launcher.run.shm()
        self.ids = (os.getuid(), os.getgid())
        self.helper = None
        mounts = self._mounts(start, arguments)
        try:
            self._start_helper(mounts)
        finally:
            os.close(mounts)

    def _mounts(self, start, arguments):
        """A descriptor of the mount namespace that bubblewrap makes. It has a "command" that can't be executed."""
        said, says = os.pipe()
        waits, goes = os.pipe()
        failed, fails = os.pipe()
        nothing = os.open(os.devnull, os.O_RDWR)
        mounts = None
        try:
            words = [*start, "--info-fd", str(says), "--block-fd", str(waits), "--", "/"]
            streams = {0: nothing, 1: nothing, 2: fails}
            process = spawn(words, {"PATH": host_env()["PATH"]}, (says, waits, arguments), streams)
        except BaseException:
            for fd in (said, goes, failed):
                os.close(fd)
            raise
        finally:
            for fd in (says, waits, fails, nothing, arguments):
                os.close(fd)
        text, error = b"", b""
        try:
            while b"}" not in text and (piece := os.read(said, 4096)):
                text += piece
            pid = text.partition(b'"child-pid": ')[2].split(b",")[0].strip(b" \n}")
            if pid.isdigit():
                mounts = os.open(f"/proc/{int(pid)}/ns/mnt", os.O_RDONLY)
        finally:
            os.close(goes)  # it continues
            while piece := os.read(failed, 4096):
                error += piece
            os.close(said)
            os.close(failed)
            process.wait()
            with Suppress(ChildProcessError):  # what bubblewrap had started, and has left to the launcher
                while True:
                    os.waitpid(-1, 0)
            if b"bwrap: execvp /: " not in error and mounts is not None:
                os.close(mounts)
                mounts = None
        if mounts is None:
            raise OSError(errno.EINVAL, "bubblewrap made no sandbox")
        return mounts

    def _start_helper(self, mounts):
        import _socket
        import fcntl

        users = fcntl.ioctl(mounts, OWNER_OF_NAMESPACE)
        self.channel, other = _socket.socketpair()
        launcher = os.getpid()
        self.helper = os.fork()
        if self.helper == 0:
            code = 1
            try:
                self.channel.close()
                self.channel = other
                self._enter(users, mounts, launcher)
                self._serve()
                code = 0
            finally:
                os._exit(code)
        os.close(users)
        other.close()
        if self.channel.recv(1) != b"r":
            self.end()
            raise OSError(errno.EPERM, "no entry")

    def end(self):
        """End the helper."""
        if self.helper:
            self.channel.close()
            os.kill(self.helper, signal.SIGKILL)
            os.waitpid(self.helper, 0)
            self.helper = None

    def start(self, words, env, workdir, descriptors):
        """Start a command. Raises NotBegun."""
        import _socket
        import marshal

        order = marshal.dumps((words, env, workdir))
        passed = b"".join(fd.to_bytes(4, sys.byteorder) for fd in descriptors)
        try:
            self.channel.sendmsg([len(order).to_bytes(8, "little")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, passed)])
            self.channel.sendall(order)
            answer = self.channel.recv(4, _socket.MSG_WAITALL)
        except OSError:
            raise NotBegun from None
        if len(answer) < 4 or not any(answer):
            raise NotBegun
        return Started(int.from_bytes(answer, "little"))

    # -- what follows runs in the helper

    def _check(self, result, what):
        if result < 0:
            number = self.ctypes.get_errno()
            raise OSError(number, os.strerror(number), what)
        return result

    def _enter(self, users, mounts, launcher):
        import gc

        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # it ends when the launcher does
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._check(self.library.prctl(1, int(signal.SIGKILL), 0, 0, 0), "PR_SET_PDEATHSIG")
        if os.getppid() != launcher:
            raise OSError(errno.ESRCH, "the launcher is gone")
        self._hide_arguments()
        self._check(self.library.prctl(15, b"launch", 0, 0, 0), "PR_SET_NAME")
        with open("/proc/sys/kernel/cap_last_cap") as file:
            self.capabilities = int(file.read()) + 1
        kept = (os.open("/proc", os.O_PATH | os.O_DIRECTORY), self.channel.fileno(), users, mounts)
        self.proc = kept[0]
        for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
            if fd > 2 and fd not in kept:
                with Suppress(OSError):
                    os.close(fd)
        self.mounts = mounts
        self._check(self.library.setns(users, NEW_USERS), "setns")
        self._check(self.library.setns(mounts, NEW_MOUNTS), "setns")
        os.close(users)
        self._check(self.library.prctl(38, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
        inside = (os.getuid(), os.getgid())  # as the namespace of the mounts names them
        self.maps = (
            ("self/uid_map", b"%d %d 1" % (self.ids[0], inside[0])),
            ("self/setgroups", b"deny"),
            ("self/gid_map", b"%d %d 1" % (self.ids[1], inside[1])),
        )
        self.no_capability = ((self.ctypes.c_uint32 * 2)(0x20080522, 0), (self.ctypes.c_uint32 * 6)())
        self.spawn_options = {
            "setsid": True,
            "setsigdef": [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        }
        gc.disable()
        gc.freeze()
        self.channel.sendall(b"r")

    def _hide_arguments(self):
        """Overwrite the process's arguments, which everybody who sees the process can read, and its environment."""
        with open("/proc/self/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        for begin, end in ((fields[45], fields[46]), (fields[47], fields[48])):  # proc(5): arg_start to env_end
            self.ctypes.memset(int(begin), 0, int(end) - int(begin))

    def _serve(self):
        """For each order, start the first process of new namespaces, and send its number."""
        import _socket
        import marshal

        flags = NEW_PIDS | NEW_IPC | NEW_UTS | NEW_CGROUPS | CLONE_PARENT | int(signal.SIGCHLD)
        while True:
            head, passed, _, _ = self.channel.recvmsg(8, _socket.CMSG_SPACE(16), _socket.MSG_CMSG_CLOEXEC)
            if not head:
                return
            packed = passed[0][2]
            fds = [int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4)]
            order, size = b"", int.from_bytes(head, "little")
            while len(order) < size:
                order += self.channel.recv(min(size - len(order), 1 << 20))
            words, env, workdir = marshal.loads(order)
            os.environ["PATH"] = env["PATH"]
            actions = [(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in zip((fds[0], fds[1], fds[3]), (1, 2, 0))]
            self._check(self.library.unshare(NEW_MOUNTS), "unshare")
            self._mount_folders()
            pid = self.library.syscall(self.clone_number, flags, 0, 0, 0, 0)
            if pid == 0:
                self._first(words, env, workdir, fds, actions)
            self._check(self.library.setns(self.mounts, NEW_MOUNTS), "setns")  # gives the datum's mounts up
            for fd in fds:
                os.close(fd)
            self.channel.sendall(max(pid, 0).to_bytes(4, "little"))

    def _mount(self, source, target, kind, flags, data=None):
        self._check(self.library.mount(source, target, kind, flags, data), target)

    def _mount_folders(self):
        size = ("mode=755" + (",size=" + self.shm if self.shm else "")).encode()
        self._mount(b"tmpfs", b"/dev/shm", b"tmpfs", NO_SUID | NO_DEV, size)
        self._mount(b"devpts", b"/dev/pts", b"devpts", NO_SUID | NO_EXEC, b"newinstance,ptmxmode=0666,mode=620")
        self._mount(b"/tmp/pfs/out", b"/pfs/out", None, BIND)
        self._mount(b"/tmp/vartmp", b"/var/tmp", None, BIND)
        self._mount(b"/tmp/home", HOME.encode(), None, BIND)
        self._mount(b"/tmp/tmp", b"/tmp", None, BIND)

    def _first(self, words, env, workdir, fds, actions):
        """The first process of a datum's namespaces: its end is the end of all that runs there."""
        code = OWN_FAILURE
        try:
            status = fds[2]
            try:
                self._mount(b"proc", b"/proc", b"proc", READ_ONLY | NO_SUID | NO_DEV | NO_EXEC)
                leave_keyring()
                self._leave_privileges()
                if self.size:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))
                self._check(self.library.prctl(1, int(signal.SIGKILL), 0, 0, 0), "PR_SET_PDEATHSIG")
                self._check(self.library.prctl(4, 0, 0, 0, 0), "PR_SET_DUMPABLE")
                if self._launcher_is_gone():
                    return
            except BaseException as error:
                os.write(status, b"failed: " + str(error).encode(errors="replace"))
                return
            what = "can't change to the folder " + (workdir or "/")
            try:
                os.chdir(workdir or "/")
                what = words[0]
                command = self._spawn(words, env, actions)
            except (OSError, ValueError) as error:
                number = (error.errno if isinstance(error, OSError) else None) or errno.EINVAL
                os.write(fds[1], os.fsencode("launch: " + what + ": " + os.strerror(number) + "\n"))
                os.write(status, b"errno %d" % (errno.ENOTDIR if what != words[0] else number))
                return
            os.write(status, b"begun")
            # it keeps nothing: what waits for the end of the outputs waits for the command alone
            os.closerange(0, max(*fds, self.proc, self.mounts, self.channel.fileno()) + 1)
            while True:
                pid, ended = os.wait()
                if pid == command:
                    code = os.waitstatus_to_exitcode(ended)
                    code = code if code >= 0 else 128 - code
                    return
        finally:
            os._exit(code)

    def _launcher_is_gone(self):
        import _socket

        with Suppress(BlockingIOError):
            return not self.channel.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
        return False

    def _leave_privileges(self):
        self._check(self.library.unshare(NEW_USERS), "unshare")
        self._check(self.library.prctl(4, 1, 0, 0, 0), "PR_SET_DUMPABLE")  # its maps are this process's then
        for name, text in self.maps:
            fd = os.open(name, os.O_WRONLY, dir_fd=self.proc)
            os.write(fd, text)
            os.close(fd)
        fd = os.open("sys/user/max_user_namespaces", os.O_WRONLY, dir_fd=self.proc)  # of this namespace alone
        os.write(fd, b"0")
        os.close(fd)
        drop = self.library.prctl
        for number in range(self.capabilities):
            if drop(24, number, 0, 0, 0):  # PR_CAPBSET_DROP
                self._check(-1, "PR_CAPBSET_DROP")
        self._check(self.library.capset(*self.no_capability), "capset")

    def _spawn(self, words, env, actions):
        """Start the command, found as execvp(3) does; its process."""
        try:
            return os.posix_spawnp(words[0], words, env, file_actions=actions, **self.spawn_options)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
        script = words[0] if "/" in words[0] else find_program(words[0])
        words = ["sh", script, *words[1:]]
        return os.posix_spawn("/bin/sh", words, env, file_actions=actions, **self.spawn_options)  # type: ignore[arg-type]


class SharedCall:
    """A command in what the datums of a set share."""

    def __init__(self, shared, words, env, workdir):
        self.shared = shared
        self.words = words
        self.env = env
        self.workdir = workdir
        self.fds = ()

    def start(self, launcher, source, out, err, status):
        """The first process of the command's namespaces. Raises NotBegun."""
        return self.shared.start(self.words, self.env, self.workdir, [out, err, status, source])
