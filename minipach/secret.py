"""Secrets: a value from the environment, a file or the keyring, and never kept anywhere.

What is kept (spec, record, identity, what travels to a worker) has a secret's name alone.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from minipach.git import Repo, child_environment
from minipach.settings import local_setting
from minipach.spec import secret_variable

_SERVICE = "minipach"  # the name under which the keyring has them
_PATIENCE = 30.0  # seconds for a keyring to answer


class SecretError(Exception):
    """A secret could not be had: which, and the way out. Never holds a value."""


def secrets_folder(repo: Repo) -> Path:
    """Where files with secrets are looked for: the setting `minipach.secrets`, else a folder inside `.git`."""
    chosen = local_setting(repo, "secrets")
    return Path(chosen).expanduser() if chosen else repo.common_dir / "minipach" / "secrets"


def secret_values(names: Sequence[str], folder: str) -> dict[str, str]:
    """The values by variable (see `secret_variable`). Raises SecretError.

    folder: where files with secrets are, for a worker that has no setting of its own.
    """
    return {secret_variable(name): _value(name, Path(os.environ.get("MINIPACH_SECRETS") or folder)) for name in names}


def _value(name: str, folder: Path) -> str:
    variable = secret_variable(name)
    found = os.environ.get(variable) or _from_file(name, folder) or _from_keyring(name)
    if found is None:
        raise SecretError(
            f"secret {name}: not found; set {variable}, or write {folder / name}, or run: keyring set {_SERVICE} {name}"
        )
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


def _from_keyring(name: str) -> str | None:
    """Ask in a process of its own, without a terminal: some keyrings would ask for a password, and wait for ever."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "keyring", "get", _SERVICE, name],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return os.fsdecode(done.stdout).removesuffix("\n") or None if done.returncode == 0 else None


def redact(path: Path, values: Sequence[str]) -> None:
    """Take the values out of a log that a command printed them to. Lines of a value count by themselves."""
    pieces = {os.fsencode(line) for value in values for line in value.splitlines() if len(line) >= 4}
    if not pieces:
        return
    data = path.read_bytes()
    clean = data
    for piece in sorted(pieces, key=len, reverse=True):
        clean = clean.replace(piece, b"[secret]")
    if clean != data:
        path.write_bytes(clean)
