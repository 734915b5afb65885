"""Secrets: a value from the environment, a file or the keyring, and never kept anywhere.

What is kept (spec, record, identity, what travels to a worker) has a secret's name alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from minipach.git.child_environment import child_environment
from minipach.git.repo import Repo
from minipach.model.local_state import LocalState
from minipach.model.pipeline import secret_variable
from minipach.project.settings import local_setting
from minipach.support.keyrings import KeyringError, ask_keyring
from minipach.support.stream_filter import Filter, passing
from minipach.support.text import TerminalFilter

_SERVICE = "minipach"  # the name under which the keyring has them
_REPLACED = b"[secret]"


class SecretError(Exception):
    """A secret could not be had: which, and the fix. Never holds a value."""


def secrets_folder(repo: Repo) -> Path:
    """Return where files with secrets are looked for: the setting `minipach.secrets`, else a folder inside `.git`."""
    chosen = local_setting(repo, "secrets")
    return Path(chosen).expanduser() if chosen else LocalState.of(repo.common_dir).secrets


def secret_values(names: Sequence[str], folder: str) -> dict[str, str]:
    """Return the values by variable (see `secret_variable`). Raises SecretError.

    folder: where files with secrets are, for a worker that has no setting of its own.
    """
    return {secret_variable(name): _value(name, Path(os.environ.get("MINIPACH_SECRETS") or folder)) for name in names}


def _value(name: str, folder: Path) -> str:
    variable = secret_variable(name)
    found, problem = os.environ.get(variable) or _from_file(name, folder), ""
    if not found:
        try:
            found = ask_keyring(_SERVICE, [name], child_environment())[0]
        except KeyringError as error:
            problem = f", and {error}"
    if not found:
        fix = f"set {variable}, or write {folder / name}, or run: keyring set {_SERVICE} {name}"
        raise SecretError(f"secret {name}: not found{problem}; {fix}")
    if "\0" in found:
        raise SecretError(f"secret {name}: holds a zero character, which no environment can; encode it, as with base64")
    return found


def _from_file(name: str, folder: Path) -> str | None:
    path = folder / name
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise SecretError(f"secret {name}: others can read {path}; chmod 600 {path}")
            text = os.fsdecode(file.read())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise SecretError(f"secret {name}: {path} can't be read: {error.strerror}") from None
    return text.removesuffix("\n").removesuffix("\r") or None


class Redactor:
    """Takes secrets out of a stream of bytes. Lines of a value count by themselves; short ones are no secrets.

    What could yet become a value, and no more, is held back until the next bytes decide: all else passes at once.
    """

    def __init__(self, values: Sequence[str]) -> None:
        # a word of three letters taken out everywhere would spoil the log, and is no secret
        self.pieces = {os.fsencode(line) for value in values for line in value.splitlines() if len(line) >= 4}
        self._held = b""
        self._covered = 0  # so many of the bytes held belong to a value that was replaced already

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """Return the bytes that are safe to print so far, with the values replaced; all bytes if nothing more comes."""
        data, covered = self._held + data, self._covered
        cut = len(data) if last else min((_unsure(data, piece) for piece in self.pieces), default=len(data))
        clean, at = b"", covered
        for start, end in self._spans(data, covered):
            if start >= cut:
                break
            clean += data[at:start] + (b"" if start < covered else _REPLACED)
            at = end
        clean += data[at:cut]
        self._held, self._covered = data[cut:], max(0, at - cut)
        return clean

    def _spans(self, data: bytes, covered: int) -> list[tuple[int, int]]:
        """Return where the values are (start, end), those that overlap as one."""
        found = [(0, covered)] if covered else []
        found += [span for piece in self.pieces for span in _places(data, piece)]
        merged: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged


def _unsure(data: bytes, piece: bytes) -> int:
    """Return where the end of the data begins that may be the beginning of this piece."""
    at = data.find(piece[:1], max(0, len(data) - len(piece) + 1))
    while at >= 0 and not piece.startswith(data[at:]):
        at = data.find(piece[:1], at + 1)
    return at if at >= 0 else len(data)


def _places(data: bytes, piece: bytes) -> Iterator[tuple[int, int]]:
    at = data.find(piece)
    while at >= 0:
        yield at, at + len(piece)
        at = data.find(piece, at + 1)


@contextmanager
def redacting(target: int, values: Sequence[str]) -> Iterator[int]:
    """Yield a descriptor that writes to `target` at once, without values of secrets (see `support.stream_filter`).

    A terminal gets no control characters but colours.
    """
    redactor = Redactor(values)
    filters: list[Filter] = [redactor] if redactor.pieces else []
    if os.isatty(target):
        filters.append(TerminalFilter())
    if not filters:
        yield target
        return
    with passing(target, filters) as entry:
        yield entry
