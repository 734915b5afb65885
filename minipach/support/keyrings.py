"""Values from the user's keyring, which a process of its own asks: some keyrings wait for a password for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

_PATIENCE = 30.0  # seconds for a keyring to answer


class KeyringError(Exception):
    """The keyring gave no answer: the reason, as a phrase. Never holds a value."""


def ask_keyring(
    service: str, names: Sequence[str], env: Mapping[str, str], *, may_ask: bool = False
) -> list[str | None]:
    """Return the values that the keyring has for a service; None for each that it has not.

    Args:
        service: The name under which the keyring has the values.
        names: The names of the values.
        env: The environment of the process that asks.
        may_ask: Whether the keyring may ask for its password, if this process has the terminal.

    Raises:
        KeyringError: There is no usable keyring, or it did not answer.
    """
    asked = may_ask and _has_terminal()
    # -P: no file of the current folder is imported. No value is in an argument
    command = [sys.executable, "-P", "-m", __name__, service, *names]
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=None if asked else subprocess.DEVNULL,
            capture_output=True,
            timeout=None if asked else _PATIENCE,
            start_new_session=not asked,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise KeyringError(f"the keyring did not answer within {_PATIENCE:.0f} seconds") from None
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise KeyringError(f"the keyring ended with exit code {done.returncode}") from None
    if isinstance(answer, str):
        raise KeyringError(answer)
    return [value or None for value in answer]


def _has_terminal() -> bool:
    """Return whether somebody can answer a question: a process in the background that reads a terminal is stopped."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _answer(service: str, names: Sequence[str]) -> list[str | None] | str:
    """Return the values, or why there are none."""
    try:
        import keyring
        from keyring.backends import fail
        from keyring.errors import KeyringLocked, NoKeyringError
    except ImportError:
        return "the package keyring is not installed"
    try:
        ring = keyring.get_keyring()
        if isinstance(ring, fail.Keyring):
            return "the keyring has no backend that works here"
        return [ring.get_password(service, name) for name in names]
    except NoKeyringError:
        return "the keyring has no backend that works here"
    except EOFError:
        return "the keyring asks for a password, which needs a terminal"
    except KeyringLocked:
        return "the keyring is locked"
    except Exception as error:  # backends raise errors of any kind; their text may hold anything
        return f"the keyring can't be read ({type(error).__name__})"


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps(_answer(sys.argv[1], sys.argv[2:]))}\n")
