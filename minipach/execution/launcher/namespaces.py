"""Limits that the kernel sets to a sandbox of this process: no changes of devices, no sockets of others. Mounts."""

from __future__ import annotations

import errno
import os
import sys

from minipach.execution.launcher.core import Failure, Suppress
from minipach.execution.launcher.processes import LIBRARY, MACHINE, PRCTL
from minipach.execution.launcher.runtime import Runtime, devices

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")


def protect_devices():
    """Have device files whose mode, owner and times nobody changes, in a mount namespace of this process's own.

    A sandbox binds the host's device files, and for root a command is their owner. A read-only mount refuses a change
    of the file; the device itself can be read and written as before. An ordinary user owns none of them.
    """
    if os.getuid() != 0 or LIBRARY is None:
        return
    import ctypes

    mount = LIBRARY.mount
    mount.argtypes = (*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p)
    if LIBRARY.unshare(NEW_MOUNTS) or mount(None, b"/", None, SLAVE | RECURSIVE, None):
        return  # a root without privileges: no sandbox can be made either
    for path in (*DEVICES, *devices()):
        flags = 0
        with Suppress(OSError):
            flags = os.statvfs(path).f_flag & (NO_SUID | NO_EXEC)
        name = os.fsencode(path)
        if os.path.exists(path) and (
            mount(name, name, None, BIND, None) or mount(None, name, None, BIND | REMOUNT | READ_ONLY | flags, None)
        ):
            raise Failure(path + ": can't be mounted read-only: " + os.strerror(ctypes.get_errno()))


def leave_abstract_sockets():
    """Be where no abstract socket is reached that a process outside has made (Linux 6.12): those have no permissions.

    The command and all that the launcher starts inherit it. They reach those that they make themselves.
    """
    if LIBRARY is None or not MACHINE:
        return
    import ctypes

    rules = (ctypes.c_uint64 * 3)(0, 0, 1)  # LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
    fd = LIBRARY.syscall(444, rules, ctypes.c_size_t(ctypes.sizeof(rules)), 0)  # landlock_create_ruleset
    if fd >= 0:
        if LIBRARY.prctl(38, 1, 0, 0, 0) == 0:  # PR_SET_NO_NEW_PRIVS
            LIBRARY.syscall(446, fd, 0)  # landlock_restrict_self
        os.close(fd)


SOCKETS = {"x86_64": (0xC000003E, 41, (102, 359)), "aarch64": (0xC00000B7, 198, (281,))}
"""For each machine: its number in seccomp, the number of socket(2), and the numbers that its 32-bit programs use."""


def refuse_sockets_of_machines():
    """Have no socket of AF_VSOCK from now on: it leads from a virtual machine to its host, whatever the namespace.

    io_uring makes sockets that seccomp does not see, so that is refused, too. The command inherits this.
    """
    if PRCTL is None or MACHINE not in SOCKETS:
        return
    import ctypes

    machine, socket, others = SOCKETS[MACHINE]
    load, equal, mask, give = 0x20, 0x15, 0x54, 0x06
    code = [  # (operation, value, label where it is equal, label where not); the next line where there is none
        (load, 4, "", ""),
        (equal, machine, "", "others"),
        (load, 0, "", ""),
        (mask, 0xBFFFFFFF, "", ""),  # a bit marks programs of the x32 kind
        (equal, 425, "no call", ""),  # io_uring_setup
        (equal, socket, "", "allow"),
        (load, 16, "", ""),
        (equal, 40, "no family", "allow"),  # AF_VSOCK
        (load, 0, "", ""),
        (equal, 425, "no call", ""),
        *((equal, number, "no family", "") for number in others),
        (give, 0x7FFF0000, "", ""),
        (give, 0x00050000 | errno.EAFNOSUPPORT, "", ""),
        (give, 0x00050000 | errno.ENOSYS, "", ""),
    ]
    places = {"others": 8, "allow": len(code) - 3, "no family": len(code) - 2, "no call": len(code) - 1}
    words = bytearray()
    for at, (operation, value, yes, no) in enumerate(code):
        words += operation.to_bytes(2, sys.byteorder)
        words += bytes(places[label] - at - 1 if label else 0 for label in (yes, no))
        words += value.to_bytes(4, sys.byteorder)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))

    if PRCTL(38, 1, 0, 0, 0) == 0:  # PR_SET_NO_NEW_PRIVS
        PRCTL(22, 2, ctypes.byref(Program(len(code), bytes(words))), 0, 0)  # PR_SET_SECCOMP, with a filter


NEW_MOUNTS, NEW_CGROUPS, NEW_UTS = 0x20000, 0x2000000, 0x4000000
NEW_IPC, NEW_USERS, NEW_PIDS = 0x8000000, 0x10000000, 0x20000000
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, REMOUNT, BIND, RECURSIVE, SLAVE = 1, 2, 4, 8, 32, 4096, 1 << 14, 1 << 19


class Namespaces(Runtime):
    """A runtime whose sandbox this process makes, of the host's device files and kernel."""

    def shut_off(self, run):
        """Have what the kernel refuses from now on."""
        protect_devices()
        if not self.is_setuid():
            leave_abstract_sockets()
            if not run.network:
                refuse_sockets_of_machines()
