"""`minipach.support.keyrings`: values from a real keyring, which never waits for somebody who is not there."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from minipach.support import keyrings
from minipach.support.keyrings import KeyringError, ask_keyring

SERVICE = "https://s3.example.org:9000"
PLAIN, LOCKED = "keyrings.alt.file.PlaintextKeyring", "keyrings.alt.file.EncryptedKeyring"
PATIENCE = 120  # seconds


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment with a keyring of its own."""
    return {**os.environ, "XDG_DATA_HOME": str(tmp_path), "PYTHON_KEYRING_BACKEND": PLAIN}


def at_a_terminal(words: list[str], env: Mapping[str, str], *typed: str) -> str:
    """Run a command that has a terminal, and answer each of its questions. Return all that was shown."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve(words[0], words, dict(env))
    shown, left = b"", list(typed)
    while True:
        try:
            data = os.read(terminal, 1024)
        except OSError:  # the command has ended
            break
        if not data:
            break
        shown += data
        if left and shown.count(b": ") > len(typed) - len(left):
            os.write(terminal, f"{left.pop(0)}\n".encode())
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, shown
    return shown.decode()


def test_values_of_one_service(env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "keyring", "set", SERVICE, "key"]
    subprocess.run(command, input=b"a value", env=env, check=True, timeout=PATIENCE)
    (tmp_path / "keyring.py").write_text("raise SystemExit('a file of the project ran')")
    monkeypatch.chdir(tmp_path)
    assert ask_keyring(SERVICE, ["key", "other"], env) == ["a value", None]
    assert ask_keyring("https://elsewhere.example.org", ["key"], env) == [None]


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("keyring.backends.fail.Keyring", "the keyring has no backend that works here"),
        ("no.such.Keyring", r"the keyring can't be read \(ModuleNotFoundError\)"),
    ],
)
def test_no_usable_backend(env: dict[str, str], backend: str, reason: str) -> None:
    with pytest.raises(KeyringError, match=f"^{reason}$"):
        ask_keyring(SERVICE, ["key"], {**env, "PYTHON_KEYRING_BACKEND": backend})


def test_a_backend_that_does_not_answer(env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "slow_ring.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(keyrings, "_PATIENCE", 1.0)
    slow = {**env, "PYTHONPATH": str(tmp_path), "PYTHON_KEYRING_BACKEND": "slow_ring.Keyring"}
    with pytest.raises(KeyringError, match="did not answer within 1 seconds"):
        ask_keyring(SERVICE, ["key"], slow)


def test_a_password_is_asked_for_at_a_terminal_alone(env: dict[str, str]) -> None:
    env = {**env, "PYTHON_KEYRING_BACKEND": LOCKED}
    at_a_terminal([sys.executable, "-m", "keyring", "set", SERVICE, "key"], env, "a value", "pass", "pass")
    for may_ask in (False, True):  # the tests have no terminal
        with pytest.raises(KeyringError, match="asks for a password, which needs a terminal"):
            ask_keyring(SERVICE, ["key"], env, may_ask=may_ask)
    code = (
        "import json, os; from minipach.support.keyrings import ask_keyring\n"
        f"print(json.dumps(ask_keyring({SERVICE!r}, ['key', 'key'], os.environ, may_ask=True)))"
    )
    shown = at_a_terminal([sys.executable, "-c", code], env, "pass")
    assert json.loads(shown.splitlines()[-1]) == ["a value", "a value"]
    assert shown.count("password") == 1, "it asks once"
