"""A program that enters the network of a sandbox, and hands out sockets which are connected there.

Arguments: a process of the sandbox, the port, a descriptor of a Unix socket. Each byte that comes there is answered by
one with a descriptor: of a connection to the port, or, where nobody listens, without one. Linux only.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import socket
import sys
from collections.abc import Sequence

_NEW_USERS, _NEW_NETWORK = 0x10000000, 0x40000000
_OWNER_OF_NAMESPACE = 0xB701  # ioctl_ns(2): NS_GET_USERNS
_PATIENCE = 5.0  # seconds for a connection


def enter(process: int) -> None:
    """Enter the network namespace of a process. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    network = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        users = fcntl.ioctl(network, _OWNER_OF_NAMESPACE)
        same = os.path.samestat(os.fstat(users), os.stat("/proc/self/ns/user"))
        if not same and library.setns(users, _NEW_USERS) and os.geteuid() != 0:
            raise OSError(ctypes.get_errno(), "setns (user namespace)")
        os.close(users)
        if library.setns(network, _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns (network namespace)")
    finally:
        os.close(network)


def main(arguments: Sequence[str]) -> int:
    """Hand out connections until the other end is closed. Returns the exit code."""
    process, port, descriptor = map(int, arguments)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=descriptor) as asked:
        enter(process)
        while asked.recv(1):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as found:
                    found.setblocking(False)
                    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [found.fileno()]))]
                    asked.sendmsg([b"+"], ancillary)
            except OSError:
                asked.send(b"-")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
