"""User units of systemd for the processes that run for long: `watch`, `serve`, `worker`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@+=:,./-")


def user_unit(
    description: str, command: Sequence[str], environment: Mapping[str, str], *, kill_children: bool, header: str = ""
) -> str:
    """Return the text of a user unit that keeps a command running.

    Args:
        description: One line for people.
        command: The program, by its absolute path, and its arguments.
        environment: Variables; a user manager has few of its own.
        kill_children: Whether `systemctl stop` ends what the command has started, once the command itself has ended.
        header: Lines for people, at the beginning.
    """
    lines = [f"# {line}" for line in header.splitlines()]
    lines += [
        "[Unit]",
        f"Description={_text(description)}",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={' '.join(_word(word, command=True) for word in command)}",
        *(f"Environment={_word(f'{name}={value}')}" for name, value in environment.items()),
        "Restart=always",
        "RestartSec=5",
        "RestartPreventExitStatus=2",
        "SuccessExitStatus=130",  # a SIGTERM that comes before the command has begun to listen
        f"KillMode={'mixed' if kill_children else 'process'}",
        "",
        "[Install]",
        "WantedBy=default.target",
        "",
    ]
    return "\n".join(lines)


def _text(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text).replace("%", "%%").rstrip("\\")


def _word(word: str, *, command: bool = False) -> str:
    """Return a word as systemd reads it back: quoted, special characters and all that is no ASCII as escapes."""
    found = []
    for byte in os.fsencode(word):
        if byte in _PLAIN or byte == 0x20:
            found.append(chr(byte))
        elif byte == ord("%"):
            found.append("%%")
        elif byte == ord("$") and command:
            found.append("$$")
        else:
            found.append(f"\\x{byte:02x}")
    return '"' + "".join(found) + '"'
